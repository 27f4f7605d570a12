#!/usr/bin/env bash
# LF-VILA on the drawn paragraphs, three seeds (SEEDS="0 1 2"): stage one with and without MTC, stage two over the first, and
# multiple choice, what is seen, fine-tuned from stage two and from nothing. Two trainings run side by side, one thread each.
# Prints one table; metrics.json of the folder holds the means over the seeds and every seed's own.
#   bash run_scripts/lf_vila/shapes.sh [key=value ...]        e.g. run.output_dir=DIR
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
stage1=configs/lf_vila/shapes_paragraphs_pretrain.yaml
stage2=configs/lf_vila/shapes_paragraphs_stage2_pretrain.yaml
choice=configs/lf_vila/shapes_paragraphs_train.yaml
folder=$(run_folder "$stage1" "$@")
export OMP_NUM_THREADS=1
"$PYTHON" data_prep/shapes_paragraphs.py --options "$@"

with_stage_one() { # with_stage_one SEED FOLDER [key=value ...]
  local seed=run.seed=$1 own=$2
  shift 2
  launch train.py --cfg-path "$stage1" --options "$@" "$seed" "run.output_dir=$own/stage1"
  launch train.py --cfg-path "$stage2" --options "$@" "$seed" "run.output_dir=$own/stage2" \
    "model.start.pretrained=$own/stage1/checkpoints/last.pt"
  launch train.py --cfg-path "$choice" --options "$@" "$seed" "run.output_dir=$own/choice" \
    "model.start.pretrained=$own/stage2/checkpoints/last.pt"
}

without() { # without SEED FOLDER [key=value ...]
  local seed=run.seed=$1 own=$2
  shift 2
  launch train.py --cfg-path "$stage1" --options "$@" "$seed" "run.output_dir=$own/without_mtc" model.mtc_weight=0
  launch train.py --cfg-path "$choice" --options "$@" "$seed" "run.output_dir=$own/choice_without_stage1" \
    model.start.pretrained=null
}

ended() { # ended PID LOG: wait for one of the two; its last words where it failed
  wait "$1" || { tail -n 20 "$2" >&2 && exit 1; }
}

for seed in ${SEEDS:-0 1 2}; do
  own=$folder/seed$seed
  mkdir -p "$own"
  with_stage_one "$seed" "$own" "$@" >"$own/with_stage_one.log" 2>&1 &
  one=$!
  without "$seed" "$own" "$@" >"$own/without.log" 2>&1 &
  two=$!
  ended "$one" "$own/with_stage_one.log"
  ended "$two" "$own/without.log"
  echo "seed $seed done after $SECONDS s"
done
of() { echo "$1=$2:shapes_paragraphs/test:$3"; } # of NAME RUN METRIC
numbers=()
for metric in R@1 twin_choice clip_sentence_match; do
  numbers+=("$(of $metric stage1 $metric)" "$(of ${metric}_without_mtc without_mtc $metric)")
done
numbers+=("$(of choice_accuracy choice accuracy)" "$(of choice_accuracy_without_stage_one choice_without_stage1 accuracy)")
"$PYTHON" data_prep/shapes_table.py "$folder" --numbers "${numbers[@]}"
