#!/usr/bin/env bash
# TOPA Llama-2 7B on EgoSchema's full set, zero-shot.
#   [GPUS=4] bash run_scripts/topa/egoschema_full_zeroshot.sh run.checkpoint=FILE [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/topa/egoschema_full_zeroshot.yaml --options "$@"
