#!/usr/bin/env bash
# ViLA stage one on TVQA: the student, 4 frames: train, then evaluate the best checkpoint.
#   [GPUS=4] bash run_scripts/vila_ori/tvqa_train.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch train.py --cfg-path configs/vila_ori/tvqa_train.yaml --options "$@"
folder=$(run_folder configs/vila_ori/tvqa_train.yaml "$@")
best=$(best_checkpoint "$folder")
launch evaluate.py --cfg-path configs/vila_ori/tvqa_eval.yaml \
  --options "$@" "run.checkpoint=$best" "run.output_dir=$folder/eval"
