#!/usr/bin/env bash
# BoViLA on the drawn benchmark: makes or finds the tiny base models, trains, evaluates on shapes/test.
#   bash run_scripts/bovila/shapes.sh [key=value ...]        e.g. run.seed=1 datasets.shapes.seed=5 run.output_dir=DIR
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
config=configs/bovila/shapes_train.yaml
cache=$("$PYTHON" -m vidalign config "$config" --get paths.cache --options "$@")
"$PYTHON" data_prep/shapes_bases.py --cache "$cache" --parts clip llm visual_start
launch train.py --cfg-path "$config" --options "$@"
