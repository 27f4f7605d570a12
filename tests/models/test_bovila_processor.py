"""Every `dataset` and `flipped_dataset` reference case: annotation files in, the official loader's fields out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vidalign.data.sets.config import DatasetConfig
from vidalign.media.features import FeatureStore
from vidalign.media.load import MediaLoader
from vidalign.media.spec import MediaSpec
from vidalign.models.bovila.processor import PromptProcessor, RowForm
from vidalign.registry import DATASETS
from vidalign.text.row_fields import row_fields, stack_fields
from vidalign.text.tokenizers import load_tokenizer

CASES = [
    *(f"data_{n}" for n in ("star", "star_truncated", "how2qa", "dramaqa", "tvqa_nosub", "tvqa_sub")),
    *(f"data_{n}" for n in ("tvqa_sub_overflow", "vlep_nosub", "vlep_sub", "vlep_sub_overflow")),
    *(f"flipped_data_{n}" for n in ("star", "nextqa", "dramaqa", "tvqa_nosub", "tvqa_sub", "tvqa_sub_overflow")),
    *(f"flipped_data_{n}" for n in ("vlep_nosub", "vlep_sub", "vlep_sub_overflow")),
]


def reference_folder(shared: Path) -> Path:
    return shared / "reference" / "bovila"


def open_case(case: dict, tensors: dict, tmp_path: Path) -> tuple:
    """Lay the case's files out as a user would, and open builder and media loader on them."""
    for name, text in case["annotation_files"].items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    features = {key.split("/", 2)[2]: rows for key, rows in tensors.items() if key.startswith("in/features/")}
    torch.save(features, tmp_path / "clipvitl14.pth")
    name = case["what"].split()[0]
    config = DatasetConfig(
        root=str(tmp_path),
        features="clipvitl14.pth",
        subtitles=case["config"]["sub"],
        official_order=True,
        missing_features="zeros",
    )
    builder = DATASETS.load(name)(config)
    spec = MediaSpec(kind="features", num_frames=case["config"]["max_feats"], feature_dim=768)
    loader = MediaLoader(
        spec,
        features=FeatureStore.open(builder.feature_path),
        feature_fps=builder.info.feature_fps,
        missing=config.missing_features,
    )
    return builder, loader


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("official_positions", [True, False])
def test_equals_the_official_loader(name: str, official_positions: bool, shared: Path, tmp_path: Path) -> None:
    folder = reference_folder(shared)
    case = json.loads((folder / f"{name}.json").read_text())
    tensors = load_file(folder / f"{name}.safetensors")
    builder, media_loader = open_case(case, tensors, tmp_path)
    tokenizer = load_tokenizer(folder / case["tokenizer"].split()[0])
    flipped = case["kind"] == "flipped_dataset"
    if "overflow" in name and not official_positions:
        pytest.skip("the stale question_start is followed only with official positions")
    for split in ("train", "val"):
        processor = PromptProcessor(
            tokenizer,
            info=builder.info,
            num_frames=case["config"]["max_feats"],
            max_seq_len=case["config"]["max_seq_len"],
            streams=("vqa", "vaq", "qav") if flipped else ("vqa", "vaq"),
            train=split == "train",
            overflow="official",
            form=RowForm(all_streams=True, vaq_per_option=flipped, official_positions=official_positions),
        )
        samples = builder.samples(split)
        rows = []
        assert len(samples) == len(case["expected"][split])
        for index, (sample, expected) in enumerate(zip(samples, case["expected"][split], strict=True)):
            media = media_loader.load(sample)
            fields = row_fields(
                processor.sample_rows, sample, processor.rows(sample), type_numbers=builder.type_numbers
            )
            fields |= {"video": media.tensor, "video_len": media.length}
            rows.append(fields)
            assert {key: fields[key] for key in expected} == expected
            compare_tensors(fields, tensors, f"out/{split}/{index}/")
        compare_shapes(stack_fields(rows), case["expected"][f"{split}_batch_shapes"])


def compare_tensors(fields: dict, tensors: dict, prefix: str) -> None:
    checked = 0
    for key, value in tensors.items():
        if key.startswith(prefix):
            got = fields
            for part in key.removeprefix(prefix).split("/"):
                got = got[part]
            assert torch.equal(got.to(value.dtype), value), key
            checked += 1
    assert checked >= 7


def compare_shapes(batch: dict, expected: dict) -> None:
    for name, shape in expected.items():
        if shape is None:
            assert isinstance(batch[name], list), name
        elif isinstance(shape, dict):
            assert {stream: list(value.shape) for stream, value in batch[name].items()} == shape, name
        else:
            assert list(batch[name].shape) == shape, name
