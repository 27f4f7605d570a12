"""A Sample as the official loaders present it: their field names, padded to max_seq_len (specification bovila, 4.4).

For comparing with the official code and for analysis; training and evaluation read the processors' collate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from vidalign.common.sample import Sample
from vidalign.text.pack import Row, stack, text_labels
from vidalign.text.sample_rows import SampleRows


def row_fields(
    maker: SampleRows,
    sample: Sample,
    rows: Mapping[str, Sequence[Row]],
    *,
    type_numbers: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Everything the official `__getitem__` returns except the video; `rows` are the sample's, per stream.

    Per stream: text_id, label, label_mask (O, S); video_index (F,); video_start, prefix_index, answer_index. For vqa:
    question_start, qlen. Besides: vid, qid (row number), answer, qtype (number by the builder's `type_numbers`), text.
    """
    texts = maker.texts(sample)
    true = {stream: _true_row(made, sample) for stream, made in rows.items()}
    text = {"q_text": texts.question, "o_text": texts.options, "a_text": texts.answer}
    if texts.dialogue is not None:
        text["d_text"] = texts.dialogue
    length = maker.max_seq_len
    uncut = {stream: maker.maker.rows(stream, texts, [sample.answer_idx])[0] for stream in rows if stream != "qav"}
    frames = torch.arange(maker.num_frames)
    return {
        "vid": sample.media.video_id,
        "qid": sample.meta["row"],
        "answer": sample.answer_idx,
        "qtype": (type_numbers or {}).get(sample.qtype, -1),
        "text": text,
        "text_id": {stream: stack(made, length) for stream, made in rows.items()},
        "label": {stream: maker.labels(stream, made, length) for stream, made in rows.items()},
        "label_mask": {stream: stream_mask(stream, made, length) for stream, made in rows.items()},
        "video_start": {stream: row.video_start for stream, row in true.items()},
        "prefix_index": {stream: row.supervised for stream, row in true.items()},
        "video_index": {stream: row.supervised + frames for stream, row in true.items()},
        # Kept: the letter is looked for before the dialogue is cut (case data_vlep_sub_overflow).
        "answer_index": {s: maker.maker.answer_index(row, sample.answer_idx) for s, row in uncut.items()},
        "question_start": {"vqa": rows["vqa"][0].question_start},
        "qlen": {"vqa": maker.maker.question_length(texts)},
    }


def stack_fields(fields: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The official collate: tensors and numbers stacked over the batch; texts and positions stay lists."""
    listed = ("vid", "text", "qid", "video_start", "prefix_index", "answer_index", "question_start", "qlen")
    batch: dict[str, Any] = {}
    for name, value in fields[0].items():
        values = [field[name] for field in fields]
        if name in listed:
            batch[name] = values
        elif isinstance(value, Mapping):
            batch[name] = {stream: torch.stack([v[stream] for v in values]) for stream in value}
        else:
            batch[name] = torch.stack([torch.as_tensor(v) for v in values])
    return batch


def _true_row(rows: Sequence[Row], sample: Sample) -> Row:
    return rows[sample.answer_idx] if len(rows) == len(sample.options) else rows[0]


def stream_mask(stream: str, rows: Sequence[Row], length: int) -> torch.Tensor:
    """The official label mask (O, S) of a stream's rows."""
    if stream != "qav":
        return text_labels(rows, length)[1]
    # Kept: the official mask marks only the first placeholder; nothing reads it (all flipped_data_* cases).
    mask = torch.zeros(len(rows), length)
    for index, row in enumerate(rows):
        mask[index, row.video_start] = 1
    return mask
