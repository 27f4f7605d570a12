#!/usr/bin/env bash
# ViLA stage three on NExT-QA as the released code behaves: evaluate a checkpoint.
#   [GPUS=4] bash run_scripts/vila/nextqa_official_eval.sh run.checkpoint=FILE [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/vila/nextqa_official_eval.yaml --options "$@"
