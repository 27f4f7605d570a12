#!/usr/bin/env bash
# LF-VILA: lvu like ratio eval.
#   [GPUS=8] bash run_scripts/lf_vila/lvu_like_ratio_eval.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/lf_vila/lvu_like_ratio_eval.yaml --options "$@"
