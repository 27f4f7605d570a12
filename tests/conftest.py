"""What every test may use."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

# Before torch is imported: the machines have few cores and tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# No test needs the network; a hub name that slips in fails at once instead of waiting.
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def shared_folder() -> Path | None:
    """The folder of shared test data (VIDALIGN_SHARED, else ../shared beside the repository), None when absent."""
    named = os.environ.get("VIDALIGN_SHARED")
    folder = Path(named) if named else REPOSITORY.parent / "shared"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def shared() -> Path:
    """Shared test data that is never committed (videos, annotations, all reference cases)."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("no shared test data: set VIDALIGN_SHARED or put it at ../shared")
    return folder


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of this checkout."""
    return REPOSITORY


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def nobody() -> Iterator[tuple[Path, Callable[[], None]]]:
    """A folder that everybody may enter, and this process as a user who is not root. Yields (folder, become)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder, (lambda: os.seteuid(65534)) if os.geteuid() == 0 else (lambda: None)
        if os.getuid() == 0:
            os.seteuid(0)
