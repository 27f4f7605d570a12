#!/usr/bin/env bash
# ViLA's plain stage (arXiv 2312.08367) tiny on clips: train, then evaluate the best checkpoint.
#   [GPUS=4] bash run_scripts/vila_ori/clips_train.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch train.py --cfg-path configs/vila_ori/clips_train.yaml --options "$@"
folder=$(run_folder configs/vila_ori/clips_train.yaml "$@")
best=$(best_checkpoint "$folder")
launch evaluate.py --cfg-path configs/vila_ori/clips_eval.yaml \
  --options "$@" "run.checkpoint=$best" "run.output_dir=$folder/eval"
