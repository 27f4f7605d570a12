# Sourced by test.sh and demo.sh. `prepare_environment` makes .venv on a machine with nothing but Python 3.11+ and pip,
# and reuses it as long as setup.py and constraints.txt stay the same. Afterwards $VENV_PYTHON is its interpreter.
# Settings: PYTHON (interpreter to build from), VIDALIGN_VENV (another folder than .venv).
# shellcheck shell=bash

REPOSITORY="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="${VIDALIGN_VENV:-$REPOSITORY/.venv}"
VENV_PYTHON="$VENV/bin/python"
EXTRAS="dev,video,llama3,log"
export PIP_DISABLE_PIP_VERSION_CHECK=1

_is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

_find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.11 python3.12 python3.13 python3.14 python}; do
        if _is_new_enough "$candidate"; then
            echo "$candidate"
            return 0
        fi
    done
    echo "No Python 3.11 or newer found (tried ${PYTHON:-python3, python3.11 ... python3.14, python})." \
        "Install one, or name it: PYTHON=/path/to/python3.11 bash run_scripts/test.sh" >&2
    return 1
}

# What the environment is made from; a change of either file makes it stale.
_fingerprint() {
    "$1" -c '
import hashlib, sys
digest = hashlib.sha256(sys.argv[1].encode())
for path in sys.argv[2:]:
    with open(path, "rb") as file:
        digest.update(file.read())
print(digest.hexdigest())' "$EXTRAS" "$REPOSITORY/setup.py" "$REPOSITORY/constraints.txt"
}

_announce() {
    echo "Preparing the Python environment in $VENV (once; later runs reuse it)."
    echo "  interpreter: $("$1" -c 'import sys; print(sys.executable, sys.version.split()[0])')"
    echo "  download:    about 2.9 GB on Linux x86-64 (torch 0.5 GB, its CUDA libraries 2.0 GB, all else 0.4 GB),"
    echo "               about 0.6 GB elsewhere; nothing if pip has it cached; about 5.5 GB on disk"
    echo "  time:        2 to 15 minutes, mostly the download"
    echo "  a smaller CPU-only build: set PIP_EXTRA_INDEX_URL to the CPU index of the PyTorch project beforehand"
}

# torch and torchvision of different builds are replaced by the tested pair, once.
_check_pair() {
    local check="$REPOSITORY/run_scripts/check_torch.py"
    "$VENV_PYTHON" "$check" && return 0
    echo "Installing the tested pair."
    # shellcheck disable=SC2046  # two words are wanted
    "$VENV_PYTHON" -m pip install -c "$REPOSITORY/constraints.txt" $("$VENV_PYTHON" "$check" --pair) || return 1
    "$VENV_PYTHON" "$check"
}

_make_venv() {
    local python="$1"
    if "$VENV_PYTHON" -m pip --version >/dev/null 2>&1 && _is_new_enough "$VENV_PYTHON"; then
        return 0
    fi
    if [ -L "$VENV" ]; then
        echo "$VENV is a link to an environment without a working Python 3.11+ and pip; remove the link first." >&2
        return 1
    fi
    [ -e "$VENV" ] && echo "  $VENV is incomplete or broken: it is made afresh"
    if ! "$python" -m venv --clear "$VENV"; then
        echo "'$python -m venv' failed. On Debian and Ubuntu the module comes with: apt-get install python3-venv" >&2
        return 1
    fi
}

# Make or reuse $VENV. The stamp is written last, so an interrupted installation is taken up again.
prepare_environment() {
    local python stamp wanted
    stamp="$VENV/.vidalign-stamp"
    if [ -f "$stamp" ] && _is_new_enough "$VENV_PYTHON"; then
        wanted="$(_fingerprint "$VENV_PYTHON")"
        if [ "$(cat "$stamp")" = "$wanted" ]; then
            echo "Environment $VENV is up to date."
            return 0
        fi
        echo "setup.py or constraints.txt changed: $VENV is brought up to date."
    fi
    python="$(_find_python)" || return 1
    _announce "$python"
    _make_venv "$python" || return 1
    rm -f "$stamp"
    (cd "$REPOSITORY" && "$VENV_PYTHON" -m pip install -c constraints.txt -e ".[$EXTRAS]") || {
        echo "pip could not install the environment; the reason is above. Running this again continues." >&2
        return 1
    }
    _check_pair || return 1
    _fingerprint "$VENV_PYTHON" >"$stamp"
    echo "Environment $VENV is ready."
}
