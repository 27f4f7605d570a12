"""Official prediction files of benchmarks -> Records, and the numbers of their official evaluators.

`FORMATS` says for each dataset which file its community exchanges and which evaluator scores it.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vidalign.common.errors import DataError
from vidalign.common.io import first_repeated
from vidalign.common.record import Record
from vidalign.common.sample import Sample, native_id
from vidalign.scoring import activitynet_qa, moments, multiple_choice_official, wups
from vidalign.scoring.record_checks import check_records

Natives = Mapping[str, Sample]
Reader = Callable[[Any, Natives], Iterator[tuple[str, Record]]]


@dataclass(frozen=True)
class Format:
    """`read` turns the parsed file into (native id, Record) pairs; `numbers` is the official evaluator."""

    read: Reader | None = None
    numbers: Callable[[Sequence[Record], Sequence[Sample]], dict[str, Any]] | None = None


def read_predictions(path: Path, samples: Sequence[Sample], *, dataset: str) -> tuple[list[Record], str]:
    """The Records of a predictions file and the name of its form: "records" (ours) or "official".

    Raises DataError for a file that is neither, for an unknown id, for an answer that is no option, for a record
    without what its task is scored by, and where the file holds other true answers than the samples.
    """
    content, lines = parse(path)
    if _is_records(content):
        places = [f"{path}:{line}" for line in lines] or [f"{path}, record {n + 1}" for n in range(len(content))]
        records = [_record(place, row) for place, row in zip(places, content, strict=True)]
        check_records(records, places, samples, dataset=dataset)
        return records, "records"
    form = FORMATS.get(dataset, Format())
    if form.read is None:
        raise DataError(f"{path}: not a file of prediction records, and no official format of {dataset} is known")
    natives = {native_id(sample.uid): sample for sample in samples}
    records = []
    try:
        for native, record in form.read(content, natives):
            if record.uid == "?":
                raise DataError(f"{path}: prediction for {native!r}, which is not among the {len(natives)} samples")
            records.append(record)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        wanted = (form.read.__doc__ or "").strip()
        raise DataError(f"{path}: not the official prediction format of {dataset}: {wanted} ({error!r})") from error
    return records, "official"


def parse(path: Path) -> tuple[Any, list[int]]:
    """JSON, JSON Lines (as a list) or csv (as a list of rows), told from the content; of JSON Lines their numbers."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as predictions: {error}") from error
    if path.suffix == ".csv":
        return list(csv.DictReader(text.splitlines())), []
    try:
        content = json.loads(text, object_pairs_hook=partial(_once, path))
        return [content] if isinstance(content, dict) and "uid" in content else content, []  # a file of one record
    except json.JSONDecodeError:
        pass
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    rows = []
    for number, line in lines:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{number}: neither JSON nor a line of JSON: {error}") from error
    if not rows:
        raise DataError(f"{path}: no predictions in it")
    return rows, [number for number, _ in lines]


def _once(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = first_repeated(name for name, _ in pairs)
    if twice is not None:
        raise DataError(f"{path}: two predictions for {twice!r}; keep one of them")
    return dict(pairs)


def _is_records(content: Any) -> bool:
    return isinstance(content, list) and all(isinstance(row, dict) and "uid" in row for row in content)


def _record(place: str, row: Mapping[str, Any]) -> Record:
    try:
        return Record.from_dict(row)
    except ValueError as error:
        raise DataError(f"{place}: {error}") from error


def _made(natives: Natives, native: object, **values: Any) -> tuple[str, Record]:
    sample = natives.get(str(native))
    if sample is None:
        return str(native), Record(uid="?")
    if "pred_idx" in values:
        values["pred_idx"] = _place(sample, values["pred_idx"])
    return str(native), Record(uid=sample.uid, answer_idx=sample.answer_idx, **values)


def _place(sample: Sample, index: Any) -> int:
    """Where the predicted option stands in the sample; a whole number, also one written as text or as 2.0."""
    number = math.nan if isinstance(index, bool) or index is None else float(index)
    if not number.is_integer() or not 0 <= number < len(sample.options):
        raise DataError(f"{sample.uid}: predicted option {index!r}, there are {len(sample.options)}")
    order = sample.meta.get("option_order")  # official files count the options as the annotation file does
    return int(number) if order is None else list(order).index(int(number))


def _nextqa(content: Any, natives: Natives) -> Iterator[tuple[str, Record]]:
    """{"<video>_<qid>": {"prediction": index, "answer": index}}."""
    for native, row in content.items():
        made = _made(natives, native, pred_idx=row["prediction"])
        truth, ours = row.get("answer"), made[1].answer_idx
        if None not in (truth, ours) and float(truth) != ours:
            raise DataError(f"{native}: the file says that {truth} is right, the annotations {ours}; not one release")
        yield made


def _index_by_id(content: Any, natives: Natives) -> Iterator[tuple[str, Record]]:
    """{id: index} (TVQA, EgoSchema), or csv rows q_uid,answer."""
    pairs = content.items() if isinstance(content, dict) else ((row["q_uid"], row["answer"]) for row in content)
    for native, index in pairs:
        yield _made(natives, native, pred_idx=index)


def _vlep(content: Any, natives: Natives) -> Iterator[tuple[str, Record]]:
    """Lines {"example_id", "pred_ans"}; the official evaluator itself asks for the key "pre_ans"."""
    for row in content if isinstance(content, list) else [content]:
        yield _made(natives, row["example_id"], pred_idx=row["pred_ans"] if "pred_ans" in row else row["pre_ans"])


def _star(content: Any, natives: Natives) -> Iterator[tuple[str, Record]]:
    """{category: [{"question_id", "answer": index}]}."""
    for rows in content.values():
        for row in rows:
            yield _made(natives, row["question_id"], pred_idx=row["answer"])


def _qvhighlights(content: Any, natives: Natives) -> Iterator[tuple[str, Record]]:
    """Lines {qid, pred_relevant_windows: [[start, end, score]], pred_saliency_scores: [one per clip]}."""
    for row in content if isinstance(content, list) else [content]:
        windows, saliency = row.get("pred_relevant_windows"), row.get("pred_saliency_scores")
        yield _made(
            natives,
            row["qid"],
            windows=None if windows is None else tuple((float(a), float(b), float(c)) for a, b, c in windows),
            saliency=None if saliency is None else tuple(map(float, saliency)),
        )


def _texts(content: Any, natives: Natives) -> Iterator[tuple[str, Record]]:
    """[{"question_id" (or "id"), "answer" (or "pred")}], ActivityNet-QA's and the judged protocol's form."""
    for row in content:
        native = row["question_id"] if "question_id" in row else row["id"]
        yield _made(natives, native, pred_text=str(row["pred"] if "pred" in row else row["answer"]))


def _texts_by_video(content: Any, natives: Natives) -> Iterator[tuple[str, Record]]:
    """{video: {qid: text}}, NExT-OE's form; {"<video>_<qid>": text} too."""
    for video, answers in content.items():
        rows = {f"{video}_{qid}": text for qid, text in answers.items()} if isinstance(answers, dict) else {}
        for native, text in (rows or {video: answers}).items():
            yield _made(natives, native, pred_text=str(text))


def _captions(content: Any, natives: Natives) -> Iterator[tuple[str, Record]]:
    """[{"image_id" (or "video_id"), "caption"}], the form of the COCO caption toolkit."""
    for row in content:
        yield _made(natives, row["image_id"] if "image_id" in row else row["video_id"], pred_text=str(row["caption"]))


FORMATS: Mapping[str, Format] = {
    "nextqa": Format(_nextqa, multiple_choice_official.nextqa),
    "star": Format(_star, multiple_choice_official.star),
    "vlep": Format(_vlep, multiple_choice_official.accuracy),
    "tvqa": Format(_index_by_id, multiple_choice_official.accuracy),
    "how2qa": Format(_index_by_id, multiple_choice_official.accuracy),
    "dramaqa": Format(_index_by_id, multiple_choice_official.accuracy),
    "egoschema": Format(_index_by_id, multiple_choice_official.accuracy),
    "qvhighlights": Format(_qvhighlights, moments.official_numbers),
    "activitynet_qa": Format(_texts, activitynet_qa.official_numbers),
    "msrvtt_qa": Format(_texts),
    "msvd_qa": Format(_texts),
    "tgif_qa": Format(_texts),
    "nextqa_oe": Format(_texts_by_video, wups.official_numbers),
    "msrvtt": Format(_captions),
    "vatex": Format(_captions),
}
