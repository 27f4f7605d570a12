#!/usr/bin/env bash
# LF-VILA: lfvila8m stage2 pretrain.
#   [GPUS=8] bash run_scripts/lf_vila/lfvila8m_stage2_pretrain.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"
launch train.py --cfg-path configs/lf_vila/lfvila8m_stage2_pretrain.yaml --options "$@"
