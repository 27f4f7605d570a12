#!/usr/bin/env bash
# SeViLA (arXiv 2305.06988) tiny on clips: train, then evaluate the best checkpoint.
#   [GPUS=4] bash run_scripts/sevila/clips_train.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch train.py --cfg-path configs/sevila/clips_train.yaml --options "$@"
folder=$(run_folder configs/sevila/clips_train.yaml "$@")
best=$(best_checkpoint "$folder")
launch evaluate.py --cfg-path configs/sevila/clips_eval.yaml \
  --options "$@" "run.checkpoint=$best" "run.output_dir=$folder/eval"
