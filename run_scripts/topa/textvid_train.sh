#!/usr/bin/env bash
# TOPA Llama-2 7B: text-only pre-alignment on TextVID, then zero-shot on EgoSchema's labelled subset.
#   [GPUS=4] bash run_scripts/topa/textvid_train.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch train.py --cfg-path configs/topa/textvid_train.yaml --options "$@"
folder=$(run_folder configs/topa/textvid_train.yaml "$@")
best=$(best_checkpoint "$folder")
launch evaluate.py --cfg-path configs/topa/textvid_train.yaml \
  --options "$@" "run.checkpoint=$best" "run.output_dir=$folder/eval"
