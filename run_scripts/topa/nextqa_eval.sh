#!/usr/bin/env bash
# TOPA Llama-2 7B on nextqa: evaluate a checkpoint.
#   [GPUS=8] bash run_scripts/topa/nextqa_eval.sh run.checkpoint=FILE [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/topa/nextqa_eval.yaml --options "$@"
