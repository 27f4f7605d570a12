#!/usr/bin/env bash
# TOPA Llama-2 7B on EgoSchema's 500 labelled questions, zero-shot.
#   [GPUS=4] bash run_scripts/topa/egoschema_zeroshot.sh run.checkpoint=FILE [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/topa/egoschema_zeroshot.yaml --options "$@"
