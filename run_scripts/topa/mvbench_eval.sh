#!/usr/bin/env bash
# TOPA Llama-2 7B on MVBench, zero-shot.
#   [GPUS=4] bash run_scripts/topa/mvbench_eval.sh run.checkpoint=FILE [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch evaluate.py --cfg-path configs/topa/mvbench_eval.yaml --options "$@"
