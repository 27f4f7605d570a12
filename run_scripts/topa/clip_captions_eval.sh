#!/usr/bin/env bash
# TOPA tiny says what real videos show.
#   bash run_scripts/topa/clip_captions_eval.sh [datasets.clip_captions.root=DIR] [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/topa/clip_captions_eval.yaml --options "$@"
