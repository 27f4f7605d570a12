#!/usr/bin/env bash
# Video-Panda on clips_qa: evaluate a checkpoint.
#   [GPUS=8] bash run_scripts/video_panda/clips_qa_eval.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/video_panda/clips_qa_eval.yaml --options "$@"
