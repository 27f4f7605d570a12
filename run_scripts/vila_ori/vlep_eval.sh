#!/usr/bin/env bash
# ViLA stage one on VLEP: the student, 4 frames: evaluate a checkpoint.
#   [GPUS=4] bash run_scripts/vila_ori/vlep_eval.sh run.checkpoint=FILE [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/vila_ori/vlep_eval.yaml --options "$@"
