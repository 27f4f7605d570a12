#!/usr/bin/env bash
# LF-VILA (arXiv 2210.06031) tiny on clips: train, then evaluate the best checkpoint.
#   [GPUS=4] bash run_scripts/lf_vila/clips_train.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch train.py --cfg-path configs/lf_vila/clips_train.yaml --options "$@"
folder=$(run_folder configs/lf_vila/clips_train.yaml "$@")
best=$(best_checkpoint "$folder")
launch evaluate.py --cfg-path configs/lf_vila/clips_eval.yaml \
  --options "$@" "run.checkpoint=$best" "run.output_dir=$folder/eval"
