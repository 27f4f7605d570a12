#!/usr/bin/env bash
# BoViLA 7B on dramaqa: evaluate a checkpoint.
#   [GPUS=8] bash run_scripts/bovila/dramaqa_eval.sh run.checkpoint=FILE [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/bovila/dramaqa_eval.yaml --options "$@"
