#!/usr/bin/env bash
# Video-Panda on msrvtt_qa: evaluate a checkpoint.
#   [GPUS=8] bash run_scripts/video_panda/msrvtt_qa_eval.sh [model.weights=FOLDER key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/video_panda/msrvtt_qa_eval.yaml --options "$@"
