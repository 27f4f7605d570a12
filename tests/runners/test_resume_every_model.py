"""Every registered model, in each of its ways to train: killed at a random moment and started again, the run ends with
the weights, optimizer, lines and records of the undisturbed one."""

import os
import random

import pytest
from every_run import make_data, write_config
from forked_runs import forked
from resume_runs import lines, same_end, trace
from tiny_textvid import write_config as write_textvid_config

from vidalign.registry import MODELS

pytestmark = pytest.mark.slow
ROUNDS = max(1, int(os.environ.get("VIDALIGN_KILLS", 12)) // 12)
SUMMED = ("run.accumulation=sum",)
GROUPED = ("run.sampler=length_grouped",)
# model, task, settings of the model, options of the run
WAYS = [
    ("bovila", "multiple_choice", {}, ()),
    ("llama_vqa", "multiple_choice", {}, ()),
    ("topa", "multiple_choice", {}, ()),
    ("vila", "multiple_choice", {}, SUMMED),
    ("vila_ori", "multiple_choice", {}, SUMMED),
    ("vila_lora", "multiple_choice", {}, SUMMED),
    *(("sevila", "multiple_choice", {"trains": part}, SUMMED) for part in ("answerer", "localizer")),
    ("sevila", "moments", {"trains": "localizer_pretraining"}, SUMMED),
    *(("video_panda", "open_ended", {"stage": stage}, GROUPED) for stage in ("prealign", "pretrain", "finetune")),
    *(("lf_vila_pretrain", "retrieval", {"stage": stage}, ()) for stage in (1, 2)),
    ("lf_vila_retrieval", "retrieval", {}, ()),
    ("lf_vila_answers", "classification", {}, ()),
    ("lf_vila_multiple_choice", "multiple_choice", {}, ()),
    ("lf_vila_video", "classification", {}, ()),
    ("lf_vila_video", "regression", {}, ("run.best_metric=answered_mse",)),  # a video is missing, so mse is infinite
]


def name_of(way):
    model, task, settings, _ = way
    return "-".join([model, task, *map(str, settings.values())])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data") / "made")


def test_all_are_there():
    assert {model for model, *_ in WAYS} == set(MODELS)


@pytest.mark.parametrize("way", WAYS, ids=name_of)
def test_killed_and_restarted(way, data, tmp_path):
    model, task, settings, options = way
    compare(write_config(tmp_path, data, task=task, model=model, **settings), options, tmp_path, name_of(way))


def test_text_only_pre_alignment(data, tmp_path):
    """TOPA on textual videos: mixed tasks and noise; evaluated on features."""
    own = write_config(tmp_path, data, task="multiple_choice", model="topa")
    path = write_textvid_config(tmp_path / "textvid.yaml", data)
    text = path.read_text().replace("datasets/egoschema.yaml]", f"datasets/own_data.yaml, {own}]")
    path.write_text(text)
    options = ("datasets.own_data.train=null", "run.accumulate=2", "run.save_every_steps=1", "run.max_failed_share=0.9")
    compare(path, options, tmp_path, "textvid")


def compare(config, options, folder, seed):
    """An undisturbed run and killed ones; every place of the first is killed with equal chance."""
    log = folder / "log"
    env = {"COUNT": folder / "count", "TRACE": folder / "straight.trace"}
    straight = [*options, f"run.output_dir={folder / 'straight'}"]
    assert forked("train", config, straight, log=log, env=env) == [0], log.read_text()
    assert len([row for row in lines(folder / "straight/metrics.jsonl") if row["kind"] == "train"]) >= 4
    events, chance = int((folder / "count").read_text()), random.Random(seed)
    for number in range(ROUNDS):
        out, told = folder / f"run{number}", folder / f"{number}.trace"
        broken = [*options, f"run.output_dir={out}"]
        env = {"TRACE": told, "KILL_AT": chance.randint(events // 8, events - 1)}
        assert forked("train", config, broken, log=log, env=env) == [-9], log.read_text()
        assert forked("train", config, broken, log=log, env={"TRACE": told}) == [0], log.read_text()
        same_end(folder / "straight", out, split=next((out / "predictions").rglob("*.jsonl")).relative_to(out))
        assert trace(told) == trace(folder / "straight.trace")
