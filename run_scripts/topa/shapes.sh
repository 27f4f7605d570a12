#!/usr/bin/env bash
# TOPA on the drawn benchmark: makes or finds the tiny base models and the captions' features, trains three seeds on captions
# alone, evaluates on shapes/test with and without the support memory, on blank video and on captions; one table.
#   bash run_scripts/topa/shapes.sh [key=value ...]        e.g. run.output_dir=DIR model.losses.caption_share=0
# One seed: python train.py --cfg-path configs/topa/shapes_train.yaml --options run.seed=0
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
"$PYTHON" data_prep/shapes_topa.py --options "$@"
