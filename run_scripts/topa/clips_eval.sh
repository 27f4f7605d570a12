#!/usr/bin/env bash
# TOPA tiny on clips: evaluate a checkpoint.
#   [GPUS=8] bash run_scripts/topa/clips_eval.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/topa/clips_eval.yaml --options "$@"
