#!/usr/bin/env bash
# Video-Panda on the drawn benchmark, open-ended: makes or finds the tiny base models, then runs the three stages with three
# seeds (SEEDS="0 1 2") and once on blank videos, two at a time with one thread each, evaluates each on shapes/test, prints
# one table and writes metrics.json, the means over the seeds. Logs: <folder>/<run>.log.
#   bash run_scripts/video_panda/shapes.sh [key=value ...]        e.g. run.output_dir=DIR datasets.shapes.seed=5
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
config=configs/video_panda/shapes
cache=$("$PYTHON" -m vidalign config ${config}_eval.yaml --get paths.cache --options "$@")
folder=$(run_folder ${config}_eval.yaml "$@")
"$PYTHON" data_prep/shapes_bases.py --cache "$cache" --parts chat eve languagebind
"$PYTHON" data_prep/shapes_panda.py draw --options "$@"

stages() { # stages RUN OPTION...: each stage from the one before, and the evaluation of the last
  local own=$folder/$1 before=() stage
  for stage in prealign pretrain finetune; do
    launch train.py --cfg-path ${config}_$stage.yaml --options "${@:2}" "${before[@]}" "run.output_dir=$own/$stage"
    before=("run.checkpoint=$own/$stage/checkpoints/last.pt")
  done
  launch evaluate.py --cfg-path ${config}_eval.yaml --options "${@:2}" "${before[@]}" "run.output_dir=$own/eval"
}

start() { # start RUN OPTION...: beside one other
  while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n; done
  echo "=== $1 (log: $folder/$1.log)"
  stages "$@" >"$folder/$1.log" 2>&1 &
}

mkdir -p "$folder"
# Whatever ends this script ends its trainings, too.
trap 'status=$?; [ $status -eq 0 ] || echo "error: a run failed; its log is in $folder" >&2; kill $(jobs -p) 2>/dev/null || true' EXIT
for seed in ${SEEDS:-0 1 2}; do start "seed$seed" "$@" "run.seed=$seed"; done
start blank "$@" datasets.shapes.blind=blank
for job in $(jobs -p); do wait "$job"; done
"$PYTHON" data_prep/shapes_panda.py table "$folder" --options "$@"
