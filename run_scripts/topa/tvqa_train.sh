#!/usr/bin/env bash
# TOPA Llama-2 7B on tvqa: train, then evaluate the best checkpoint.
#   [GPUS=8] bash run_scripts/topa/tvqa_train.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch train.py --cfg-path configs/topa/tvqa_train.yaml --options "$@"
folder=$(run_folder configs/topa/tvqa_train.yaml "$@")
best=$(best_checkpoint "$folder")
launch evaluate.py --cfg-path configs/topa/tvqa_eval.yaml \
  --options "$@" "run.checkpoint=$best" "run.output_dir=$folder/eval"
