#!/usr/bin/env bash
# ViLA stage three on NExT-QA as the paper describes it: train, then evaluate the best checkpoint.
#   [GPUS=4] bash run_scripts/vila/nextqa_paper_train.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch train.py --cfg-path configs/vila/nextqa_paper_train.yaml --options "$@"
folder=$(run_folder configs/vila/nextqa_paper_train.yaml "$@")
best=$(best_checkpoint "$folder")
launch evaluate.py --cfg-path configs/vila/nextqa_paper_eval.yaml \
  --options "$@" "run.checkpoint=$best" "run.output_dir=$folder/eval"
