#!/usr/bin/env bash
# ViLA's plain stage (arXiv 2312.08367) tiny on clips: evaluate a checkpoint.
#   [GPUS=4] bash run_scripts/vila_ori/clips_eval.sh run.checkpoint=FILE [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/vila_ori/clips_eval.yaml --options "$@"
