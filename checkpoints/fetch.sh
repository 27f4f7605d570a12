#!/usr/bin/env bash
# What a place under checkpoints/ needs, whether it is there, and (for hub names) its download.
#   bash checkpoints/fetch.sh                 every place and its state
#   bash checkpoints/fetch.sh llama/7B        one place; --dry-run downloads nothing
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON=python
[ ! -x .venv/bin/python ] || PYTHON=.venv/bin/python
exec "$PYTHON" -m vidalign.checkpoint.fetch "$@"
