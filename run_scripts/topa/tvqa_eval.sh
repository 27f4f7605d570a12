#!/usr/bin/env bash
# TOPA Llama-2 7B on tvqa: evaluate a checkpoint.
#   [GPUS=8] bash run_scripts/topa/tvqa_eval.sh run.checkpoint=FILE [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/topa/tvqa_eval.yaml --options "$@"
