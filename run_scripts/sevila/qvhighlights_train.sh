#!/usr/bin/env bash
# SeViLA's localizer on QVHighlights, 4 random frames of each video: train, then evaluate the best checkpoint.
#   [GPUS=4] bash run_scripts/sevila/qvhighlights_train.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch train.py --cfg-path configs/sevila/qvhighlights_train.yaml --options "$@"
folder=$(run_folder configs/sevila/qvhighlights_train.yaml "$@")
best=$(best_checkpoint "$folder")
launch evaluate.py --cfg-path configs/sevila/qvhighlights_eval.yaml \
  --options "$@" "run.checkpoint=$best" "run.output_dir=$folder/eval"
