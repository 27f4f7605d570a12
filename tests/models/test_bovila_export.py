"""vidalign export: a run's checkpoint becomes a file in the authors' layout, which loads again."""

from __future__ import annotations

import argparse

import tiny_bovila as tiny
import torch

from vidalign.checkpoint.load import model_state, read_checkpoint
from vidalign.checkpoint.save import save_checkpoint
from vidalign.cli import main


def _ours(model, arch):
    return {
        "model": model.export_state(),
        "optimizer": {"state": {}, "param_groups": []},
        "scaler": {},
        "epoch": 3,
        "config": f"model:\n  arch: {arch}\n",
    }


def test_export_has_the_released_layout_and_loads_again(tmp_path, capsys):
    model = tiny.bovila()
    save_checkpoint(tmp_path / "best.pt", _ours(model, "bovila"))
    assert main(["export", str(tmp_path / "best.pt"), str(tmp_path / "out.pth")]) == 0
    assert "released names" in capsys.readouterr().out
    content = read_checkpoint(tmp_path / "out.pth")
    assert list(content) == ["model", "optimizer", "epoch", "scaler", "args"]
    assert content["epoch"] == 2, "theirs is the last finished epoch"
    assert isinstance(content["args"], argparse.Namespace)
    assert not any(name.startswith("scale_proj") for name in content["model"])
    other = tiny.bovila()
    other.load_state(model_state(content, where="out.pth"))
    for name, tensor in content["model"].items():
        assert torch.equal(tensor, model.export_state()[name])


def test_foreign_files_are_refused(tmp_path, capsys):
    save_checkpoint(tmp_path / "theirs.pth", {"model": tiny.llama_vqa().export_state()})
    assert main(["export", str(tmp_path / "theirs.pth"), str(tmp_path / "out.pth")]) == 2
    assert "not written by vidalign" in capsys.readouterr().err
    assert not (tmp_path / "out.pth").exists()
