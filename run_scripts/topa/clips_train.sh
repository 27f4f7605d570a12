#!/usr/bin/env bash
# TOPA tiny on clips: train, then evaluate the best checkpoint.
#   [GPUS=8] bash run_scripts/topa/clips_train.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch train.py --cfg-path configs/topa/clips_train.yaml --options "$@"
folder=$(run_folder configs/topa/clips_train.yaml "$@")
best=$(best_checkpoint "$folder")
launch evaluate.py --cfg-path configs/topa/clips_eval.yaml \
  --options "$@" "run.checkpoint=$best" "run.output_dir=$folder/eval"
