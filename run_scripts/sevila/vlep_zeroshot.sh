#!/usr/bin/env bash
# SeViLA on VLEP, zero-shot.
#   [GPUS=4] bash run_scripts/sevila/vlep_zeroshot.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/sevila/vlep_zeroshot.yaml --options "$@"
