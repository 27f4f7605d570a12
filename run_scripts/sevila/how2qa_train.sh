#!/usr/bin/env bash
# SeViLA on How2QA: the answerer on 4 of 32 frames kept by the localizer: train, then evaluate the best checkpoint.
#   [GPUS=4] bash run_scripts/sevila/how2qa_train.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch train.py --cfg-path configs/sevila/how2qa_train.yaml --options "$@"
folder=$(run_folder configs/sevila/how2qa_train.yaml "$@")
best=$(best_checkpoint "$folder")
launch evaluate.py --cfg-path configs/sevila/how2qa_eval.yaml \
  --options "$@" "run.checkpoint=$best" "run.output_dir=$folder/eval"
