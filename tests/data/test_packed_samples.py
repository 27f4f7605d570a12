"""Packed samples are the samples."""

import pytest

from vidalign.common.sample import Media, Sample, Subtitle
from vidalign.data import packed as module
from vidalign.data.dataset import SampleDataset
from vidalign.data.packed import PackedSamples, packed


def sample(number: int) -> Sample:
    return Sample(
        uid=f"d/s/{number}",
        dataset="d",
        split="s",
        task="mc_qa",
        media=Media(kind="video", video_id=str(number)),
        options=("a", "b" * number),
        answer_idx=1,
        subtitles=(Subtitle(start=0.0, end=1.0, text="x"),),
        meta={"row": number, "times": [[1, 2]]},
    )


def test_a_sequence_like_any_other(monkeypatch):
    samples = [sample(number) for number in range(7)]
    kept = PackedSamples(samples)
    assert list(kept) == samples and len(kept) == 7 and kept[-1] == samples[-1] and kept[2:5] == samples[2:5]
    assert repr(kept[3]) == repr(samples[3]), "evaluation keys are made of it"
    with pytest.raises(IndexError):
        kept[7]
    assert packed(samples) is samples
    monkeypatch.setattr(module, "FEW", 5)
    dataset = SampleDataset(samples, processor=None, media_loader=None)
    assert isinstance(dataset.samples, PackedSamples) and len(dataset) == 7 and packed(kept) is kept
