#!/usr/bin/env bash
# LF-VILA: lvu relationship eval.
#   [GPUS=8] bash run_scripts/lf_vila/lvu_relationship_eval.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/lf_vila/lvu_relationship_eval.yaml --options "$@"
