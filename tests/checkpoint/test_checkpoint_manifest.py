"""The list of weights, fetch.sh, and what `vidalign inspect` says a file is."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

import pytest
import torch

from vidalign.checkpoint import fetch
from vidalign.checkpoint.inspect import describe
from vidalign.checkpoint.load import read_checkpoint
from vidalign.checkpoint.recognise import LAYOUTS, recognise
from vidalign.common.errors import CheckpointError


def test_the_manifest_is_complete_and_names_real_configs(repository: Path) -> None:
    places = fetch.read_manifest(repository / "checkpoints/manifest.yaml")
    for place in places.values():
        assert place.files or place.keys, place.name
        assert all((repository / "configs" / one).is_file() for one in place.configs), place
    named, hubs = set(), {place.hub for place in places.values()}
    for path in (repository / "configs").rglob("*.yaml"):
        text = "\n".join(line.partition("#")[0] for line in path.read_text().splitlines())
        named |= {match.rstrip("/}") for match in re.findall(r"(?<!/)\bcheckpoints/([\w./-]+)", text)}
        used = re.findall(r"\b(?:t5|encoder|path): ((?!checkpoints/)[a-z]\w+/[\w.-]+)", text)
        assert set(used) <= hubs, path
    listed = [re.escape(name).replace(r"\*", "[^/]+") for name in places]
    missing = [
        one
        for one in named
        if not any(re.fullmatch(rf"{name}(/.*)?", one) or re.match(one, name) for name in listed)
        and not one.startswith(("best", "last"))
    ]
    assert not missing, f"configs name weights that the manifest does not list: {missing}"


MANIFEST = """
a/weights.bin: {for: [x], what: w, published: p, licence: L, files: [weights.bin], sha256: {weights.bin: DIGEST}}
b: {for: [x], what: w, published: "a form", licence: L, files: [c.json, d.pth]}
e/*.pth: {for: [x], what: w, published: p, licence: L, keys: [k]}
"""


def test_state_and_checksums(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()[:16]
    (tmp_path / "manifest.yaml").write_text(MANIFEST.replace("DIGEST", digest))
    (tmp_path / "a").mkdir()
    (tmp_path / "a/weights.bin").write_bytes(b"weights")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/c.json").touch()
    assert fetch.main(["--root", str(tmp_path)]) == 0
    assert [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()] == [
        ["a/weights.bin", "there"],
        ["b", "missing: d.pth"],
        ["e/*.pth", "0 files"],
    ]
    assert fetch.main(["a/weights.bin", "--root", str(tmp_path)]) == 0
    assert fetch.main(["b", "--root", str(tmp_path), "--dry-run"]) == 0
    assert fetch.main(["b", "--root", str(tmp_path)]) == 2
    assert "fetch it by hand: a form" in capsys.readouterr().err
    assert fetch.main(["c", "--root", str(tmp_path)]) == 2 and "unknown place 'c'" in capsys.readouterr().err
    (tmp_path / "a/weights.bin").write_bytes(b"other")
    assert fetch.main(["a/weights.bin", "--root", str(tmp_path)]) == 2
    (tmp_path / "manifest.yaml").write_text("a: {what: w}")
    with pytest.raises(CheckpointError, match="not a manifest"):
        fetch.read_manifest(tmp_path / "manifest.yaml")


def test_the_script(repository: Path) -> None:
    command = ["bash", "checkpoints/fetch.sh", "llama/7B", "--dry-run"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0 and "consolidated.00.pth" in done.stdout and "licence" in done.stdout


@pytest.mark.parametrize(
    ("names", "layout"),
    [
        (["adapter_query.weight", "visual_proj.weight", "temporal_emb.weight", "layers.0.attention.gate1"], 0),
        (["tok_embeddings.weight", "layers.0.attention.wq.weight", "rope.freqs"], 1),
        (["model.layers.0.self_attn.q_proj.weight", "model.video_tower.x", "lm_head.weight"], 2),
        (["model.layers.0.self_attn.q_proj.weight", "model.embed_tokens.weight"], 3),
        (["video_encoder.patch_embed.proj.weight", "text_encoder.bert.x", "sent_embedding.norm.weight"], 4),
        (["Qformer.bert.x", "query_tokens", "t5_proj.weight", "Qformer_T.bert.x"], 5),
        (["patch_embed.proj.weight", "blocks.38.attn.qkv.weight", "cls_token"], 6),
    ],
)
def test_layouts_are_told_apart(names: list[str], layout: int) -> None:
    assert next(one for one in LAYOUTS if one.fits(names)) is LAYOUTS[layout]
    lines = recognise([*names, "odd.thing"])
    assert LAYOUTS[layout].name in lines[0] and "not of it: odd.thing" in lines[-1]
    assert f"{len(names)} of {len(names) + 1}" in lines[-1]


def test_inspect_says_whose_it_is(tmp_path: Path) -> None:
    adapter = {name: torch.zeros(1) for name in ("adapter_query.weight", "visual_proj.weight", "temporal_emb.weight")}
    torch.save({"model": adapter}, tmp_path / "a.pth")
    assert "trained part of BoViLA" in describe(tmp_path / "a.pth")
    torch.save({"model": adapter, "config": "model:\n  arch: bovila\n"}, tmp_path / "b.pt")
    text = describe(tmp_path / "b.pt")
    assert "a run of vidalign, model bovila" in text and "base weights" in text
    torch.save({"x": torch.zeros(1)}, tmp_path / "c.pt")
    assert "layout    unknown" in describe(tmp_path / "c.pt")


def test_a_folder_and_a_text_are_no_damaged_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is a folder; there are no weights in it"):
        read_checkpoint(tmp_path)
    (tmp_path / "a.pth").write_text("hello")
    with pytest.raises(CheckpointError, match=r"is a folder; name one of its files: a\.pth"):
        read_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        read_checkpoint(tmp_path / "a.pth")
