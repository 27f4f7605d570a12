#!/usr/bin/env bash
# LLaMA-VQA tiny on clips: evaluate a checkpoint.
#   [GPUS=8] bash run_scripts/llama_vqa/clips_eval.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/llama_vqa/clips_eval.yaml --options "$@"
