#!/usr/bin/env bash
# See vidalign learn, on a laptop: bash run_scripts/demo.sh [key=value ...]
# Needs nothing but Python 3.11+ and pip. Arguments reach the config, e.g. run.output_dir=DIR run.seed=1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cat <<'TEXT'
The demo of vidalign: BoViLA answers questions about short drawn videos. Times are for two CPU cores without GPU.
  1. environment    once, 2 to 15 minutes; nothing when it is there
  2. base models    once, about 13 minutes: a tiny CLIP and, beside it, a tiny language model, from clips of their own; on
                    the second core 3400 clips are drawn into mp4 files meanwhile and their CLIP features stored
  3. BoViLA         about 4 minutes together with 4: its published set of parameters trains on the frozen base
  4. two controls   the same training beside it, with blank videos, and with one frame of each video
Everything that can be reused lies in the folder cache/, the results in output/bovila_shapes (run.output_dir=DIR).

TEXT
source run_scripts/environment.sh
prepare_environment
exec "$VENV_PYTHON" data_prep/shapes_demo.py --options "$@"
