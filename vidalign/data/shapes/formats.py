"""The drawn questions in other benchmarks' official files, so that their builders can be run on them.

Every writer takes clips and a folder and writes `<split>` there; video paths are relative to the folder of the mp4s.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from vidalign.common.io import atomic_write, write_json
from vidalign.common.sample import write_samples
from vidalign.data.shapes.paragraphs import paragraph_pair
from vidalign.data.shapes.samples import TASKS, moments, multiple_choice, paragraphs
from vidalign.data.shapes.world import FPS, NUM_FRAMES, SIZE_PX, Clip

NEXTQA_COLUMNS = ("video", "frame_count", "width", "height", "question", "answer", "qid", "type")
_STAR_CATEGORY = {"DO": "Prediction", "TN": "Sequence", "TP": "Sequence", "CW": "Interaction", "CH": "Interaction"}
_SECONDS = NUM_FRAMES / FPS
_CLIP_SECONDS = 0.3  # QVHighlights cuts in clips of 2 s of 150 s; here one slot


def write_all(clips: Sequence[Clip], split: str, folder: Path, *, seed: int) -> None:
    """Everything below into sub-folders: unified, nextqa, star, qvhighlights, lf_vila."""
    for task in TASKS:
        write_unified(clips, split, folder / "unified", task=task)
    write_nextqa(clips, split, folder / "nextqa")
    write_star(clips, split, folder / "star")
    write_qvhighlights(clips, split, folder / "qvhighlights")
    write_lf_vila(split, folder / "lf_vila", seed=seed, num_pairs=pairs_beside(clips))


def pairs_beside(clips: Sequence[Clip]) -> int:
    """How many pairs of paragraphs are written beside so many clips."""
    return max(len(clips) // 8, 1)


def write_unified(clips: Iterable[Clip], split: str, folder: Path, *, task: str) -> None:
    """`<split>_<task>.jsonl`: one Sample per line. `task` is a key of samples.TASKS."""
    samples = [sample for clip in clips for sample in TASKS[task](clip, split)]
    write_samples(folder / f"{split}_{task}.jsonl", samples)


def write_nextqa(clips: Sequence[Clip], split: str, folder: Path) -> None:
    """`<split>.csv` and `map_vid_vidorID.json`. There are four options: the column a4 stays empty."""
    with atomic_write(folder / f"{split}.csv") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow([*NEXTQA_COLUMNS, *(f"a{i}" for i in range(5))])
        for clip in clips:
            for n, sample in enumerate(multiple_choice(clip, split)):
                size = (NUM_FRAMES, SIZE_PX, SIZE_PX)
                given = (clip.clip_id, *size, sample.question, sample.answer_idx, n, sample.qtype, *sample.options)
                rows.writerow([*given, *[""] * (5 - len(sample.options))])
    path = folder / "map_vid_vidorID.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    write_json(path, known | {clip.clip_id: clip.clip_id for clip in clips})


def write_star(clips: Sequence[Clip], split: str, folder: Path) -> None:
    """`STAR_<split>.json`; the types are put into STAR's four categories."""
    rows = []
    for clip in clips:
        for sample in multiple_choice(clip, split):
            category = _STAR_CATEGORY.get(sample.qtype, "Feasibility")
            choices = [{"choice_id": i, "choice": text} for i, text in enumerate(sample.options)]
            rows.append(
                {
                    "question_id": f"{category}_T{sample.qtype}_{len(rows)}",
                    "video_id": clip.clip_id,
                    "start": 0.0,
                    "end": _SECONDS,
                    "question": f"{sample.question.capitalize()}?",
                    "answer": sample.answer,
                    "choices": choices,
                }
            )
    write_json(folder / f"STAR_{split}.json", rows)


def write_qvhighlights(clips: Sequence[Clip], split: str, folder: Path) -> None:
    """`highlight_<split>_release.jsonl`: windows, the short clips in them, three equal ratings of 4 each."""
    with atomic_write(folder / f"highlight_{split}_release.jsonl") as file:
        for clip in clips:
            for sample in moments(clip, split):
                inside = [
                    number
                    for start, end in sample.windows
                    for number in range(round(start / _CLIP_SECONDS), round(end / _CLIP_SECONDS))
                ]
                row = {
                    "qid": clip.clip_id,
                    "query": sample.question,
                    "duration": _SECONDS,
                    "vid": clip.clip_id,
                    "relevant_windows": [list(window) for window in sample.windows],
                    "relevant_clip_ids": inside,
                    "saliency_scores": [[4, 4, 4] for _ in inside],
                }
                file.write(json.dumps(row) + "\n")


def write_lf_vila(split: str, folder: Path, *, seed: int, num_pairs: int) -> None:
    """`<split>.jsonl`: {clip_id, text: list of sentences}, twins one after the other."""
    with atomic_write(folder / f"{split}.jsonl") as file:
        for index in range(num_pairs):
            for sample in paragraphs(paragraph_pair(seed, split, index), split):
                row = {"clip_id": sample.media.video_id, "text": list(sample.texts)}
                file.write(json.dumps(row) + "\n")
