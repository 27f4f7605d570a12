#!/usr/bin/env bash
# Video-Panda 7B, one of its three stages; see the config for data, hardware and order.
#   [GPUS=4 NNODES=16] bash run_scripts/video_panda/videochatgpt_tune_finetune.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch train.py --cfg-path configs/video_panda/videochatgpt_tune_finetune.yaml --options "$@"
