"""tgif_qa: the official files -> unified JSON Lines; counts checked, media scanned. `--help` says how.

python data_prep/tgif_qa.py --convert GIFS     every *.gif of a folder -> *.mp4 beside it, since decord reads no GIF
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package of this checkout, installed or not

from vidalign.cli import guarded
from vidalign.common.errors import DataError
from vidalign.media.video_gif import convert_folder
from vidalign.runners.prepare import main


def convert(folder: str) -> None:
    """Convert and tell; DataError when a file failed or there is none."""
    made, failed = convert_folder(Path(folder))
    print(f"converted {made}, failed {len(failed)}")
    if failed:
        reasons = "".join(f"\n  {reason}" for reason in failed.values())
        raise DataError(f"{folder}: {len(failed)} files are no readable GIF; get them again or remove them{reasons}")


if __name__ == "__main__":
    wanted = len(sys.argv) == 3 and sys.argv[1] == "--convert"
    sys.exit(guarded(lambda: convert(sys.argv[2])) if wanted else main("tgif_qa"))
