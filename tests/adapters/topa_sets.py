"""Reference cases that start from annotation files: TOPA's readers, prompts, draws and frames."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from adapters.topa_data import tokenizer_of
from refcases.case import Case
from torch import Tensor

from vidalign.data.dataset import repeated_share
from vidalign.data.sets.config import DatasetConfig
from vidalign.media.features import FeatureStore
from vidalign.media.load import MediaLoader
from vidalign.media.spec import MediaSpec
from vidalign.models.topa.official import Slots, official_item
from vidalign.models.topa.processor import PromptProcessor, Teaching
from vidalign.models.topa.questions import Draws
from vidalign.registry import DATASETS

# The official names of the data sets, and ours where they differ.
NAMES = {"egos": "egoschema", "perc": "perception"}
FOLDERS = ("egos", "perc", "how2qa", "textvid")
SINGLE_FILES = {"webvid": "features.pkl"}
# (official annotation, split) -> the file it comes in.
FILES = {
    "nextqa": "{split}.csv",
    "egos": "{split}.csv",
    "perc": "{split}.csv",
    "how2qa": "{split}.csv",
    "star": "STAR_{split}.json",
    "dramaqa": "AnotherMissOhQA_{split}_set.json",
    "tvqa": "tvqa_{split}.jsonl",
    "vlep": "vlep_{split}_release.jsonl",
    "vlep_subtitles": "vlep_subtitles.jsonl",
    "textvid": "textvid.json",
    "webvid": "{split}.json",
}
DEV = {"vlep": {"val": "dev"}}


def run_dataset(case: Case) -> dict[str, Any]:
    """Every row of a split in order: rows of ids, labels, masks, positions, texts and frames."""
    args, split = case.json["args"], case.json["split"]
    with tempfile.TemporaryDirectory() as folder:
        features = lay_out(case, Path(folder))
        config = DatasetConfig(
            root=folder,
            features=features,
            subtitles=args["sub"],
            official_order=True,
            missing_features="zeros",
        )
        name = case.json["dataset"]
        builder = DATASETS.load(NAMES.get(name, name))(config)
        store = FeatureStore.open(builder.feature_path)
        media = MediaLoader(
            MediaSpec(kind="features", num_frames=args["max_feats"], feature_dim=store.dim),
            features=store,
            feature_fps=builder.info.feature_fps,
            missing=config.missing_features,
        )
        processor = processor_of(case, builder)
        samples = builder.samples(split)
        samples = repeated_share(samples, args["data_ratio"]) if split == "train" else samples
        draws = case.json["annotations"].get("textvid_draws", [None for _ in samples])
        items = []
        for sample, drawn in zip(samples, draws, strict=True):
            fields = official_item(
                processor,
                sample,
                slots=Slots(
                    summary=args["video_caption"], open_answer=args["openvqa"], every_option=args["openvqa_eval"]
                ),
                draws=drawn and Draws(drawn["choice"], tuple(drawn["permutation"]), drawn["uniform"]),
                type_numbers=builder.type_numbers,
            )
            loaded = media.load(sample)
            video = processor.video(sample, loaded.tensor)
            items.append(fields | {"video": video, "video_len": loaded.length})
    return described(items)


def processor_of(case: Case, builder: Any) -> PromptProcessor:
    """The prompts of the case's split with the official treatment of long rows."""
    args = case.json["args"]
    return PromptProcessor(
        tokenizer_of(case, case.json["tokenizer"]),
        info=builder.info,
        num_frames=args["max_feats"],
        max_seq_len=args["max_seq_len"],
        train=case.json["split"] == "train",
        overflow="official",
        teaching=Teaching(balance=args["answer_balance"], noise=args["variance"]),
        every_second_frame=args["single_frame"],
        official_positions=True,
    )


def lay_out(case: Case, folder: Path) -> str:
    """Annotations and features as a user's folder has them; returns the name of the feature file or folder."""
    name, split = case.json["dataset"], case.json["split"]
    for key, content in case.json["annotations"].items():
        if key in FILES:
            path = folder / f"{FILES[key].format(split=DEV.get(key, {}).get(split, split))}"
            path.write_text(text_of(content, lines=path.suffix == ".jsonl"), encoding="utf-8")
        elif key == "tvqa_srt":
            (folder / "tvqa_subtitles").mkdir()
            for video, subtitles in content.items():
                (folder / "tvqa_subtitles" / f"{video}.srt").write_text(subtitles, encoding="utf-8")
    rows = features_of(case, name)
    if name in FOLDERS:
        (folder / "features").mkdir()
        for key, value in rows.items():
            torch.save(value, folder / "features" / f"{key}.pth")
        return "features"
    file = SINGLE_FILES.get(name, "clipvitl14.pth")
    torch.save(rows, folder / f"{file}")
    return file


def text_of(content: Any, *, lines: bool) -> str:
    """A csv as it is, anything else as JSON."""
    if isinstance(content, str):
        return content
    return "\n".join(json.dumps(row) for row in content) if lines else json.dumps(content)


def features_of(case: Case, name: str) -> dict[str, Tensor]:
    """{video key: rows} of one data set; the lender's tensors are named in/features.DATASET.VIDEO."""
    start = f"in/features.{name}."
    lender = case.other("dataset_features")
    return {key.removeprefix(start): lender.tensor(key) for key in lender.names if key.startswith(start)}


def described(items: list[dict[str, Any]]) -> dict[str, Any]:
    """The fields stacked over the rows, under the case's names."""
    result: dict[str, Any] = {f"json:{name}": [item[name] for item in items] for name in ("vid", "qid", "text")}
    for name in ("answer", "qtype", "video", "video_len"):
        result[f"out/{name}"] = torch.stack([torch.as_tensor(item[name]) for item in items])
    for name in ("text_id", "label", "label_mask", "video_start", "video_index"):
        for stream in items[0][name]:
            result[f"out/{name}.{stream}"] = torch.stack([torch.as_tensor(item[name][stream]) for item in items])
    return result
