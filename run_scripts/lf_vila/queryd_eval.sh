#!/usr/bin/env bash
# LF-VILA: queryd eval.
#   [GPUS=8] bash run_scripts/lf_vila/queryd_eval.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/lf_vila/queryd_eval.yaml --options "$@"
