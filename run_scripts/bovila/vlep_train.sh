#!/usr/bin/env bash
# BoViLA 7B on vlep: train, then evaluate the best checkpoint.
#   [GPUS=8] bash run_scripts/bovila/vlep_train.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch train.py --cfg-path configs/bovila/vlep_train.yaml --options "$@"
folder=$(run_folder configs/bovila/vlep_train.yaml "$@")
best=$(best_checkpoint "$folder")
launch evaluate.py --cfg-path configs/bovila/vlep_eval.yaml \
  --options "$@" "run.checkpoint=$best" "run.output_dir=$folder/eval"
