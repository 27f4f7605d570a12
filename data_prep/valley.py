"""valley: the official files -> unified JSON Lines; counts checked, media scanned. `--help` says how."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package of this checkout, installed or not

from vidalign.runners.prepare import main

if __name__ == "__main__":
    sys.exit(main("valley"))
