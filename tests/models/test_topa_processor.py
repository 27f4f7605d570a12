"""TOPA's processor: which rows a sample gets, the draws, the batch; and a run from config to metrics."""

import json
from dataclasses import replace

import pytest
import tiny_nextqa
import torch

from vidalign.common.errors import DataError
from vidalign.common.sample import DatasetInfo, Media, Sample
from vidalign.config.load import load
from vidalign.models.topa.processor import PromptProcessor, Teaching
from vidalign.registry import RUNNERS
from vidalign.text.tokenizers import tiny_tokenizer

INFO = DatasetInfo(name="made", task="mc_qa")
SAMPLE = Sample(
    uid="made/train/0",
    dataset="made",
    split="train",
    task="mc_qa",
    media=Media(kind="features", video_id="v"),
    question="what is red",
    options=("a ball", "a bike"),
    answer_idx=1,
)
CAPTIONED = replace(SAMPLE, texts=("A man rides.",), answers=(" He rides a bike. ",))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny_tokenizer(tmp_path_factory.mktemp("tiny"))


def processor(tokenizer, info=INFO, **settings):
    return PromptProcessor(
        tokenizer, info=info, **{"num_frames": 3, "max_seq_len": 300, "train": True, "seed": 1, **settings}
    )


def said(tokenizer, row):
    return tokenizer.decode([i for i in row.ids[row.supervised : -1] if i >= 0]).strip()


def test_training_rows(tokenizer):
    assert list(processor(tokenizer).rows(SAMPLE)) == ["vqa"]
    both = processor(tokenizer, teaching=Teaching(caption_share=0.5))
    found = {said(tokenizer, both.rows(CAPTIONED, epoch=epoch)["caption"][0]) for epoch in range(20)}
    assert found == {": A man rides.", ": He rides a bike."}, "summary and open-ended answer take turns"
    summed_up = replace(CAPTIONED, options=("a ball", "both of them"))
    found = {said(tokenizer, both.rows(summed_up, epoch=epoch)["caption"][0]) for epoch in range(20)}
    assert found == {": A man rides."}, "an answer about several options is never open-ended"
    with pytest.raises(DataError, match="made/train/0: no caption to train on"):
        both.rows(SAMPLE)


def test_evaluation_has_one_row_per_option_of_the_stream_that_is_scored(tokenizer):
    letters = processor(tokenizer, train=False).rows(SAMPLE)
    texts = processor(tokenizer, train=False, select="text").rows(SAMPLE)
    assert [said(tokenizer, row)[-3:] for row in letters["vqa"]] == ["(A)", "(B)"]
    assert [said(tokenizer, row) for row in texts["caption"]] == [": a ball", ": a bike"]


def test_features_become_unit_rows_and_padding_stays_zero(tokenizer):
    media = torch.tensor([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]])
    video = processor(tokenizer)(SAMPLE, media)["video"]
    assert video.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0.0, 1.0], [0.0, 0.0]]
    raw = processor(tokenizer, DatasetInfo(name="dramaqa", task="mc_qa"))(SAMPLE, media)["video"]
    assert torch.equal(raw, media)


def test_batches_learn_one_loss_drawn_by_epoch_and_sample(tokenizer):
    both = processor(tokenizer, teaching=Teaching(caption_share=0.5))

    def modes():
        items = [both(CAPTIONED, torch.zeros(3, 2), epoch=epoch) for epoch in range(30)]
        return [both.collate([item])["mode"] for item in items]

    assert modes() == modes() and 5 < modes().count("caption") < 25
    batch = both.collate([both(CAPTIONED, torch.zeros(3, 2))] * 2)
    assert {"vqa", "caption"} & batch.keys() == {batch["mode"]}
    assert (batch["plan"]["target_N"] != 0).sum() == (batch[batch["mode"]]["labels"] != 0).sum()


@pytest.mark.parametrize("options", [[], ["run.loss_norm=tokens", "model.select=text"], ["model.select=similarity"]])
def test_a_run_trains_and_evaluates(tmp_path, options):
    root = tiny_nextqa.make_nextqa(tmp_path / "nextqa", rows=8)
    config = tiny_nextqa.write_config(tmp_path / "c.yaml", root, cache=tmp_path / "cache", arch="topa")
    torch.save(torch.randn(50, 64), tmp_path / "memory.pth")
    out = [f"run.output_dir={tmp_path}/out", f"model.memory.path={tmp_path}/memory.pth", "run.max_epochs=1"]
    experiment = load(config, [*out, *options])
    RUNNERS.load(experiment.run.runner)(experiment).train()
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())["nextqa/val"]
    assert (metrics["samples"], metrics["failed"]) == (9, 1), "the video without features"
    lines = (tmp_path / "out/predictions/nextqa/val.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert sum("scores" in record for record in records) == 8
