"""The processed annotation rows of SeViLA and ViLA: made from the benchmarks' raw rows, and read into prompts.

A row: {video (name without .mp4), num_option, qid, a0 ..., answer (number), question, start and end where there is a
clip}; QVHighlights: {video, qid, query, duration, relevant_windows}. Specification vila, sections 4.1 and 7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vidalign.models.vila import prompts

Raw = Mapping[str, Any]


def processed_rows(dataset: str, raw: Iterable[Raw], *, folders: Mapping[str, str] | None = None) -> list[dict]:
    """Raw rows of a benchmark -> processed rows. folders: NExT-QA's map from video to `folder/video`. [preprocess]"""
    rows: list[dict] = []
    for number, one in enumerate(raw):
        row = _MAKERS[dataset](one, number, folders or {})
        if row.get("answer", 0) is None:
            # Kept: an answer that is none of STAR's choices takes the number of the row before.
            row["answer"] = rows[-1]["answer"] if rows else None
        rows.append(row)
    return rows


def _options(texts: Sequence[str]) -> dict[str, Any]:
    return {f"a{place}": text for place, text in enumerate(texts)}


def _lettered(raw: Raw) -> list[str]:
    names = [f"a{place}" for place in range(len(prompts.LETTERS))]
    return [raw[name] for name in names if name in raw]


def _nextqa(raw: Raw, number: int, folders: Mapping[str, str]) -> dict:
    video, options = str(raw["video"]), [prompts.ended(str(text)) for text in _lettered(raw)]
    return {
        "video": folders[video] if folders else video,
        "num_option": len(options),
        "qid": f"{raw['type']}_{video}_{raw['qid']}",
        **_options(options),
        "answer": int(raw["answer"]),
        "question": prompts.asked(str(raw["question"])),
    }


def _star(raw: Raw, number: int, folders: Mapping[str, str]) -> dict:
    options = [choice["choice"] for choice in raw["choices"]]
    # Kept: the last choice with the answer's words.
    places = [place for place, text in enumerate(options) if text == raw["answer"]]
    row = {"video": raw["video_id"], "num_option": len(options), "qid": raw["question_id"], **_options(options)}
    row |= {"answer": places[-1] if places else None, "question": raw["question"]}
    return row | {name: raw[name] for name in ("start", "end") if name in raw}


def _by_time(prefix: str) -> Callable[[Raw, int, Mapping[str, str]], dict]:
    def make(raw: Raw, number: int, folders: Mapping[str, str]) -> dict:
        options, times = _lettered(raw), str(raw["ts"]).split("-")
        return {
            "video": raw["vid_name"],
            "num_option": len(options),
            "qid": f"{prefix}_{number}",
            **_options(options),
            "answer": int(raw["answer_idx"]),
            "question": raw["q"],
            "start": times[0],
            "end": times[1],
        }

    return make


def _vlep(raw: Raw, number: int, folders: Mapping[str, str]) -> dict:
    options = list(raw["events"])
    row = {"video": raw["vid_name"], "num_option": len(options), "qid": f"VLEP_{raw['example_id']}"}
    return {**row, **_options(options), "answer": raw["answer"], "start": raw["ts"][0], "end": raw["ts"][1]}


def _qvh(raw: Raw, number: int, folders: Mapping[str, str]) -> dict:
    row = {"video": raw["vid"], "qid": f"QVHighlight_{raw['qid']}", "query": raw["query"], "duration": raw["duration"]}
    return row | {name: raw[name] for name in ("relevant_windows",) if name in raw}


_MAKERS: dict[str, Callable[[Raw, int, Mapping[str, str]], dict]] = {
    "nextqa": _nextqa,
    "star": _star,
    "how2qa": _by_time("HOW2QA"),
    "tvqa": _by_time("TVQA"),
    "vlep": _vlep,
    "qvh": _qvh,
}


@dataclass(frozen=True)
class Item:
    """What the official loader makes of a processed row; duration is 1 where the row has none."""

    qa_input: str
    loc_input: str
    qa_output: str
    question_id: str
    duration: float
    video_path: str
    clip: tuple[float, float] | None


def read_row(
    row: Raw,
    *,
    root: str,
    vlep_root: str | None = None,
    tvqa_root: str | None = None,
    frame_seconds: Sequence[float] = (),
) -> Item:
    """A processed row as texts. frame_seconds: times of the frames shown, for the labels of QVHighlights. [prompts]"""
    qid, clip = str(row["qid"]), None
    if "start" in row:
        clip = (float(row["start"]), float(row["end"]))
    if "query" in row:
        qa, loc = prompts.QA_END, prompts.moment_prompt(row["query"])
        answer = prompts.moment_target(frame_seconds, row.get("relevant_windows", ()))
    else:
        options = [row[f"a{place}"] for place in range(row["num_option"])]
        answer = prompts.target(int(row["answer"]))
        if "VLEP" in qid:
            qa, loc = prompts.vlep_prompt(options), prompts.vlep_loc_prompt(options)
        else:
            qa, loc = prompts.qa_prompt(row["question"], options), prompts.loc_prompt(row["question"], options)
    path = video_path(str(row["video"]), qid, root=root, vlep_root=vlep_root, tvqa_root=tvqa_root)
    return Item(qa, loc, answer, qid, row.get("duration", 1), path, clip)


def video_path(video: str, qid: str, *, root: str, vlep_root: str | None = None, tvqa_root: str | None = None) -> str:
    """`root/video.mp4`; VLEP's YouTube clips have a colon in their name, the others are TVQA's without the last three
    characters (`_ep`)."""
    if "VLEP" in qid:
        if ":" in video:
            return f"{vlep_root or root}/{video}.mp4"
        return f"{tvqa_root or root}/{video[:-3]}.mp4"
    return f"{root}/{video}.mp4"


def frame_seconds(indices: Sequence[int], fps: float) -> list[float]:
    """Times of frames."""
    return [index / fps for index in indices]
