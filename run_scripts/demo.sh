#!/usr/bin/env bash
# See vidalign learn, on a laptop: bash run_scripts/demo.sh [key=value ...]
# Needs nothing but Python 3.11+ and pip. Arguments reach the config, e.g. run.output_dir=DIR run.seed=1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cat <<'TEXT'
The demo of vidalign: BoViLA answers questions about short drawn videos. Times are for two CPU cores without GPU.
  1. environment    once, 2 to 15 minutes; nothing when it is there
  2. base models    once, 8 to 14 minutes: a tiny CLIP (1 min) and a tiny language model (7 to 12 min), from clips of their own
  3. videos         once, about 1 minute: 3400 clips drawn into mp4 files, then their CLIP features
  4. BoViLA         about 1 to 2 minutes: only its published set of parameters trains, on the frozen base
  5. two controls   about 3 minutes: the same training with blank videos, and with one frame of each video
Everything that can be reused lies in the folder cache/, the results in output/bovila_shapes (run.output_dir=DIR).

TEXT
source run_scripts/environment.sh
prepare_environment
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}"
exec "$VENV_PYTHON" data_prep/shapes_demo.py --options "$@"
