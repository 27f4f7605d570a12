#!/usr/bin/env bash
# SeViLA on STAR: the answerer on 4 of 32 frames kept by the localizer: train, then evaluate the best checkpoint.
#   [GPUS=4] bash run_scripts/sevila/star_train.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch train.py --cfg-path configs/sevila/star_train.yaml --options "$@"
folder=$(run_folder configs/sevila/star_train.yaml "$@")
best=$(best_checkpoint "$folder")
launch evaluate.py --cfg-path configs/sevila/star_eval.yaml \
  --options "$@" "run.checkpoint=$best" "run.output_dir=$folder/eval"
