#!/usr/bin/env bash
# SeViLA on TVQA, zero-shot.
#   [GPUS=4] bash run_scripts/sevila/tvqa_zeroshot.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/sevila/tvqa_zeroshot.yaml --options "$@"
