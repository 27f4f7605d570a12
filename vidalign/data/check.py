"""What is odd about the rows of a benchmark: nothing here stops a run, everything is counted and named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vidalign.common.sample import Sample


def findings(samples: Sequence[Sample], *, media_root: Path | None = None) -> dict[str, list[str]]:
    """kind of oddity -> uids, only kinds that occur. media_root: look for the video files as well."""
    found: dict[str, list[str]] = {}
    for sample in samples:
        for what in _odd(sample):
            found.setdefault(what, []).append(sample.uid)
    if media_root is not None:
        from vidalign.media.load import resolve_video

        missing = [s.uid for s in samples if s.media and not resolve_video(media_root, s.media).exists()]
        if missing:
            found[f"videos not in {media_root}"] = missing
    return found


def _odd(sample: Sample) -> list[str]:
    odd = []
    if len(set(sample.options)) < len(sample.options):
        odd.append("with equal options")
    labelled = sample.task in ("classification", "regression", "entailment")
    if (sample.options and sample.answer_idx is None) or (labelled and sample.label is None):
        odd.append("without a label")
    duration = sample.media.duration_seconds if sample.media else None
    spans = [span for span in (sample.span, *sample.windows, *sample.text_spans) if span is not None]
    if duration is not None and any(end > duration for _, end in spans):
        odd.append("with a segment beyond the end of the video")
    if any(end < start for start, end in spans):
        odd.append("with a segment that ends before it starts")
    if sample.task in ("mc_qa", "open_qa") and sample.question is not None and not sample.question.strip():
        odd.append("without a question")
    if any(not option.strip() for option in sample.options):
        odd.append("with an empty option")
    return odd
