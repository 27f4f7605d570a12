"""MediaLoader against the official loaders: span, subsampling, padding, missing videos, parts (reference data)."""

import io
import json
import re

import pytest
import torch
from safetensors.torch import load_file

from vidalign.common.sample import Media, Sample
from vidalign.media.features import FeatureStore
from vidalign.media.load import MediaLoader
from vidalign.media.spec import MediaSpec

FAMILIES = ("star", "how2qa", "dramaqa", "vlep", "tvqa", "nextqa")


def raw_rows(case, split):
    """(video id, parts, span) of every row of the annotation file, read with as little as possible."""
    files = case["annotation_files"]
    name = next(key for key in files if re.search("dev|val" if split == "val" else "train", key) and "sub" not in key)
    text = files[name]
    if name.endswith(".csv"):
        import pandas

        rows = pandas.read_csv(io.StringIO(text), keep_default_na=False).to_dict("records")
    elif name.endswith(".jsonl"):
        rows = [json.loads(line) for line in text.splitlines()]
    else:
        rows = json.loads(text)
    return [_place(row) for row in rows]


def _place(row):
    video_id = str(row.get("video_id") or row.get("vid_name") or row.get("vid") or row.get("video"))
    parts, span = (), None
    if "shot_contained" in row and video_id.endswith("0000"):
        first, last = row["shot_contained"]
        parts = tuple(f"{video_id[:-4]}{shot:04}" for shot in range(first, last + 1))
    if "start" in row:
        span = (float(row["start"]), float(row["end"]))
    if "ts" in row and row["ts"] != "nan-nan":
        ts = row["ts"].split("-") if isinstance(row["ts"], str) else row["ts"]
        span = (float(ts[0]), float(ts[1]))
    return video_id, parts, span


def cases(shared):
    for path in sorted((shared / "reference/bovila").glob("*.json")):
        case = json.loads(path.read_text())
        if case["kind"] in ("dataset", "flipped_dataset"):
            yield path, case


def check_case(path, case, folder):
    """Compare every row of one case; returns the number of rows."""
    tensors = load_file(path.with_suffix(".safetensors"))
    features = {key.split("/", 2)[2]: value for key, value in tensors.items() if key.startswith("in/features/")}
    file = folder / f"{path.stem}.pth"
    torch.save(features, file)
    spec = MediaSpec(kind="features", num_frames=case["config"]["max_feats"], feature_dim=768)
    fps = 3.0 if "tvqa" in path.stem else 1.0
    loader = MediaLoader(spec, features=FeatureStore.open(file), feature_fps=fps, missing="zeros")
    rows = [(split, *numbered) for split in ("train", "val") for numbered in enumerate(raw_rows(case, split))]
    rows = [row for row in rows if f"out/{row[0]}/{row[1]}/video" in tensors]
    for split, number, (video_id, parts, span) in rows:
        media = Media(kind="features", video_id=video_id, parts=parts)
        uid = f"x/{split}/{number}"
        got = loader.load(Sample(uid=uid, dataset="x", split=split, task="mc_qa", media=media, span=span))
        assert torch.equal(got.tensor, tensors[f"out/{split}/{number}/video"]), (path.stem, uid)
        assert got.length == case["expected"][split][number]["video_len"], (path.stem, uid)
    return len(rows)


def test_loaded_rows_equal_the_official_loaders(shared, tmp_path):
    seen = sum(check_case(path, case, tmp_path) for path, case in cases(shared))
    if not seen:
        pytest.skip("no dataset case under the shared folder")
    assert seen >= 4 * len(FAMILIES)
