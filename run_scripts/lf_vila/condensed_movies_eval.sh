#!/usr/bin/env bash
# LF-VILA: condensed movies eval.
#   [GPUS=8] bash run_scripts/lf_vila/condensed_movies_eval.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/lf_vila/condensed_movies_eval.yaml --options "$@"
