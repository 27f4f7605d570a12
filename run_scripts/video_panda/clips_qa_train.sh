#!/usr/bin/env bash
# Video-Panda tiny on clips_qa: train, then evaluate the best checkpoint.
#   [GPUS=8] bash run_scripts/video_panda/clips_qa_train.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch train.py --cfg-path configs/video_panda/clips_qa_train.yaml --options "$@"
folder=$(run_folder configs/video_panda/clips_qa_train.yaml "$@")
best=$(best_checkpoint "$folder")
launch evaluate.py --cfg-path configs/video_panda/clips_qa_eval.yaml \
  --options "$@" "run.checkpoint=$best" "run.output_dir=$folder/eval"
