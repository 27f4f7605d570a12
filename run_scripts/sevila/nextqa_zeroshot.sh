#!/usr/bin/env bash
# SeViLA on NExT-QA, zero-shot.
#   [GPUS=4] bash run_scripts/sevila/nextqa_zeroshot.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/sevila/nextqa_zeroshot.yaml --options "$@"
