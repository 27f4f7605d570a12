#!/usr/bin/env bash
# Video-Panda on tgif_qa: evaluate a checkpoint.
#   [GPUS=8] bash run_scripts/video_panda/tgif_qa_eval.sh [model.weights=FOLDER key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/video_panda/tgif_qa_eval.yaml --options "$@"
