#!/usr/bin/env bash
# ViLA stage three on How2QA: 8 frames -> 4, distilled: train, then evaluate the best checkpoint.
#   [GPUS=4] bash run_scripts/vila/how2qa_train.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch train.py --cfg-path configs/vila/how2qa_train.yaml --options "$@"
folder=$(run_folder configs/vila/how2qa_train.yaml "$@")
best=$(best_checkpoint "$folder")
launch evaluate.py --cfg-path configs/vila/how2qa_eval.yaml \
  --options "$@" "run.checkpoint=$best" "run.output_dir=$folder/eval"
