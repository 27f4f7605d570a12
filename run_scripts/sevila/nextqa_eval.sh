#!/usr/bin/env bash
# SeViLA on NExT-QA: the answerer on 4 of 32 frames kept by the localizer: evaluate a checkpoint.
#   [GPUS=4] bash run_scripts/sevila/nextqa_eval.sh run.checkpoint=FILE [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/sevila/nextqa_eval.yaml --options "$@"
