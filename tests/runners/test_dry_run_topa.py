"""Every recipe of TOPA through --dry-run at its real size, over made data folders."""

from pathlib import Path

import pytest
import torch
from stand_in_data import make_data_root

from vidalign.config.load import load
from vidalign.runners.dry_run import dry_run

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "topa"
PUBLISHED = sorted(
    path for path in CONFIGS.glob("*.yaml") if load(path, allow_missing=True).model.size.startswith("llama")
)
TRAINED = {"llama2_7b": "9,742,336 trained", "llama2_13b": "14,226,560 trained", "llama3_8b": "9,742,336 trained"}


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    root = make_data_root(tmp_path_factory.mktemp("data"))
    torch.save(torch.zeros(2, 768), root / "textvid" / "memory.pkl")
    return root


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_recipe(path, data_root):
    options = [f"paths.data_root={data_root}", f"paths.cache={data_root}/cache", "run.checkpoint=null"]
    experiment = load(path, [*options, "model.llm.format=random", "model.llm.path=null"])
    report = dry_run(experiment)
    assert TRAINED[experiment.model.size] in report
    assert report.count("data   ") >= 1 and " 0 samples" not in report
