#!/usr/bin/env bash
# SeViLA on TVQA: the localizer refined on labels of the answerer: train, then evaluate the best checkpoint.
#   [GPUS=4] bash run_scripts/sevila/tvqa_refine_train.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch train.py --cfg-path configs/sevila/tvqa_refine_train.yaml --options "$@"
folder=$(run_folder configs/sevila/tvqa_refine_train.yaml "$@")
best=$(best_checkpoint "$folder")
launch evaluate.py --cfg-path configs/sevila/tvqa_refine_eval.yaml \
  --options "$@" "run.checkpoint=$best" "run.output_dir=$folder/eval"
