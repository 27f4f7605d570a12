#!/usr/bin/env bash
# LF-VILA: coin train.
#   [GPUS=8] bash run_scripts/lf_vila/coin_train.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch train.py --cfg-path configs/lf_vila/coin_train.yaml --options "$@"
folder=$(run_folder configs/lf_vila/coin_train.yaml "$@")
best=$(best_checkpoint "$folder")
launch evaluate.py --cfg-path configs/lf_vila/coin_eval.yaml \
  --options "$@" "run.checkpoint=$best" "run.output_dir=$folder/eval"
