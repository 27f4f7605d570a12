#!/usr/bin/env bash
# SeViLA (arXiv 2305.06988) tiny on clips: evaluate a checkpoint.
#   [GPUS=4] bash run_scripts/sevila/clips_eval.sh run.checkpoint=FILE [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/sevila/clips_eval.yaml --options "$@"
