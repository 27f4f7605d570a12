#!/usr/bin/env bash
# ViLA on the drawn benchmark, all stages: makes or finds the small base models, then with three seeds (SEEDS="0 1 2",
# JOBS=2 side by side) teacher, student, merge, and stage three: with the documented options (random frames first, then
# segment gradient, argmax, a teacher of its own), the same with the shared teacher, and as released. The weights of the
# first are also evaluated on uniform frames, with drawn frames and with restricted options.
#   bash run_scripts/vila/shapes.sh [key=value ...]        e.g. run.output_dir=DIR datasets.shapes.seed=5
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
config=configs/vila/shapes_segment_train.yaml
plain=configs/vila_ori/shapes_16f_train.yaml
cache=$("$PYTHON" -m vidalign config "$config" --get paths.cache --options "$@")
folder=$(run_folder "$config" "$@")
"$PYTHON" data_prep/shapes_bases.py --cache "$cache" --parts vila
# Draws the clips and stores what the ViT makes of them, once for all; the base's own answers are a by-product.
launch evaluate.py --cfg-path "$plain" \
  --options "$@" datasets.shapes.train=null datasets.shapes.eval=train "run.output_dir=$folder/base_train"
launch evaluate.py --cfg-path "$plain" --options "$@" datasets.shapes.train=null "run.output_dir=$folder/base"

stages() { # stages SEED [key=value ...]
  local own=$folder/seed$1 seed=run.seed=$1
  shift
  launch train.py --cfg-path "$plain" --options "$@" "$seed" "run.output_dir=$own/teacher"
  launch train.py --cfg-path configs/vila_ori/shapes_4f_train.yaml \
    --options "$@" "$seed" "model.weights.start=$own/teacher/checkpoints/last.pt" "run.output_dir=$own/student"
  "$PYTHON" -m vidalign merge teacher \
    "$own/student/checkpoints/last.pt" "$own/teacher/checkpoints/last.pt" "$own/merged.pth"
  local merged=model.weights.start=$own/merged.pth start=model.weights.start=$own/random/checkpoints/last.pt
  launch train.py --cfg-path configs/vila/shapes_random_train.yaml \
    --options "$@" "$seed" "$merged" "run.output_dir=$own/random"
  launch train.py --cfg-path "$config" --options "$@" "$seed" "$start" "run.output_dir=$own/segment"
  launch train.py --cfg-path "$config" \
    --options "$@" "$seed" "$start" model.distill.teacher_qformer=shared "run.output_dir=$own/shared"
  launch train.py --cfg-path configs/vila/shapes_official_train.yaml \
    --options "$@" "$seed" "$merged" "run.output_dir=$own/official"
  local again=("$@" "$seed" "$start" "run.checkpoint=$own/segment/checkpoints/last.pt" datasets.shapes.train=null)
  launch evaluate.py --cfg-path "$config" \
    --options "${again[@]}" model.selector.kind=random "run.output_dir=$own/uniform"
  launch evaluate.py --cfg-path "$config" \
    --options "${again[@]}" model.selector.at_evaluation=sample "run.output_dir=$own/drawn"
  launch evaluate.py --cfg-path "$config" \
    --options "${again[@]}" model.restrict_options=true "run.output_dir=$own/restricted"
}

export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
running=()
for seed in ${SEEDS:-0 1 2}; do
  stages "$seed" "$@" &
  running+=($!)
  [ ${#running[@]} -lt "${JOBS:-2}" ] || { wait "${running[0]}" && running=("${running[@]:1}"); }
done
for one in "${running[@]}"; do wait "$one"; done
numbers=(accuracy_16_frames=teacher:shapes/test:accuracy_moment accuracy_4_frames=student:shapes/test:accuracy_moment)
for run in segment uniform drawn restricted shared official; do
  name=${run/#segment/}
  numbers+=("accuracy_moment${name:+_$name}=$run:shapes/test:accuracy_moment")
  numbers+=("kept_moment${name:+_$name}=$run:shapes/test:kept_moment")
done
"$PYTHON" data_prep/shapes_table.py "$folder" --numbers "${numbers[@]}"
