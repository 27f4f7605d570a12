"""LetterProcessor: (Sample, frames) -> token ids of Q-Former and T5, and the collate (specification vila, section 4).

Legend: B batch, T frames, L longest text of the batch, S segments, K frames of a segment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidalign.common.errors import DataError
from vidalign.common.rng import draw_seed
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.media.spec import MediaSpec
from vidalign.models.vila import prompts
from vidalign.models.vila.sizes import SIZES
from vidalign.text.fast_tokenizers import FastTokenizer, find_tokenizer, tiny_text_tokenizer

MAX_TARGET_TOKENS = 256
# Official preprocessing ends these questions with "?" and their options with "." (specification vila, section 7).
_PUNCTUATED = ("nextqa", "clips")
_TINY_TEXTS = [
    *[f"Option {letter}" for letter in prompts.LETTERS for _ in range(40)],
    *["yes", "no", "Frame 1: ", "Frame: "] * 40,
    prompts.qa_prompt("what is it?", ["this", "that"]),
    prompts.LOC_END,
]


def frames_spec(config: Any) -> MediaSpec:
    """Frames as LAVIS takes them: one per interval, resized by the decoder; random frames and boxes in training."""
    side = SIZES[config.size].image_px
    return MediaSpec(
        kind="frames",
        num_frames=config.num_frames,
        index_rule="intervals",
        train_index_rule="random_intervals",
        transform="as_decoded",
        train_transform="official_random_crop" if config.byte_overflow == "wrap" else "random_crop",
        image_px=side,
        square_px=side,
        repeat_last=True,
    )


def sample_texts(sample: Sample) -> tuple[str, list[str]]:
    """(question, options) as the prompts have them."""
    question, options = sample.question or "", list(sample.options)
    if sample.dataset in _PUNCTUATED:
        return prompts.asked(question), [prompts.ended(text) for text in options]
    return question, options


def sample_prompt(sample: Sample) -> str:
    """The prompt of the answerer and of the Q-Former."""
    question, options = sample_texts(sample)
    if sample.dataset == "vlep":
        return prompts.vlep_prompt(options)
    return prompts.qa_prompt(question, options)


def localizer_prompt(sample: Sample) -> str:
    """The prompt of SeViLA's localizer."""
    question, options = sample_texts(sample)
    if sample.task == "moment":
        return prompts.moment_prompt(question or (sample.texts[0] if sample.texts else ""))
    if sample.dataset == "vlep":
        return prompts.vlep_loc_prompt(options)
    return prompts.loc_prompt(question, options)


class LetterProcessor:
    """Sample + frames (T, 3, px, px) uint8 -> item; items -> batch. Pickles to loader workers.

    gate: (S, K) of the Frame-Prompter's noise; None: no noise is drawn.
    """

    def __init__(
        self,
        *,
        t5: FastTokenizer,
        bert: FastTokenizer | None,
        train: bool,
        seed: int,
        max_txt_len: int,
        gate: tuple[int, int] | None = None,
        clean_text: bool = False,
    ) -> None:
        self.clean_text = clean_text
        self.t5, self.bert, self.train, self.seed = t5, bert, train, seed
        self.max_txt_len, self.gate = max_txt_len, gate
        self.letter_ids = [t5.one_id(letter) for letter in prompts.LETTERS]

    def __call__(self, sample: Sample, media: Tensor | None, *, epoch: int = 0) -> dict[str, Any]:
        """One item for `collate`. DataError: more than five options, or no answer in training."""
        check_options(sample, needs_answer=self.train)
        assert media is not None, f"{sample.uid}: frames expected"
        text = prompts.cleaned(sample_prompt(sample)) if self.clean_text else sample_prompt(sample)
        item = {
            "uid": sample.uid,
            seen_name(media): media,
            "answer_idx": -1 if sample.answer_idx is None else sample.answer_idx,
            "num_options": len(sample.options),
            # Kept: cut on the left in training, T5's prompt not at all at evaluation (spec vila, trap 8).
            "prompt": self.t5.encode(text, max_length=self.max_txt_len if self.train else None),
            "target": self.t5.encode(
                prompts.target(max(sample.answer_idx or 0, 0)), max_length=MAX_TARGET_TOKENS, cut="right"
            ),
        }
        if self.bert is not None:
            item["question"] = self.bert.encode(text, max_length=self.max_txt_len)
        if self.gate is not None:
            item["gumbel_uniform"] = self._draw(sample, epoch)
        return item

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """The batch the model reads.

        uid: list[str]; video (B, T, 3, px, px), or features (B, T, N * C) of the store; answer_idx, -1 where hidden,
        and num_options (B,); letter_ids (5,); prompt_ids, prompt_mask, question_ids, question_mask (B, L);
        gumbel_uniform (B, S, K) where noise is drawn; in training target_ids (B, L), -100 on padding, and target_mask.
        """
        batch: dict[str, Any] = {
            "uid": [item["uid"] for item in items],
            **stacked_frames(items),
            "letter_ids": torch.tensor(self.letter_ids),
        }
        for name in ("answer_idx", "num_options"):
            batch[name] = torch.tensor([item[name] for item in items], dtype=torch.int64)
        batch["prompt_ids"], batch["prompt_mask"] = self.t5.pad([item["prompt"] for item in items])
        if self.bert is not None:
            batch["question_ids"], batch["question_mask"] = self.bert.pad([item["question"] for item in items])
        if self.gate is not None:
            batch["gumbel_uniform"] = torch.stack([item["gumbel_uniform"] for item in items])
        if self.train:
            batch["target_ids"], batch["target_mask"] = self.t5.pad([item["target"] for item in items], value=-100)
        return batch

    def _draw(self, sample: Sample, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(draw_seed(self.seed, epoch, sample.uid, "frame choice"))
        return torch.rand(*self.gate, generator=generator)


def seen_name(media: Tensor) -> str:
    """`video` for frames (T, 3, px, px), `features` for rows of the store."""
    return "video" if media.ndim == 4 else "features"


def stacked_frames(items: list[dict[str, Any]]) -> dict[str, Tensor]:
    """{"video": (B, T, 3, px, px)}, or {"features": (B, T, N * C)} from the store."""
    name = "video" if "video" in items[0] else "features"
    return {name: torch.stack([item[name] for item in items])}


def check_options(sample: Sample, *, needs_answer: bool) -> None:
    """DataError for what a lettered answer cannot express."""
    if not 2 <= len(sample.options) <= len(prompts.LETTERS):
        raise DataError(
            f"{sample.uid}: {len(sample.options)} options; this model answers with one of the letters A to E"
        )
    if needs_answer and sample.answer_idx is None:
        raise DataError(f"{sample.uid}: the answer is hidden; training needs it, choose another split")


def open_tokenizers(config: Any, cache_dir: Path | None, *, bert: bool) -> tuple[FastTokenizer, FastTokenizer | None]:
    """T5's and BERT's tokenizers: real ones for real sizes and where they are named, else trained into the cache."""
    weights, cache = config.weights, cache_dir or Path("cache")
    own = config.size in ("tiny", "mid")
    if own and weights.t5_tokenizer is None and weights.t5 is None:
        t5 = tiny_text_tokenizer(cache, kind="t5", extra=_TINY_TEXTS)
    else:
        t5 = find_tokenizer(weights.t5_tokenizer, weights.t5, weights.folder, kind="t5")
    if not bert:
        return t5, None
    if own and weights.bert_tokenizer is None:
        return t5, tiny_text_tokenizer(cache, kind="bert", extra=_TINY_TEXTS)
    folder = None if weights.folder is None else Path(weights.folder) / "qformer_tokenizer"
    return t5, find_tokenizer(weights.bert_tokenizer, folder, kind="bert")


def letter_processor(
    config: Any, info: DatasetInfo, *, train: bool, seed: int, cache_dir: Path | None
) -> LetterProcessor:
    """The processor of ViLA and its variants."""
    text = SIZES[config.size].qformer_vocab is not None
    t5, bert = open_tokenizers(config, cache_dir, bert=text)
    kept = getattr(config, "frames_kept", None)
    noisy = kept is not None and (train or config.selector.at_evaluation == "sample")
    gate = (kept, config.num_frames // kept) if noisy else None
    return LetterProcessor(
        t5=t5,
        bert=bert,
        train=train,
        seed=seed,
        max_txt_len=config.max_txt_len,
        gate=gate,
        clean_text=config.clean_text,
    )
