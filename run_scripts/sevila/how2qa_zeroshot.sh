#!/usr/bin/env bash
# SeViLA on How2QA, zero-shot.
#   [GPUS=4] bash run_scripts/sevila/how2qa_zeroshot.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/sevila/how2qa_zeroshot.yaml --options "$@"
