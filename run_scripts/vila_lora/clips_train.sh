#!/usr/bin/env bash
# ViLA with LoRA (arXiv 2312.08367) tiny on clips: train, then evaluate the best checkpoint.
#   [GPUS=4] bash run_scripts/vila_lora/clips_train.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch train.py --cfg-path configs/vila_lora/clips_train.yaml --options "$@"
folder=$(run_folder configs/vila_lora/clips_train.yaml "$@")
best=$(best_checkpoint "$folder")
launch evaluate.py --cfg-path configs/vila_lora/clips_eval.yaml \
  --options "$@" "run.checkpoint=$best" "run.output_dir=$folder/eval"
