#!/usr/bin/env bash
# LF-VILA (arXiv 2210.06031) tiny on clips: evaluate a checkpoint.
#   [GPUS=4] bash run_scripts/lf_vila/clips_eval.sh run.checkpoint=FILE [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/lf_vila/clips_eval.yaml --options "$@"
