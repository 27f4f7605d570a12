#!/usr/bin/env bash
# SeViLA's localizer on QVHighlights, 4 random frames of each video: evaluate a checkpoint.
#   [GPUS=4] bash run_scripts/sevila/qvhighlights_eval.sh run.checkpoint=FILE [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/sevila/qvhighlights_eval.yaml --options "$@"
