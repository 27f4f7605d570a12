"""A data root that holds every benchmark in its official files, two or three made-up rows each, for dry runs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

VIDEO = "v1"
_FIVE = {f"a{i}": f"option {i}" for i in range(5)}
_FOUR = {f"a{i}": f"option {i}" for i in range(4)}
_STAR = {
    "question_id": "Sequence_T1_1",
    "video_id": VIDEO,
    "start": 0.0,
    "end": 3.0,
    "question": "What then?",
    "answer": "B",
    "choices": [{"choice_id": i, "choice": c} for i, c in enumerate("ABCD")],
}
_DRAMA = {"vid": VIDEO, "qid": 1, "shot_contained": [1], "que": "why", "answers": list("abcde"), "correct_idx": 4}
_VLEP = {"example_id": 1, "vid_name": f"{VIDEO}_ep", "ts": [0, 3], "events": ["a", "b"], "answer": 0}
_TVQA = {"qid": 5, "vid_name": VIDEO, "ts": "0-3", "q": "who", "answer_idx": 1, **_FIVE}
_HIGHLIGHT = {"qid": 4, "query": "a cat", "duration": 8, "vid": VIDEO, "relevant_windows": [[0, 4]]}
_HIGHLIGHT |= {"relevant_clip_ids": [0, 1], "saliency_scores": [[4, 1, 0], [2, 2, 2]]}
_CAPTIONS = {f"v_{VIDEO}": {"duration": 9.0, "timestamps": [[0, 4], [4, 9]], "sentences": ["One.", "Two."]}}
_DIDEMO = {"video": f"{VIDEO}.mp4", "description": "a", "num_segments": 6, "times": [[0, 1]], "annotation_id": 1}
_VIOLIN = {"file": "x", "span": [0, 9], "source": "s", "statement": [["yes", "no"]], "sub": [["Hi", 0, 1]]}
_COIN = {"duration": 9.0, "class": "Do", "recipe_type": 3, "start": 0, "end": 9, "annotation": []}
_TEXTVID = {
    "idx": 7,
    "frames": [{"caption": "a dog", "object": "dog"}],
    "global_video_caption": "a dog runs",
    "QAs": [{"question": "who", "options": ["dog", "cat"], "answer": "A", "answer_open_ended": "a dog"}],
}
_EGO = {"q_uid": VIDEO, "question": "why", **{f"option {i}": f"o{i}" for i in range(5)}}
_OPEN = {"question": "what", "answer": "dog", "question_id": "1", "video_name": VIDEO, "type": 3}
_MSRVTT = {
    "videos": [{"video_id": f"video{i}", "split": s} for i, s in enumerate(("train", "validate", "test"))],
    "sentences": [{"video_id": f"video{i}", "caption": "a dog", "sen_id": i} for i in range(3)],
}
_VATEX = {"videoID": f"{VIDEO}_000000_000010", "enCap": ["a dog"], "chCap": ["x"]}
_MVBENCH = {"video": f"{VIDEO}.mp4", "question": "q", "candidates": ["a", "b"], "answer": "b", "start": 0, "end": 2}
_TURNS = [{"from": "human", "value": "<video>\nwhat?"}, {"from": "gpt", "value": "a dog"}]
_DIALOGUE = {"id": 1, "video": f"{VIDEO}.mp4", "conversations": _TURNS}
_LVU = dict.fromkeys(
    ("relationship", "way_speaking", "scene", "director", "writer", "year", "genre"),
    {"class_id": 0, "class_name": "friend"},
)
_LVU |= {"like_ratio": {"like_count": 3, "dislike_count": 1}, "view_count": {"view_count": 9}}
_CSV_TEST = {"video": VIDEO, "frame_count": 9, "width": 4, "height": 4}


def table(*rows: dict[str, Any], delimiter: str = ",") -> str:
    """csv text with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def lines(*rows: dict[str, Any]) -> str:
    """JSON Lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def _open(split: str) -> dict[str, Any]:
    return {
        f"{split}_q.json": [{k: _OPEN[k] for k in ("question", "question_id", "video_name")}],
        f"{split}_a.json": [{k: _OPEN[k] for k in ("answer", "question_id", "type")}],
    }


def official_files() -> dict[str, dict[str, Any]]:
    """folder below the data root -> file -> content, JSON values or text."""
    splits = ("train", "val", "test")
    nextqa = table(_CSV_TEST | {"question": "why", "answer": 1, "qid": 0, "type": "CW"} | _FIVE)
    opened = table(_CSV_TEST | {"question": "why", "answer": "so", "qid": 0, "type": "CW"})
    how2qa = table({"qid": 1, "video_id": VIDEO, "start": 0, "end": 3, "question": "q", **_FOUR, "answer_id": 0})
    ego = table({"uid": VIDEO, "question": "q", **_FIVE, "answer": 1})
    perception = table({"uid": VIDEO, "question": "q", "a0": "x", "a1": "y", "a2": "z", "answer": 1})
    count = table({"gif_name": VIDEO, "question": "q", "answer": 3, "vid_id": "C1", "key": 1}, delimiter="\t")
    frame = table(
        {"gif_name": VIDEO, "question": "q", "answer": "x", "type": 0, "vid_id": "F1", "key": 1}, delimiter="\t"
    )
    return {
        "nextqa": {f"{s}.csv": nextqa for s in splits},
        "nextqa_oe": {f"{s}.csv": opened for s in splits},
        "star": {f"STAR_{s}.json": [_STAR] for s in splits},
        "how2qa": {"train.csv": how2qa, "public_val.csv": how2qa, "val.csv": how2qa},
        "vlep": {f"vlep_{s}_release.jsonl": lines(_VLEP) for s in ("train", "dev", "test")}
        | {"vlep_subtitles.jsonl": lines({"vid_name": f"{VIDEO}_ep", "sub": []})},
        "tvqa": {f"tvqa_{s}.jsonl": lines(_TVQA) for s in splits}
        | {"tvqa_preprocessed_subtitles.jsonl": lines({"vid_name": VIDEO, "sub": []})},
        "dramaqa": {f"AnotherMissOhQA_{s}_set.json": [_DRAMA] for s in splits},
        "qvhighlights": {f"highlight_{s}_release.jsonl": lines(_HIGHLIGHT) for s in splits},
        "egoschema": {"questions.json": [_EGO], "subset_answers.json": {VIDEO: 1}, "val.csv": ego, "test.csv": ego},
        "clips": {
            "clips/val.csv": nextqa,
            "clips/captions.json": [{"video_id": VIDEO, "file": f"{VIDEO}.mp4", "captions": ["a dog"]}],
            "clips/paragraphs.jsonl": lines({"clip_id": VIDEO, "file": f"{VIDEO}.mp4", "text": list("abcd")}),
            "clips/open_qa.json": [_OPEN | {"file": f"{VIDEO}.mp4"}],
        },
        "msrvtt": {"videodatainfo_2017.json": _MSRVTT},
        "vatex": {f"vatex_{s}_v1.0.json": [_VATEX] for s in ("training", "validation", "public_test_english")},
        "MVBench": {"json/action_sequence.json": [_MVBENCH]},
        "video_panda/train": {f"train_json/{n}_.json": [_DIALOGUE] for n in ("valley", "videochatgpt_tune")},
        "conversations": {"train.json": [_DIALOGUE]},
        "perception": {f"{s}.csv": perception for s in splits},
        "textvid": {"textvid.json": [_TEXTVID]},
        "webvid": {"train.json": [{"feature_idx": 3, "caption": "a dog"}]},
        "msrvtt_qa": _open("train") | _open("test"),
        "msvd_qa": _open("train") | _open("test"),
        "activitynet_qa": _open("train") | _open("val") | _open("test"),
        "tgif_qa": {
            f"{s}_{kind}_question.csv": text
            for s in ("Train", "Test")
            for kind, text in (("count", count), ("frameqa", frame))
        },
        "video_chatgpt": {
            "generic_qa.json": [{"video_name": VIDEO, "Q": "q", "A": "a"}],
            "temporal_qa.json": [{"video_name": VIDEO, "Q": "q", "A": "a"}],
            "consistency_qa.json": [{"video_name": VIDEO, "Q1": "q", "Q2": "r", "A": "a"}],
        },
        "activitynet_captions": {f"{s}.json": _CAPTIONS for s in ("train", "val_1", "val_2")},
        "didemo": {f"{s}_data.json": [_DIDEMO] for s in splits},
        "condensed_movies": {
            "descriptions.csv": table(*({"imdbid": s, "videoid": s, "description": "d"} for s in splits)),
            "split.csv": table(*({"imdbid": s, "split": s} for s in splits)),
        },
        "queryd": {f"{s}.json": {VIDEO: [{"text": "t", "start": 0, "end": 1}]} for s in splits},
        "violin": {"violin_annotation.json": {s: _VIOLIN | {"split": s} for s in ("train", "validate", "test")}},
        "coin": {"COIN.json": {"database": {s: _COIN | {"subset": s} for s in ("training", "testing")}}},
        "lvu": {
            f"{task}/{s}.csv": table({**label, "youtube_id": VIDEO, "imdb_id": "tt1"}, delimiter=" ")
            for task, label in _LVU.items()
            for s in splits
        },
        "lfvila8m": {
            f"{s}.jsonl": lines([{"clip_id": f"{VIDEO}.{k}.mp4", "text": "t"} for k in range(4)])
            for s in ("train", "val")
        },
        "own_data": {f"{s}.jsonl": lines({"video": VIDEO, "question": "q", "options": ["x", "y"]}) for s in splits},
    }


def make_data_root(root: Path, *, feature_dim: int = 768) -> Path:
    """Write everything below `root`, one folder per benchmark, each with the feature files that configs name."""
    import numpy as np
    import torch

    features = {name: torch.ones(4, feature_dim) for name in (VIDEO, f"{VIDEO}_ep", f"v_{VIDEO}")}
    for name, files in official_files().items():
        folder = root / name
        for file, content in files.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        for file in ("clipvitl14.pth", "clipvitl14_split.pth", "features.pkl"):
            torch.save(features, folder / file)
        (folder / "videos").mkdir(exist_ok=True)
        (folder / "features").mkdir(exist_ok=True)
        for video in (VIDEO, "7"):
            np.save(folder / "features" / f"{video}.npy", np.ones((4, feature_dim), np.float32))
    (root / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]))
    (root / "activitynet_qa/answers_1654.txt").write_text("\n".join(map(str, range(1654))))
    (root / "egos").symlink_to(root / "egoschema")  # the folder name of TOPA's repository
    return root
