#!/usr/bin/env bash
# ViLA on STAR, all three stages: student and teacher, merge, distillation. `out` is where everything goes.
#   [GPUS=4] bash run_scripts/vila/star_stages.sh [key=value ...]      (options hold for every stage)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
out=${OUT:-output/vila_star_stages}
launch train.py --cfg-path configs/vila_ori/star_train.yaml --options "$@" "run.output_dir=$out/student"
launch train.py --cfg-path configs/vila_ori/star_32f_train.yaml --options "$@" "run.output_dir=$out/teacher"
student=$(best_checkpoint "$out/student")
teacher=$(best_checkpoint "$out/teacher")
"$PYTHON" -m vidalign merge teacher "$student" "$teacher" "$out/merged.pth"
launch train.py --cfg-path configs/vila/star_train.yaml \
  --options "$@" "model.weights.start=$out/merged.pth" "run.output_dir=$out/distilled"
launch evaluate.py --cfg-path configs/vila/star_eval.yaml \
  --options "$@" "run.checkpoint=$(best_checkpoint "$out/distilled")" "run.output_dir=$out/eval"
