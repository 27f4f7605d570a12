"""Loader: equal batches at any worker count, failures counted, mistakes and dead workers told plainly."""

from __future__ import annotations

import dataclasses
import os
import pickle
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from vidalign.common.errors import DataError, MediaError, TrainingError
from vidalign.common.rng import draw_seed
from vidalign.common.sample import DatasetInfo, Media, Sample
from vidalign.data.dataset import Failure, SampleDataset, mixed_options
from vidalign.data.loader import make_loader
from vidalign.data.sampler import EvalSampler, TrainSampler
from vidalign.media.load import LoadedMedia
from vidalign.models.bovila.processor import PromptProcessor
from vidalign.text.tokenizers import tiny_tokenizer

INFO = DatasetInfo(name="made", task="mc_qa")


class MadeMedia:
    """Feature rows from the video id; ids that begin with "broken" fail, "kill" ends the process, "bug" is a bug."""

    def load(self, sample: Sample, *, epoch: int = 0) -> LoadedMedia:
        name = sample.media.video_id
        if name.startswith("broken"):
            raise MediaError(f"{name} cannot be decoded")
        if name.startswith("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        if name.startswith("bug"):
            raise ZeroDivisionError("a bug")
        if name.startswith("user"):
            raise DataError("features are 3 wide, expected 4")
        return LoadedMedia(torch.full((2, 4), float(len(name))), "odd" if name == "v1" else None, (), 2)


def made(*videos: str) -> list[Sample]:
    return [
        Sample(
            uid=f"made/train/{i}",
            dataset="made",
            split="train",
            task="mc_qa",
            media=Media(kind="video", video_id=name),
            question=f"what does person {i} do",
            options=("runs away", "sits"),
            answer_idx=i % 2,
        )
        for i, name in enumerate(videos)
    ]


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> PromptProcessor:
    tokenizer = tiny_tokenizer(tmp_path_factory.mktemp("tiny"))
    return PromptProcessor(tokenizer, info=INFO, num_frames=2, max_seq_len=200, streams=("vqa", "vaq"), train=True)


def dataset(processor: PromptProcessor, *videos: str) -> SampleDataset:
    return SampleDataset(made(*videos), processor, MadeMedia())


def same(left: Any, right: Any) -> bool:
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if dataclasses.is_dataclass(left):
        names = [field.name for field in dataclasses.fields(left)]
        return all(same(getattr(left, name), getattr(right, name)) for name in names)
    return torch.equal(left, right) if isinstance(left, torch.Tensor) else left == right


@pytest.mark.parametrize("workers", [1, 2])
def test_equal_batches_at_any_worker_count(workers: int, processor: PromptProcessor) -> None:
    data = dataset(processor, *(f"v{i}" for i in range(9)), "broken")

    def batches(num_workers: int) -> list[dict]:
        sampler = TrainSampler(len(data), batch_size=3, seed=7)
        loader = make_loader(data, sampler, num_workers=num_workers)
        found = list(loader)
        sampler.set_epoch(1)
        found += list(loader)
        loader.close()
        return found

    plain, parallel = batches(0), batches(workers)
    assert len(plain) == 8
    assert all(same(a, b) for a, b in zip(plain, parallel, strict=True))


def test_failures_notes_and_seeds(processor: PromptProcessor) -> None:
    data = dataset(processor, "v0", "broken1", "v1")
    [batch] = make_loader(data, EvalSampler(3, batch_size=3))
    assert batch["uids"] == ["made/train/0", "made/train/1", "made/train/2"]
    assert batch["failures"] == [Failure("made/train/1", "broken1 cannot be decoded")]
    assert batch["notes"] == {"made/train/2": "odd"}
    assert batch["batch"]["uid"] == ["made/train/0", "made/train/2"]
    assert batch["batch"]["noise_seed"].tolist() == [draw_seed(0, 0, uid) for uid in batch["batch"]["uid"]]


def test_a_batch_may_fail_completely(processor: PromptProcessor) -> None:
    data = dataset(processor, "broken1", "broken2")
    [batch] = make_loader(data, EvalSampler(2, batch_size=2))
    assert batch["batch"] is None and len(batch["failures"]) == 2


def test_the_epoch_reaches_the_draws(processor: PromptProcessor) -> None:
    data = dataset(processor, "v0")
    assert data[0, 0].item["noise_seed"] != data[0, 1].item["noise_seed"]


def test_position_is_what_was_taken_not_what_was_prefetched(processor: PromptProcessor) -> None:
    data = dataset(processor, *(f"v{i}" for i in range(12)))
    sampler = TrainSampler(12, batch_size=2, seed=0)
    loader = make_loader(data, sampler, num_workers=2)
    batches = iter(loader)
    taken = [next(batches)["uids"] for _ in range(2)]
    assert sampler.state_dict()["consumed"] == 4
    resumed = TrainSampler(12, batch_size=2, seed=0)
    resumed.load_state_dict(sampler.state_dict())
    rest = [batch["uids"] for batch in make_loader(data, resumed)]
    loader.close()
    whole = [batch["uids"] for batch in make_loader(data, TrainSampler(12, batch_size=2, seed=0))]
    assert taken + rest == whole


@pytest.mark.parametrize("workers", [0, 1])
def test_a_users_mistake_keeps_its_sentence(workers: int, processor: PromptProcessor) -> None:
    loader = make_loader(dataset(processor, "v0", "user"), EvalSampler(2, batch_size=1), num_workers=workers)
    with pytest.raises(DataError) as caught:
        list(loader)
    assert str(caught.value) == "features are 3 wide, expected 4"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bug_names_the_sample(workers: int, processor: PromptProcessor) -> None:
    loader = make_loader(dataset(processor, "bug"), EvalSampler(1, batch_size=1), num_workers=workers)
    with pytest.raises(ZeroDivisionError) as caught:
        list(loader)
    assert "made/train/0" in str(caught.value) + "".join(getattr(caught.value, "__notes__", []))


def test_a_dead_worker_is_a_clear_error(processor: PromptProcessor) -> None:
    loader = make_loader(dataset(processor, "v0", "kill"), EvalSampler(2, batch_size=1), num_workers=1)
    with pytest.raises(TrainingError, match="a loader worker died"):
        list(loader)


def test_the_dataset_pickles_small(processor: PromptProcessor, tmp_path: Path) -> None:
    data = dataset(processor, *(f"v{i}" for i in range(100)))
    again = pickle.loads(pickle.dumps(data))
    assert again.samples == data.samples
    assert same(again[3, 1].item["noise_seed"], data[3, 1].item["noise_seed"])
    assert len(pickle.dumps(data)) < 100_000


def test_too_long_rows_stop_training_and_fail_at_evaluation(processor: PromptProcessor) -> None:
    samples = made("v0")
    short = {"info": INFO, "num_frames": 2, "max_seq_len": 20}
    tokenizer = processor.sample_rows.maker.tokenizer
    training = SampleDataset(samples, PromptProcessor(tokenizer, train=True, **short), MadeMedia())
    with pytest.raises(DataError, match=r"made/train/0: the vqa prompt has \d+ tokens, more than max_seq_len 20"):
        list(make_loader(training, EvalSampler(1, batch_size=1)))
    evaluation = SampleDataset(samples, PromptProcessor(tokenizer, train=False, **short), MadeMedia())
    [batch] = make_loader(evaluation, EvalSampler(1, batch_size=1))
    assert "more than max_seq_len 20" in batch["failures"][0].reason


def test_options_come_in_another_order_at_every_visit():
    [sample] = made("v0")
    sample = replace(sample, options=("runs", "sits", "eats", "sleeps"), answer_idx=2)
    seen = [mixed_options(sample, seed=0, epoch=epoch) for epoch in range(40)]
    assert all(one.options[one.answer_idx] == "eats" and sorted(one.options) == sorted(sample.options) for one in seen)
    assert {one.answer_idx for one in seen} == {0, 1, 2, 3}
    assert mixed_options(sample, seed=0, epoch=3) == seen[3]
    assert mixed_options(replace(sample, answer_idx=None), seed=0, epoch=3).options == seen[3].options
