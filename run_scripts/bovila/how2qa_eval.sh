#!/usr/bin/env bash
# BoViLA 7B on how2qa: evaluate a checkpoint.
#   [GPUS=8] bash run_scripts/bovila/how2qa_eval.sh run.checkpoint=FILE [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/bovila/how2qa_eval.yaml --options "$@"
