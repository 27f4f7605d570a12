#!/usr/bin/env bash
# LF-VILA: how2qa eval.
#   [GPUS=8] bash run_scripts/lf_vila/how2qa_eval.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/lf_vila/how2qa_eval.yaml --options "$@"
