#!/usr/bin/env bash
# ViLA stage three on VLEP: 32 frames -> 4, distilled: evaluate a checkpoint.
#   [GPUS=4] bash run_scripts/vila/vlep_eval.sh run.checkpoint=FILE [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/vila/vlep_eval.yaml --options "$@"
