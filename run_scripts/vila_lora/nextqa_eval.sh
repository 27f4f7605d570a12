#!/usr/bin/env bash
# ViLA with LoRA on NExT-QA: 32 frames -> 4: evaluate a checkpoint.
#   [GPUS=4] bash run_scripts/vila_lora/nextqa_eval.sh run.checkpoint=FILE [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/vila_lora/nextqa_eval.yaml --options "$@"
