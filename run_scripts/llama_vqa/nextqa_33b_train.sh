#!/usr/bin/env bash
# LLaMA-VQA 33B on nextqa: train, then evaluate the best checkpoint.
#   [GPUS=8] bash run_scripts/llama_vqa/nextqa_33b_train.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch train.py --cfg-path configs/llama_vqa/nextqa_33b_train.yaml --options "$@"
folder=$(run_folder configs/llama_vqa/nextqa_33b_train.yaml "$@")
best=$(best_checkpoint "$folder")
launch evaluate.py --cfg-path configs/llama_vqa/nextqa_33b_eval.yaml \
  --options "$@" "run.checkpoint=$best" "run.output_dir=$folder/eval"
