#!/usr/bin/env bash
# What each of BoViLA's losses is worth on the drawn benchmark: the same training with the answer loss alone, with question
# generation (vaq), with own questions (aqa), and with the paper's evidential answer and gate; three seeds (SEEDS="0 1 2"),
# two at once, one table each.
#   bash run_scripts/bovila/shapes_losses.sh [key=value ...]        e.g. run.output_dir=DIR
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
config=configs/bovila/shapes_train.yaml
options=("$@")
cache=$("$PYTHON" -m vidalign config "$config" --get paths.cache --options "$@")
folder=$(run_folder "$config" run.output_dir=output/bovila_losses "$@")
"$PYTHON" data_prep/shapes_bases.py --cache "$cache" --parts clip llm visual_start
# The gated term is a sum over the batch, as published: 0.25 at the published batch of 8 is 0.0625 at 32.
declare -A losses=(
  [answer]="model.losses.vaq=0"
  [vaq]=""
  [aqa]="model.losses.aqa=0.25"
  [gate]="model.losses.answer=evidential model.losses.aqa=0.0625 model.losses.uncertainty_gate=true"
)
order=(answer vaq aqa gate)

one_run() { # one_run VARIANT/seedN
  local own=$folder/$1
  mkdir -p "$own"
  # shellcheck disable=SC2086  # a variant may have several options, or none
  launch train.py --cfg-path "$config" --options "${options[@]}" ${losses[${1%/*}]} "run.seed=${1#*/seed}" \
    "run.output_dir=$own" >"$own.log" 2>&1 || { tail -n 20 "$own.log" >&2 && return 1; }
  echo "done: $1"
}

runs=()
for seed in ${SEEDS:-0 1 2}; do
  for name in "${order[@]}"; do runs+=("$name/seed$seed"); done
done
# The first makes the clips and their features; the others find them.
one_run "${runs[0]}"
at_once one_run "${runs[@]:1}"
numbers=()
for metric in accuracy_core accuracy_DO accuracy_TN accuracy_DC accuracy_hard; do
  numbers+=("$metric=:shapes/test:$metric")
done
"$PYTHON" data_prep/shapes_table.py "${order[@]/#/$folder/}" --numbers "${numbers[@]}"
