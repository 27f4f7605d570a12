#!/usr/bin/env bash
# LF-VILA on one task of LVU with several seeds: every seed's score on the test, their mean and spread, since its test sets are
# tiny. metrics.json of the folder holds them all.
#   [GPUS=8] [SEEDS="0 1 2"] [TASK=relationship] bash run_scripts/lf_vila/lvu_seeds.sh [key=value ...]
# TASK: relationship, way_speaking, scene, director, writer, year, genre, like_ratio or view_count.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
task=${TASK:-relationship}
config=configs/lf_vila/lvu_${task}_train.yaml
folder=$(run_folder "$config" "$@")
for seed in ${SEEDS:-0 1 2}; do
  bash "run_scripts/lf_vila/lvu_${task}_train.sh" "$@" "run.seed=$seed" "run.output_dir=$folder/seed$seed"
done
numbers=(accuracy=eval:lvu/test:accuracy)
[ "$("$PYTHON" -m vidalign config "$config" --get task.name --options "$@")" = classification ] ||
  numbers=(mse=eval:lvu/test:mse answered_mse=eval:lvu/test:answered_mse)  # mse is nan where a video failed
"$PYTHON" data_prep/shapes_table.py "$folder" --numbers "${numbers[@]}" --as lvu/test
