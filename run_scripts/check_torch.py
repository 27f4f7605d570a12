"""Do torch and torchvision belong together? Run after an installation; explains the usual accident.

A package index may offer a CPU-only torch in a version for which it has torchvision only as a CUDA build. pip takes
both, and `import torchvision` then dies with "operator torchvision::nms does not exist".
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"


def pinned_pair(text: str) -> dict[str, str]:
    """torch and torchvision as constraints.txt pins them."""
    return dict(re.findall(r"^(torch|torchvision)==([^\s;]+)", text, re.MULTILINE))


def exact(pair: dict[str, str]) -> list[str]:
    """Requirements that no build with a local label (2.12.1+cpu) satisfies."""
    return [f"{name}==={number}" for name, number in pair.items()]


def explain(error: BaseException, installed: dict[str, str], tested: dict[str, str]) -> str:
    """What is wrong with the pair and how to mend it."""
    have = ", ".join(f"{name} {number}" for name, number in installed.items())
    return (
        f"torch and torchvision do not work together: {error}\n"
        f"  installed: {have}\n"
        "  Both must come from the same build: both CPU-only, or both for the same CUDA. This happens when one of two\n"
        "  package indexes offers a CPU-only torch whose torchvision only the other has.\n"
        "  Remedy, the tested pair without a local build label:\n"
        f"    {sys.executable} -m pip install {' '.join(exact(tested))}\n"
        "  or set PIP_EXTRA_INDEX_URL to one index that has both, remove .venv, and run again."
    )


def main() -> int:
    """0 when both import and an operator of torchvision runs. `--pair` only prints the tested requirements."""
    tested = pinned_pair(CONSTRAINTS.read_text(encoding="utf-8"))
    if "--pair" in sys.argv[1:]:
        print(*exact(tested))
        return 0
    installed = {}
    for name in ("torch", "torchvision"):
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            installed[name] = "missing"
    try:
        import torch
        from torchvision.ops import nms

        nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        print(explain(error, installed, tested), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
