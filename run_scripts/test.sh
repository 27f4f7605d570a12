#!/usr/bin/env bash
# Make the environment if need be, then run the fast test suite. Arguments go to pytest:
#   bash run_scripts/test.sh tests/media -x        TEST_PROCESSES=4 bash run_scripts/test.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source run_scripts/environment.sh
prepare_environment
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec "$VENV_PYTHON" -m pytest -q -n "${TEST_PROCESSES:-2}" "$@"
