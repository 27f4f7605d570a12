#!/usr/bin/env bash
# TOPA on the drawn benchmark: makes or finds the tiny base models and the captions' features, trains on captions alone with
# three seeds (SEEDS="0 1 2"), evaluates each on shapes/test with and without the support memory, on blank video and on the
# captions of the same questions, and prints one table.
#   bash run_scripts/topa/shapes.sh [key=value ...]        e.g. run.output_dir=DIR model.losses.caption_share=0
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
config=configs/topa/shapes_train.yaml
cache=$("$PYTHON" -m vidalign config "$config" --get paths.cache --options "$@")
folder=$(run_folder "$config" "$@")
"$PYTHON" data_prep/shapes_bases.py --cache "$cache"
"$PYTHON" data_prep/shapes_captions.py --options "$@"
few=(datasets.shapes_text.train=null datasets.shapes_text.max_samples=1) # captions are evaluated with the training
for seed in ${SEEDS:-0 1 2}; do
  own=$folder/seed$seed
  launch train.py --cfg-path "$config" --options "$@" "run.seed=$seed" "run.output_dir=$own"
  weights=run.checkpoint=$own/checkpoints/last.pt
  launch evaluate.py --cfg-path "$config" \
    --options "$@" "${few[@]}" model.memory.path=null "$weights" "run.output_dir=$own/no_memory"
  launch evaluate.py --cfg-path "$config" \
    --options "$@" "${few[@]}" datasets.shapes.blind=blank "$weights" "run.output_dir=$own/blank"
done
"$PYTHON" data_prep/shapes_topa.py "$folder"
