"""Reference cases that start from annotation files: prompts, ids, labels, frames, and the way from there to losses."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from adapters.bovila_models import bovila, gradients, is_half, next_noise, option_outputs, size, stored_noise
from refcases.case import Case

from vidalign.data.sets.config import DatasetConfig
from vidalign.media.features import FeatureStore
from vidalign.media.load import MediaLoader
from vidalign.media.spec import MediaSpec
from vidalign.models.bovila.processor import PromptProcessor, RowForm
from vidalign.registry import DATASETS
from vidalign.text.row_fields import row_fields, stack_fields
from vidalign.text.tokenizers import load_tokenizer

FEATURES = "clipvitl14.pth"
SHAPES = "_batch_shapes"


class OpenCase:
    """A dataset case laid out as a user's folder, with builder, media loader and tokenizer opened on it.

    settings: max_feats, max_seq_len, sub; the case's own, or those of a case that uses it.
    """

    def __init__(self, case: Case, folder: Path, settings: dict[str, Any]) -> None:
        self.settings = settings
        for name, text in case.json["annotation_files"].items():
            (folder / f"{name}").parent.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}").write_text(text, encoding="utf-8")
        rows = case.group("in/features")
        torch.save(rows, folder / f"{FEATURES}")
        config = DatasetConfig(
            root=str(folder),
            features=FEATURES,
            subtitles=self.settings["sub"],
            official_order=True,
            missing_features="zeros",
        )
        self.builder = DATASETS.load(dataset_name(case))(config)
        self.splits = [name for name in case.json["expected"] if not name.endswith(SHAPES)]
        width = next(iter(rows.values())).shape[1]
        self.media = MediaLoader(
            MediaSpec(kind="features", num_frames=self.settings["max_feats"], feature_dim=width),
            features=FeatureStore.open(self.builder.feature_path),
            feature_fps=self.builder.info.feature_fps,
            missing=config.missing_features,
        )
        self.tokenizer = load_tokenizer(case.file(case.json["tokenizer"].split()[0]))

    def processor(self, split: str, *, streams: tuple[str, ...], form: RowForm) -> PromptProcessor:
        """The prompts of a split; only `train` has one row per sample."""
        return PromptProcessor(
            self.tokenizer,
            info=self.builder.info,
            num_frames=self.settings["max_feats"],
            max_seq_len=self.settings["max_seq_len"],
            streams=streams,
            train=split == "train",
            overflow="official",
            form=form,
        )


def dataset_name(case: Case) -> str:
    """Registry name, from the annotation files' names; two benchmarks use plain csv files with other columns."""
    files = case.json["annotation_files"]
    known = {"STAR_": "star", "AnotherMissOh": "dramaqa", "vlep_": "vlep", "tvqa_": "tvqa"}
    for start, name in known.items():
        if any(file.startswith(start) for file in files):
            return name
    header = next(iter(files.values())).splitlines()[0].split(",")
    return "how2qa" if "answer_id" in header else "nextqa"


def run_dataset(case: Case) -> dict[str, Any]:
    """Kind dataset: the two streams of BoViLA."""
    return _fields(case, ("vqa", "vaq"), vaq_per_option=False)


def run_flipped_dataset(case: Case) -> dict[str, Any]:
    """Kind flipped_dataset: the three streams of LLaMA-VQA."""
    return _fields(case, ("vqa", "vaq", "qav"), vaq_per_option=True)


def _fields(case: Case, streams: tuple[str, ...], *, vaq_per_option: bool) -> dict[str, Any]:
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        opened = OpenCase(case, Path(folder), case.json["config"])
        form = RowForm(all_streams=True, vaq_per_option=vaq_per_option, official_positions=True)
        for split in opened.splits:
            processor = opened.processor(split, streams=streams, form=form)
            rows = []
            for sample in opened.builder.samples(split):
                media = opened.media.load(sample)
                fields = row_fields(
                    processor.sample_rows, sample, processor.rows(sample), type_numbers=opened.builder.type_numbers
                )
                rows.append(fields | {"video": media.tensor, "video_len": media.length})
            result |= _described(case, split, rows)
    return result


def _described(case: Case, split: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Row fields under the case's names: tensors one by one, everything else as the case's JSON lists it."""
    result: dict[str, Any] = {}
    for index, fields in enumerate(rows):
        for name, value in fields.items():
            parts = value if isinstance(value, dict) else {"": value}
            result |= {f"out/{split}/{index}/{name}/{part}".rstrip("/"): entry for part, entry in parts.items()}
    listed = [{name for name in row} for row in case.json["expected"][split]]
    result[f"json:expected/{split}"] = [
        {name: value for name, value in fields.items() if name in names}
        for fields, names in zip(rows, listed, strict=True)
    ]
    if f"{split}{SHAPES}" in case.json["expected"]:
        stacked = stack_fields(rows)
        names = case.json["expected"][f"{split}{SHAPES}"]
        result[f"json:expected/{split}{SHAPES}"] = {name: _shapes(stacked[name]) for name in names}
    return result


def _shapes(value: Any) -> Any:
    """Shapes of what was stacked, None for what stays a list."""
    if isinstance(value, dict):
        return {name: list(part.shape) for name, part in value.items()}
    return None if isinstance(value, list) else list(value.shape)


def run_end_to_end(case: Case) -> dict[str, Any]:
    """Kind end_to_end: all training rows of another case as one batch -> losses; all others -> option scores."""
    model = bovila(case, exact=is_half(case))
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        lender = case.other(case.json["uses_case"])
        own = {"max_feats": size(case, "max_feats"), "max_seq_len": size(case, "max_seq_len")}
        subtitles = case.json["args"].get("sub", lender.json["config"]["sub"])
        opened = OpenCase(lender, Path(folder), own | {"sub": subtitles})
        for split in opened.splits:
            form = RowForm(pad_to_max=True, official_positions=True, questions=model.config.losses.aqa > 0)
            processor = opened.processor(split, streams=("vqa", "vaq"), form=form)
            samples = opened.builder.samples(split)
            batch = processor.collate([processor(sample, opened.media.load(sample).tensor) for sample in samples])
            if split == "train":
                output = model(batch, next_noise(stored_noise(case), batch, model))
                result |= {f"out/loss/{name}": value for name, value in output.losses.items()}
                result |= {"out/loss/total": output.total} | gradients(case, output.total, model)
            else:
                fast = model.score_options(batch)
                exact = bovila(case, exact=True).score_options(_without_tree(batch))
                values = option_outputs(fast, exact)
                result |= {f"out/{split}/{name}": value for name, value in values.items()}
    return result


def _without_tree(batch: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in batch.items() if name != "tree"}
