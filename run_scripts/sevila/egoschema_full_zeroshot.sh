#!/usr/bin/env bash
# SeViLA on EgoSchema (full set), zero-shot.
#   [GPUS=4] bash run_scripts/sevila/egoschema_full_zeroshot.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/sevila/egoschema_full_zeroshot.yaml --options "$@"
