#!/usr/bin/env bash
# ViLA stage three on NExT-QA as the released code behaves: train, then evaluate the best checkpoint.
#   [GPUS=4] bash run_scripts/vila/nextqa_official_train.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch train.py --cfg-path configs/vila/nextqa_official_train.yaml --options "$@"
folder=$(run_folder configs/vila/nextqa_official_train.yaml "$@")
best=$(best_checkpoint "$folder")
launch evaluate.py --cfg-path configs/vila/nextqa_official_eval.yaml \
  --options "$@" "run.checkpoint=$best" "run.output_dir=$folder/eval"
