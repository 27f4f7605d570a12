#!/usr/bin/env bash
# LF-VILA: lvu director eval.
#   [GPUS=8] bash run_scripts/lf_vila/lvu_director_eval.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/lf_vila/lvu_director_eval.yaml --options "$@"
