#!/usr/bin/env bash
# TOPA Llama-2 7B on star: train, then evaluate the best checkpoint.
#   [GPUS=8] bash run_scripts/topa/star_train.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch train.py --cfg-path configs/topa/star_train.yaml --options "$@"
folder=$(run_folder configs/topa/star_train.yaml "$@")
best=$(best_checkpoint "$folder")
launch evaluate.py --cfg-path configs/topa/star_eval.yaml \
  --options "$@" "run.checkpoint=$best" "run.output_dir=$folder/eval"
