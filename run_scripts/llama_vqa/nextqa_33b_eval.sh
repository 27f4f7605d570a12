#!/usr/bin/env bash
# LLaMA-VQA 33B on nextqa: evaluate a checkpoint.
#   [GPUS=8] bash run_scripts/llama_vqa/nextqa_33b_eval.sh run.checkpoint=FILE [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/llama_vqa/nextqa_33b_eval.yaml --options "$@"
