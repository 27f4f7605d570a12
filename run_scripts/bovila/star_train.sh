#!/usr/bin/env bash
# BoViLA 7B on star: train, then evaluate the best checkpoint.
#   [GPUS=8] bash run_scripts/bovila/star_train.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch train.py --cfg-path configs/bovila/star_train.yaml --options "$@"
folder=$(run_folder configs/bovila/star_train.yaml "$@")
best=$(best_checkpoint "$folder")
launch evaluate.py --cfg-path configs/bovila/star_eval.yaml \
  --options "$@" "run.checkpoint=$best" "run.output_dir=$folder/eval"
