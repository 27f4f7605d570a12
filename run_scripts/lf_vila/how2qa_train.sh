#!/usr/bin/env bash
# LF-VILA: how2qa train.
#   [GPUS=8] bash run_scripts/lf_vila/how2qa_train.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch train.py --cfg-path configs/lf_vila/how2qa_train.yaml --options "$@"
folder=$(run_folder configs/lf_vila/how2qa_train.yaml "$@")
best=$(best_checkpoint "$folder")
launch evaluate.py --cfg-path configs/lf_vila/how2qa_eval.yaml \
  --options "$@" "run.checkpoint=$best" "run.output_dir=$folder/eval"
