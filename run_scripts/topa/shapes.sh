#!/usr/bin/env bash
# TOPA on the drawn benchmark: makes or finds the tiny base models and the captions' features, trains on captions alone with
# three seeds (SEEDS="0 1 2", two at once), evaluates each on shapes/test with and without the support memory, on blank video
# and on the captions of the same questions, and prints one table; its means stand in metrics.json.
#   bash run_scripts/topa/shapes.sh [key=value ...]        e.g. run.output_dir=DIR model.losses.caption_share=0
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
config=configs/topa/shapes_train.yaml
options=("$@")
cache=$("$PYTHON" -m vidalign config "$config" --get paths.cache --options "$@")
folder=$(run_folder "$config" "$@")
"$PYTHON" data_prep/shapes_bases.py --cache "$cache"
"$PYTHON" data_prep/shapes_captions.py --options "$@"
few=(datasets.shapes_text.train=null datasets.shapes_text.max_samples=1) # captions are evaluated with the training

one_seed() {
  local own=$folder/seed$1
  local weights=run.checkpoint=$own/checkpoints/last.pt
  launch train.py --cfg-path "$config" --options "${options[@]}" "run.seed=$1" "run.output_dir=$own"
  launch evaluate.py --cfg-path "$config" \
    --options "${options[@]}" "${few[@]}" model.memory.path=null "$weights" "run.output_dir=$own/no_memory"
  launch evaluate.py --cfg-path "$config" \
    --options "${options[@]}" "${few[@]}" datasets.shapes.blind=blank "$weights" "run.output_dir=$own/blank"
}

# The first makes the clips and their features; the others find them.
seeds=(${SEEDS:-0 1 2})
one_seed "${seeds[0]}"
at_once one_seed "${seeds[@]:1}"
"$PYTHON" data_prep/shapes_table.py "$folder" --numbers accuracy_core=:shapes/test:accuracy_core \
  accuracy_core_no_memory=no_memory:shapes/test:accuracy_core accuracy_core_captions=:shapes_text/test:accuracy_core \
  accuracy_core_blank=blank:shapes/test:accuracy_core accuracy_hard=:shapes/test:accuracy_hard accuracy=:shapes/test:accuracy
