#!/usr/bin/env bash
# SeViLA on STAR: the localizer refined on labels of the answerer: evaluate a checkpoint.
#   [GPUS=4] bash run_scripts/sevila/star_refine_eval.sh run.checkpoint=FILE [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/sevila/star_refine_eval.yaml --options "$@"
