"""A Sample's token rows, made to fit, and their tensors.

Legend: B batch, O options (rows per sample), S longest row of the batch, F frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from vidalign.common.errors import DataError, MediaError
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.text.pack import Row, frame_labels, pad_stack, shorten, stack, text_labels
from vidalign.text.prompt_rows import PromptForm, RowMaker
from vidalign.text.prompt_texts import LETTERS, Texts, texts_of
from vidalign.text.tokenizers import Tokenizer


class SampleRows:
    """Sample -> rows of one benchmark's prompts. Pickles to loader workers.

    A row that does not fit max_seq_len (after its dialogue was shortened) is, with overflow "error", a DataError naming
    the sample in training and a MediaError at evaluation, so that the sample counts as failed; "official" cuts the
    row's end, answer included; with "skip" it is a MediaError in training too, except that captions are cut.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        form: PromptForm,
        info: DatasetInfo,
        num_frames: int,
        max_seq_len: int,
        train: bool,
        overflow: str = "error",
        official_positions: bool = False,
    ) -> None:
        assert overflow in ("error", "official", "skip"), f"overflow {overflow!r}"
        self.form, self.info, self.train, self.overflow = form, info, train, overflow
        self.num_frames, self.max_seq_len = num_frames, max_seq_len
        self.maker = RowMaker(
            tokenizer,
            form=form,
            num_frames=num_frames,
            dialogue_form=info.dialogue is not None,
            official_positions=official_positions,
        )

    def texts(self, sample: Sample) -> Texts:
        """The text blocks of a Sample."""
        return texts_of(
            sample,
            dialogue_rule=self.info.dialogue,
            answer_stem=self.form.answer_stem,
            endings=self.form.endings,
        )

    def rows(self, stream: str, sample: Sample, options: list[int]) -> list[Row]:
        """A stream's rows with the given options as the answer, cut to max_seq_len where the dialogue allows it."""
        return [self.fit(row, stream, sample) for row in self.maker.rows(stream, self.texts(sample), options)]

    def check(self, sample: Sample, *, needs_answer: bool) -> None:
        """DataError when the Sample is no question that these prompts can hold."""
        if len(sample.options) < 2 or len(sample.options) > len(LETTERS):
            raise DataError(f"{sample.uid}: {len(sample.options)} options; this model chooses between 2 to 26")
        if sample.answer_idx is None and needs_answer:
            raise DataError(f"{sample.uid}: the answer is hidden in this split; train on one with answers")

    def labels(self, stream: str, rows: Sequence[Row], length: int) -> Tensor:
        """Labels (O, S) of one sample's rows."""
        if stream == "qav":
            return frame_labels(rows, length, self.num_frames)
        return text_labels(rows, length)[0]

    def batch(self, stream: str, rows: list[list[Row]], *, pad_to_max: bool = False) -> dict[str, Tensor]:
        """Rows of several samples -> ids, labels, mask (not qav) (B, O, S), lengths (B, O), video_start (B,)."""
        lengths = [[min(len(row), self.max_seq_len) for row in sample] for sample in rows]
        width = max(map(len, rows))
        longest = self.max_seq_len if pad_to_max else max(max(sample) for sample in lengths)
        fill = -1 if stream == "qav" else 0
        labels = [self.labels(stream, sample, longest) for sample in rows]
        masks = {}
        if stream != "qav":
            masks["mask"] = pad_stack([text_labels(sample, longest)[1] for sample in rows], rows=width, length=longest)
        return {
            "ids": pad_stack([stack(sample, longest) for sample in rows], rows=width, length=longest),
            "labels": pad_stack(labels, rows=width, length=longest, fill=fill),
            **masks,
            "lengths": torch.tensor([row + [0] * (width - len(row)) for row in lengths]),
            "video_start": torch.tensor([sample[0].video_start for sample in rows]),
        }

    def fit(self, row: Row, stream: str, sample: Sample) -> Row:
        """The row, its dialogue shortened where needed; see the class for a row that cannot fit."""
        excess = len(row) - self.max_seq_len
        if excess <= 0:
            return row
        if self.info.dialogue is not None and sample.subtitles is not None:
            keep = row.cut_end - row.cut_start - excess
            # Kept: "official" goes on cutting into the video placeholders when the dialogue is used up.
            if keep >= 0 or (self.overflow == "official" and row.cut_start + keep >= 0):
                return self._shortened(row, stream, keep)
        elif self._may_be_cut(row, stream, excess):
            return row
        raise self._too_long(row, stream, sample)

    def _may_be_cut(self, row: Row, stream: str, excess: int) -> bool:
        if self.overflow == "official":
            # The official qav labels need room for every frame; only what follows them can be cut.
            return stream != "qav" or row.video_start + self.num_frames <= self.max_seq_len
        # Kept: TOPA's loader leaves a sample out by the length of its qav prompt less the last two tokens, whatever is
        # trained, and cuts captions. Changed: it also cuts up to three tokens of a multiple-choice row, the answer.
        return self.overflow == "skip" and (stream == "caption" or (stream == "qav" and excess <= 2))

    def _shortened(self, row: Row, stream: str, keep: int) -> Row:
        cut = shorten(row, keep)
        if not self.maker.official_positions:
            return cut
        # Kept: question_start is not moved, the vaq prefix is the first `Question` (cases data_*_sub_overflow).
        if stream == "vaq":
            cut = replace(cut, supervised=self.maker.first(cut.ids, "Question", initial=False) + 2)
        elif stream == "vqa":
            cut = replace(cut, supervised=self.max_seq_len - 4, question_start=row.question_start)
        return cut

    def _too_long(self, row: Row, stream: str, sample: Sample) -> Exception:
        text = (
            f"the {stream} prompt has {len(row)} tokens, more than max_seq_len {self.max_seq_len}; raise "
            "model.max_seq_len, or set model.overflow to official to cut it"
        )
        return DataError(f"{sample.uid}: {text}") if self.train and self.overflow != "skip" else MediaError(text)
