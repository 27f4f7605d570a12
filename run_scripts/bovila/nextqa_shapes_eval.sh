#!/usr/bin/env bash
# The drawn benchmark's test questions through NExT-QA's official files and builder: writes them, evaluates a checkpoint of
# run_scripts/bovila/shapes.sh.
#   bash run_scripts/bovila/nextqa_shapes_eval.sh run.checkpoint=output/bovila_shapes/checkpoints/last.pt [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
config=configs/bovila/nextqa_shapes_eval.yaml
cache=$("$PYTHON" -m vidalign config "$config" --get paths.cache --options "$@")
"$PYTHON" data_prep/shapes.py --output "$cache/shapes_files" --splits test --options "paths.cache=$cache"
launch evaluate.py --cfg-path "$config" --options "$@"
