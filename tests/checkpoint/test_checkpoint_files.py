"""Saving, safe loading, renaming and describing checkpoint files."""

import argparse
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from vidalign.checkpoint.inspect import describe
from vidalign.checkpoint.keymap import KeyMap
from vidalign.checkpoint.load import model_state, read_checkpoint
from vidalign.checkpoint.save import save_checkpoint
from vidalign.common.errors import CheckpointError


class Hostile:
    def __reduce__(self):
        return os.system, ("echo harm > harm.txt",)


def test_round_trip_keeps_values_and_copies_views_alone(tmp_path):
    big = torch.arange(1000.0)
    content = {"model": {"a": big[:3], "b": torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16))}, "epoch": 3}
    path = tmp_path / "new" / "last.pt"
    save_checkpoint(path, content)
    loaded = read_checkpoint(path)
    assert loaded["epoch"] == 3
    assert loaded["model"]["a"].tolist() == [0.0, 1.0, 2.0] and loaded["model"]["b"].dtype == torch.bfloat16
    assert path.stat().st_size < 3000, "a view must not drag its storage along"


def test_released_layout_with_a_namespace_opens(tmp_path):
    path = tmp_path / "checkpoint_best.pth"
    released = {
        "model": {"adapter_query.weight": torch.nn.Parameter(torch.ones(2, 3))},
        "optimizer": {"state": {}, "param_groups": [{"params": []}, {"params": [0]}]},
        "epoch": 4,
        "scaler": {},
        "args": argparse.Namespace(dataset="star", lr=None),
    }
    torch.save(released, path)
    content = read_checkpoint(path)
    assert content["args"].dataset == "star"
    assert model_state(content, where=str(path))["adapter_query.weight"].shape == (2, 3)
    text = describe(path)
    assert "adapter_query.weight" in text and "2x3" in text and "per group: 0, 1" in text and "1 tensors, 6" in text


def test_safetensors(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.ones(2)}, path)
    assert model_state(read_checkpoint(path), where="w")["a"].tolist() == [1.0, 1.0]
    assert "2 tensors" not in describe(path) and "a" in describe(path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(path)


def test_hostile_pickle_is_refused_and_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Hostile()}, "bad.pth")
    with pytest.raises(CheckpointError, match=r"system.*only tensors"):
        read_checkpoint("bad.pth")
    with open("plain.pkl", "wb") as file:
        pickle.dump(Hostile(), file)
    with pytest.raises(CheckpointError):
        read_checkpoint("plain.pkl")
    assert not (tmp_path / "harm.txt").exists()


@pytest.mark.parametrize("keep", [0, 10, 0.3, 0.9, 0.999])
def test_cut_off_files(tmp_path, keep):
    path = tmp_path / "cut.pt"
    save_checkpoint(path, {"model": {"a": torch.randn(500)}})
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
    with pytest.raises(CheckpointError, match="cut.pt"):
        read_checkpoint(path)


def test_things_that_are_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        read_checkpoint(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / "text.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="list"):
        read_checkpoint(tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match=r"not a model checkpoint.*lr"):
        model_state({"lr": 0.1}, where="x.pt")


def test_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"epoch": 1})

    class Full(dict):
        def items(self):
            raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointError, match=r"No space left.*untouched"):
        save_checkpoint(path, Full(a=1))
    assert read_checkpoint(path) == {"epoch": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_keymap_both_ways():
    names = KeyMap([("layers.{}.attention.gate{}", "blocks.{}.gate.{}"), ("head.{*}", "output.{*}")])
    released = {"layers.3.attention.gate1": 1, "head.a.weight": 2}
    ours = names.to_ours(released)
    assert ours == {"blocks.3.gate.1": 1, "output.a.weight": 2}
    assert names.to_released(ours) == released
    with pytest.raises(CheckpointError, match="unknown: tail"):
        names.to_ours({"tail": 0})
    with pytest.raises(CheckpointError, match="twice: b"):
        KeyMap([("a", "b"), ("c", "b")]).to_ours({"a": 1, "c": 2})


def test_inspect_command(tmp_path, capsys):
    from vidalign.cli import main

    save_checkpoint(tmp_path / "a.pt", {"model": {"w": torch.zeros(2, 3)}, "epoch": 7})
    assert main(["inspect", str(tmp_path / "a.pt")]) == 0
    printed = capsys.readouterr().out
    assert "epoch: 7" in printed and "2x3" in printed
    assert main(["inspect", str(tmp_path / "none.pt")]) == 2
    assert "no such file" in capsys.readouterr().err
