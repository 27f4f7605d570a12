"""Text-only pre-alignment end to end: train.py on a made TextVID folder, both losses, bad rows counted and named."""

import json

import pytest
from tiny_nextqa import run_script
from tiny_textvid import change, make_egoschema, make_textvid, question, write_config

from vidalign.common.errors import ConfigError, DataError, TrainingError
from vidalign.config.load import load
from vidalign.registry import RUNNERS


@pytest.fixture
def root(tmp_path):
    make_textvid(tmp_path / "textvid")
    make_egoschema(tmp_path / "egos")
    return tmp_path


def runner(root, *options):
    experiment = load(write_config(root / "c.yaml", root), list(options))
    return RUNNERS.load(experiment.run.runner)(experiment)


def lines_of(root, kind):
    lines = map(json.loads, (root / "out/metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == kind]


def test_train_py_learns_from_text_and_answers_about_video(root):
    run_script("train.py", write_config(root / "c.yaml", root), "run.max_epochs=3")
    steps = lines_of(root, "train")
    # Every micro-batch learns one of the two, and both came up.
    assert all((line["vqa"] > 0) != (line["caption"] > 0) for line in steps)
    assert all(sum(line[name] > 0 for line in steps) > 3 for name in ("vqa", "caption"))
    metrics = json.loads((root / "out/metrics.json").read_text())["egoschema/subset"]
    assert (metrics["samples"], metrics["scored"], metrics["failed"]) == (3, 3, 0)
    options = ["datasets.egoschema.eval=full", "datasets.textvid.train=null", f"run.output_dir={root}/full"]
    runner(root, *options, f"run.checkpoint={root}/out/checkpoints/last.pt").evaluate()
    sent = json.loads((root / "full/predictions/egoschema/full_submission.json").read_text())
    assert set(sent) == {"e0", "e1", "e2", "e3"} and set(sent.values()) <= set(range(5))


def test_broken_and_long_rows_are_counted_and_named(root):
    change(root / "textvid", 3, QAs=[question(3, answer="F")])
    change(root / "textvid", 4, QAs=[{**question(4), "question": "what is it " * 60}])
    (root / "textvid/features/t5.pkl").unlink()
    runner(root, "run.max_epochs=1").train()
    [line] = lines_of(root, "failed_media")
    told = line["failures"]
    assert set(told) == {"textvid/train/t3", "textvid/train/t4", "textvid/train/t5"}
    assert "question 1 of item 4: answer 'F' is not one of the letters A to E" in told["textvid/train/t3"]
    assert "more than max_seq_len 160" in told["textvid/train/t4"]
    assert "no features for 't5'" in told["textvid/train/t5"]


def test_too_many_broken_rows_stop_the_run(root):
    for number in range(6):
        change(root / "textvid", number, QAs=[question(number, answer="Z")])
    with pytest.raises(TrainingError, match=r"(?s)more than run.max_failed_share=0.4.*answer 'Z'"):
        runner(root).train()


def test_a_row_too_long_is_told_at_once_unless_it_may_be_left_out(root):
    change(root / "textvid", 4, QAs=[{**question(4), "question": "what is it " * 60}])
    with pytest.raises(DataError, match=r"textvid/train/t4: the vqa prompt has \d+ tokens, more than max_seq_len 160"):
        runner(root, "model.overflow=error").train()


def test_a_memory_of_the_wrong_width_is_told_before_any_step(root):
    import pickle

    import torch

    (root / "textvid/memory.pkl").write_bytes(pickle.dumps(torch.randn(5, 32)))
    with pytest.raises(ConfigError, match=r"rows of width 32, the model's features have 64 \(model\.visual_dim\)"):
        runner(root, "run.max_epochs=1").train()
    assert not (root / "out/metrics.jsonl").exists()
