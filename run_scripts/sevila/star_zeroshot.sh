#!/usr/bin/env bash
# SeViLA on STAR, zero-shot.
#   [GPUS=4] bash run_scripts/sevila/star_zeroshot.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/sevila/star_zeroshot.yaml --options "$@"
