"""A Sample as TOPA's official loaders present it: their field names, padded to max_seq_len (specification topa, 4).

For comparing with the official code and for analysis; training and evaluation read the processor's collate.
Legend: O options (rows per sample), S max_seq_len, F frames, E width of a feature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from vidalign.common.sample import Sample, native_id
from vidalign.models.topa.processor import PromptProcessor
from vidalign.models.topa.prompts import open_answer, spoken_answer, summary_text
from vidalign.models.topa.questions import Draws, answers_openly
from vidalign.text.pack import Row, stack
from vidalign.text.row_fields import stream_mask

STREAMS = ("vqa", "vaq", "qav")
# Kept: How2QA has four options and five rows; the fifth letter stands for nothing. [dataset_how2qa_val]
_ROWS = {"how2qa": 5}
_OPEN_EVALUATION = ("nextqa", "star", "egoschema")
_NAMED_BY_UID = ("how2qa", "perception", "egoschema")
# Question types of benchmarks that have none.
_NO_TYPE = {"dramaqa": -1, "vlep": -1, "tvqa": -1}


@dataclass(frozen=True, kw_only=True)
class Slots:
    """What stands in the official `vaq` slot instead of the question from the answer: a summary and, where there is an
    open-ended answer, that (training on TextVID); or every option as an answer (evaluation)."""

    summary: bool = False
    open_answer: bool = False
    every_option: bool = False


def official_item(
    processor: PromptProcessor,
    sample: Sample,
    *,
    slots: Slots,
    draws: Draws | None = None,
    type_numbers: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Everything the official `__getitem__` returns except the video.

    Per stream vqa, vaq, qav: text_id, label, label_mask (O, S); video_index (F,); video_start. Besides: vid, qid,
    answer, qtype, text.
    """
    sample = _asked(processor, sample, draws)
    rows, text = _rows_and_text(processor, sample, slots, draws)
    maker, length = processor.sample_rows, processor.sample_rows.max_seq_len
    first = {stream: made[0] for stream, made in rows.items()}
    vid, qid = _names(sample)
    return {
        "vid": vid,
        "qid": qid,
        "answer": _answer(sample),
        "qtype": (type_numbers or {}).get(sample.qtype, _NO_TYPE.get(sample.dataset, 1)),
        "text": text,
        "text_id": {stream: stack(made, length) for stream, made in rows.items()},
        "label": {stream: maker.labels(stream, made, length) for stream, made in rows.items()},
        "label_mask": {stream: stream_mask(stream, made, length) for stream, made in rows.items()},
        "video_start": {stream: row.video_start for stream, row in first.items()},
        "video_index": {stream: row.supervised + torch.arange(maker.num_frames) for stream, row in first.items()},
    }


def _asked(processor: PromptProcessor, sample: Sample, draws: Draws | None) -> Sample:
    """The Sample with a question; WebVid's is a filler that nothing is trained on."""
    if sample.dataset == "webvid":
        return replace(sample, question="What does this video show?", options=("1",) * 5, answer_idx=0)
    return processor.posed(sample, draws=draws)


def _rows_and_text(
    processor: PromptProcessor, sample: Sample, slots: Slots, draws: Draws | None
) -> tuple[dict[str, Sequence[Row]], dict[str, Any]]:
    count = max(len(sample.options), _ROWS.get(sample.dataset, 0))
    options = [_answer(sample)] if processor.train else list(range(count))
    rows = {stream: processor.sample_rows.rows(stream, sample, options) for stream in STREAMS}
    text = _texts(processor, sample)
    if slots.summary or sample.dataset == "webvid":
        rows["vaq"] = [processor.caption_row(sample, openly=False)]
    if slots.open_answer and draws is not None and draws.uniform > 0.5 and answers_openly(sample):
        rows["vaq"] = [processor.caption_row(sample, openly=True)]
        text["oa_text"] = spoken_answer(sample.answers[0])
    if slots.every_option and sample.dataset in _OPEN_EVALUATION:
        rows["vaq"], text["oa_text"] = processor.open_rows(sample), "_"
    return rows, text


def _texts(processor: PromptProcessor, sample: Sample) -> dict[str, Any]:
    """The text blocks under the official names."""
    texts = processor.sample_rows.texts(sample)
    text: dict[str, Any] = {"q_text": texts.question, "o_text": texts.options, "a_text": texts.answer}
    if texts.dialogue is not None:
        return text | {"d_text": texts.dialogue}
    text["options"] = list(sample.options)
    if sample.dataset in _OPEN_EVALUATION:
        text["open_options"] = [open_answer(option, dataset=sample.dataset) for option in sample.options]
    if sample.texts:
        text["c_text"] = summary_text(sample.texts[0], dataset=sample.dataset)
    return text


def _answer(sample: Sample) -> int:
    """The answer's index; EgoSchema's full set has a filler in its place."""
    return sample.meta["filler_answer"] if sample.answer_idx is None else sample.answer_idx


def _names(sample: Sample) -> tuple[str, str]:
    """`vid` and `qid`: native ids in NExT-QA and in the sets that are named by question, row numbers elsewhere."""
    native = native_id(sample.uid)
    if sample.dataset in _NAMED_BY_UID:
        return native, native
    if sample.dataset == "nextqa":
        return sample.media.video_id, native.removeprefix(f"{sample.media.video_id}_")
    return sample.media.video_id, str(sample.meta["row"])
