#!/usr/bin/env bash
# ViLA on VLEP, all three stages: student and teacher, merge, distillation. `out` is where everything goes.
#   [GPUS=4] bash run_scripts/vila/vlep_stages.sh [key=value ...]      (options hold for every stage)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
out=${OUT:-output/vila_vlep_stages}
launch train.py --cfg-path configs/vila_ori/vlep_train.yaml --options "$@" "run.output_dir=$out/student"
launch train.py --cfg-path configs/vila_ori/vlep_32f_train.yaml --options "$@" "run.output_dir=$out/teacher"
student=$(best_checkpoint "$out/student")
teacher=$(best_checkpoint "$out/teacher")
"$PYTHON" -m vidalign merge teacher "$student" "$teacher" "$out/merged.pth"
launch train.py --cfg-path configs/vila/vlep_train.yaml \
  --options "$@" "model.weights.start=$out/merged.pth" "run.output_dir=$out/distilled"
launch evaluate.py --cfg-path configs/vila/vlep_eval.yaml \
  --options "$@" "run.checkpoint=$(best_checkpoint "$out/distilled")" "run.output_dir=$out/eval"
