"""The pieces behind exact resumption, one by one and fast."""

import json
import os
import shutil
import signal
import time
from types import SimpleNamespace

import pandas
import pytest
import torch
from tiny_nextqa import make_nextqa, write_config

from vidalign.checkpoint.load import read_checkpoint
from vidalign.common.errors import ConfigError, Stopped, TrainingError
from vidalign.common.record import Record
from vidalign.common.sample import Sample
from vidalign.config.load import load
from vidalign.config.same_run import same_scores
from vidalign.data.sampler import EvalSampler
from vidalign.registry import RUNNERS, TASKS
from vidalign.runners.build import DataRoom, build_model
from vidalign.runners.callbacks import MetricsFile
from vidalign.runners.eval_parts import PartFiles, whole_lines
from vidalign.runners.evaluate import EvalSet, predict
from vidalign.runners.keep import Keeper
from vidalign.runners.meters import EpochMeters
from vidalign.runners.milestones import Milestones
from vidalign.runners.progress import Progress
from vidalign.runners.stop import StopRequest
from vidalign.runners.watchdog import Watchdog


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return write_config(folder / "tiny.yaml", make_nextqa(folder / "nextqa"), cache=folder / "cache")


def runner(config, *options):
    experiment = load(config, list(options))
    return RUNNERS.load(experiment.run.runner)(experiment)


def samples(count):
    return [Sample(uid=f"toy/val/{i}", dataset="toy", split="val", task="mc_qa") for i in range(count)]


def keeper(folder, **run):
    names = {"root": folder, "last": folder / "checkpoints/last.pt", "predictions": folder / "predictions"}
    settings = {"keep_last": 1, "keep_every": 0, "save_every_steps": 0, "save_every_minutes": 0.0}
    return Keeper(SimpleNamespace(**names), SimpleNamespace(**(settings | run)))


def test_only_complete_batches_of_this_key_are_done(tmp_path):
    path = tmp_path / "val.jsonl"
    parts = PartFiles(path, "ab")
    with open(tmp_path / ".val.ab.0.jsonl", "w") as file:
        parts.write(file, [Record(uid=f"toy/val/{i}", pred_idx=i) for i in (0, 1, 2, 4)])
        file.write('{"uid": "toy/val/5", "pre')
    with open(tmp_path / ".val.ab.3.jsonl", "w") as file:
        parts.write(file, [Record(uid="toy/val/3", pred_idx=3)])
    with open(tmp_path / ".val.cd.0.jsonl", "w") as file:
        parts.write(file, [Record(uid=f"toy/val/{i}", pred_idx=9) for i in (4, 5, 6)])
    for name in (".valid.ab.0.jsonl", ".val.ab.text.f32", ".val.cd.text.f32"):
        (tmp_path / name).write_text("of another split, or beside the parts")
    assert parts.begin(samples(7), batch_size=2) == [0, 2]
    left = [".val.ab.done.jsonl", ".val.ab.text.f32", ".valid.ab.0.jsonl"]
    assert sorted(one.name for one in tmp_path.iterdir()) == left
    assert [record.pred_idx for record in parts.records()] == [0, 1, 2, 3]
    assert parts.begin(samples(7), batch_size=2) == [0, 2], "again, as after a kill just here"
    parts.remove()
    assert [one.name for one in tmp_path.iterdir()] == [".valid.ab.0.jsonl"]


def test_torn_lines_are_left_out(tmp_path):
    good = Record(uid="ü", pred_idx=1).to_json()
    (tmp_path / "part").write_bytes(f"{good}\n".encode() + b"\0\0\0\n[1]\n" + f"{good}\n".encode() + b'{"uid": "\xc3')
    assert [record.uid for record in whole_lines(tmp_path / "part")] == ["ü", "ü"]


def test_a_record_with_nan_is_a_failed_one_before_it_is_written():
    rows = [
        Record(uid="toy/val/0", pred_value=1.0),
        Record(uid="toy/val/1", pred_value=float("nan")),
        Record(uid="toy/val/2", windows=((0.0, float("inf"), 0.5),), saliency=(0.5,)),
    ]
    entry = {"batch": {}, "failures": [], "notes": {"toy/val/1": "2 frames repeated"}}
    task = SimpleNamespace(predict=lambda model, batch: rows)
    (found,) = predict(torch.nn.Identity(), task, EvalSet("toy", "val", samples(3), None, [entry]))
    assert [record.status for record in found] == ["ok", "failed", "failed"]
    assert found[1].reason == "2 frames repeated; the prediction is not finite: `pred_value` holds NaN or infinity"
    assert [Record.from_json(record.to_json()) for record in found] == found


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_what_is_left_of_an_evaluation_is_dealt_out_once(world):
    ranks = [EvalSampler(21, batch_size=2, rank=rank, world=world) for rank in range(world)]
    for one in ranks:
        one.set_done([0, 4, 20])
    left = sorted(index for one in ranks for batch in one for index, _ in batch)
    assert left == [i for i in range(21) if i not in (0, 1, 4, 5, 20)]
    assert sum(map(len, ranks)) == 8 and max(map(len, ranks)) - min(map(len, ranks)) <= 1


def test_retention(tmp_path):
    keep = keeper(tmp_path, keep_last=2, keep_every=2)
    for epoch in (1, 2, 3, 4, 5):
        keep.save({"step": 10 * epoch}, better=epoch == 3, epochs=epoch)
    kept = {path.name: read_checkpoint(path)["step"] for path in (tmp_path / "checkpoints").iterdir()}
    steps = {"step-00000040.pt": 40, "step-00000050.pt": 50}
    assert kept == {"last.pt": 50, "best.pt": 30, "epoch-0002.pt": 20, "epoch-0004.pt": 40, **steps}


def test_killed_anywhere_inside_a_save_best_is_never_lost(tmp_path, monkeypatch):
    """A run goes on from last.pt and does not evaluate that epoch again: its best.pt must be there by then."""
    calls, kill_at = 0, 0

    def mortal(function):
        def called(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == kill_at:
                raise KeyboardInterrupt
            return function(*args, **kwargs)

        return called

    for name in ("fsync", "replace", "link"):
        monkeypatch.setattr(os, name, mortal(getattr(os, name)))
    survived = False
    while not survived:
        kill_at, folder = kill_at + 1, tmp_path / str(kill_at)
        calls = -1000
        keeper(folder).save({"step": 1})
        calls = 0
        try:
            keeper(folder, keep_every=1).save({"step": 2}, better=True, epochs=1)
            survived = True
        except KeyboardInterrupt:
            pass
        there = {path.name: read_checkpoint(path)["step"] for path in (folder / "checkpoints").glob("[!.]*.pt")}
        if there["last.pt"] == 2:
            assert there == {"last.pt": 2, "best.pt": 2, "epoch-0001.pt": 2}, f"killed at {kill_at}"
    assert kill_at > 5


def test_links_where_the_file_system_has_none(tmp_path, monkeypatch):
    def refuse(source, target):
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    keep = keeper(tmp_path)
    keep.save({"step": 1}, better=True)
    keep.save({"step": 2})
    assert [read_checkpoint(tmp_path / f"checkpoints/{name}.pt")["step"] for name in ("best", "last")] == [1, 2]


def test_saving_by_steps_and_by_the_clock(tmp_path):
    assert [step for step in range(1, 10) if keeper(tmp_path, save_every_steps=3).due(step)] == [3, 6, 9]
    assert not keeper(tmp_path).due(3) and not keeper(tmp_path).by_clock()
    quick = keeper(tmp_path, save_every_minutes=1e-6)
    time.sleep(0.001)
    assert quick.by_clock()


def test_leftovers_of_a_killed_save_go(tmp_path):
    for name in ("checkpoints/.last.pt.x.part", "predictions/toy/.val.jsonl.y.part", ".metrics.json.z.part"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "checkpoints/last.pt").touch()
    keeper(tmp_path).tidy()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["last.pt"]


def test_lines_are_cut_back_to_the_checkpoint(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = MetricsFile(path)
    for step in (1, 2, 3):
        lines.write("train", Progress(step=step), {})
    with open(path, "a") as file:
        file.write('{"kind": "tr')
    again = MetricsFile(path, count=2)
    again.write("train", Progress(step=3), {})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3] and again.count == 3
    with pytest.raises(TrainingError, match=r"full.*could not be written: No space left"):
        full = tmp_path / "full"
        full.symlink_to("/dev/full")
        lines.path = full
        lines.write("train", Progress(step=4), {})


def test_averages_go_on_exactly():
    one, other = EpochMeters(torch.device("cpu")), EpochMeters(torch.device("cpu"))
    values = [torch.tensor(0.1) * k for k in range(1, 8)]
    for meters in (one, other):
        for value in values[:2]:
            meters.window.add({"loss": value, "lr": 0.3})
        meters.close_window()
        meters.window.add({"loss": values[2], "lr": 0.7})
    later = EpochMeters(torch.device("cpu"))
    later.load_state_dict(json.loads(json.dumps(other.state_dict())))
    for meters in (one, later):
        for value in values[3:]:
            meters.window.add({"loss": value, "lr": 0.1})
    assert one.close_window() == later.close_window()
    assert one.whole.averages() == later.whole.averages()


def test_weights_that_a_bad_loss_has_reached_are_not_saved():
    meters = EpochMeters(torch.device("cpu"))
    meters.window.watch(torch.tensor(1.0), ["a"])
    assert meters.window.broken() == []
    meters.window.watch(torch.tensor(float("nan")), ["b", "c"])
    assert meters.window.broken() == ["b", "c"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_wish(number):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        stop.obey(stop.signal, "nothing happened")
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)  # a launcher sends it a second time
        with pytest.raises(Stopped, match=rf"{number.name}: saved") as caught:
            stop.obey(stop.signal, "saved")
    assert caught.value.exit_code == 128 + number and signal.getsignal(number) == before


def test_a_second_interrupt_later_ends_at_once(monkeypatch):
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        stop._since -= 2
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)


def test_never_starts_over_and_loses_nothing(made, tmp_path):
    options = (f"run.output_dir={tmp_path}", "run.max_epochs=1", "run.schedule.warmup_epochs=0")
    runner(made, *options).train()
    first = (tmp_path / "checkpoints/last.pt").read_bytes()
    assert runner(made, *options).train() == [], "finished: nothing to do"
    assert len(runner(made, *options, "run.resume=never").train()) == 1
    assert (tmp_path / "checkpoints.1/last.pt").read_bytes() == first
    assert read_checkpoint(tmp_path / "checkpoints/last.pt")["step"] == 4


def test_what_may_change_between_two_starts(made, tmp_path):
    options = (f"run.output_dir={tmp_path}", "run.max_steps=1")
    runner(made, *options).train()
    runner(made, *options, "run.num_workers=1", "run.save_every_steps=2", "run.keep_last=3").train()
    runner(made, *options, "run.eval_batch_size_per_gpu=1", "run.log_every_steps=3").train()
    with pytest.raises(ConfigError, match=r"differs in model\.losses\.vaq, run\.batch_size_per_gpu\)"):
        runner(made, *options, "run.batch_size_per_gpu=2", "model.losses.vaq=0.1").train()


def test_a_run_goes_on_where_its_data_was_moved_to_with_the_same_rows_only(made, tmp_path):
    options = (f"run.output_dir={tmp_path / 'run'}", "run.max_steps=1", "datasets.nextqa.eval=null")
    runner(made, *options).train()
    moved = shutil.copytree(made.parent / "nextqa", tmp_path / "moved")
    there = (f"run.output_dir={tmp_path / 'run'}", "run.max_steps=2", "datasets.nextqa.eval=null")
    with pytest.raises(ConfigError, match=r"differs in run\.max_steps\)"):
        runner(made, *there, f"datasets.nextqa.root={moved}").train()
    assert runner(made, *options, f"datasets.nextqa.root={moved}").train() == [], "finished"
    table = pandas.read_csv(moved / "train.csv")
    table["answer"] = (table["answer"] + 1) % 5
    table.to_csv(moved / "train.csv", index=False)
    with pytest.raises(TrainingError, match="made with rows = .*use the same data"):
        runner(made, *options, f"datasets.nextqa.root={moved}").train()


def test_a_first_batch_without_a_usable_sample_after_a_restart(made, tmp_path):
    """The stand-in is the batch before, made again."""
    room_of = runner(made, f"run.output_dir={tmp_path}", "run.batch_size_per_gpu=2")
    model = build_model(room_of.experiment, device=torch.device("cpu"))
    loader = DataRoom(room_of.experiment, model, device=torch.device("cpu")).train_loader()
    batches = list(loader)
    loader.sampler.consumed = 8  # the fourth batch was just taken
    before = loader.usable_before()
    assert before["uid"] == batches[2]["batch"]["uid"]
    assert torch.equal(before["video"], batches[2]["batch"]["video"])
    loader.sampler.consumed = 2
    assert loader.usable_before() is None


def test_the_watchdog_ends_what_stands_still_and_waits_for_the_scoring(monkeypatch, capfd):
    ends = []
    monkeypatch.setattr("vidalign.runners.watchdog.GRACE_SECONDS", 0.0)
    monkeypatch.setattr("vidalign.runners.watchdog.os._exit", ends.append)
    with Watchdog(0.2) as dog:
        with dog.paused():
            time.sleep(1)
        assert ends == []
        time.sleep(1)
    assert ends[0] == 75 and "nothing has moved" in capfd.readouterr().err


def test_the_best_is_the_least_where_less_is_better(capsys):
    def score(metrics, *, wish=None, headline="accuracy"):
        one = SimpleNamespace(name="a/val", info=SimpleNamespace(headline=headline))
        of = SimpleNamespace(
            runner=SimpleNamespace(run=SimpleNamespace(best_metric=wish)),
            task=TASKS.load("open_ended"),
            sets=[one],
            results={"a/val": ([], metrics)},
            _tell_if_endless=Milestones._tell_if_endless,
        )
        return Milestones._score(of)

    assert score({"accuracy": 0.5}) == 0.5 and score({"mse": 2.0}, headline="mse") == -2.0
    assert score({"R@1": 0.1, "v2t_MedR": 3.0}, wish="v2t_MedR") == -3.0
    assert score({"contained_match": 0.3, "exact_match": 0.2}) == 0.3
    some_failed = {"mse": float("inf"), "answered_mse": 2.0, "failed": 3}
    assert score(some_failed, headline="mse") == -float("inf"), "no best, as nothing is below that"
    told = "no new best.pt: a/val has mse inf, 3 failed; run.best_metric=answered_mse compares the others"
    assert told in capsys.readouterr().err
    assert score(some_failed, wish="answered_mse") == -2.0
    assert score({"R@1": 0.1}) is None
    assert "no best.pt: no split has accuracy; name a metric with run.best_metric: R@1" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="no split has 'x'; there is R@1"):
        score({"R@1": 0.1}, wish="x")


def test_a_wrong_best_metric_costs_nothing(made, tmp_path):
    """It is found by the first evaluation; the run goes on with the right one, and its old best does not count."""
    options = (f"run.output_dir={tmp_path}", "run.max_epochs=1", "run.schedule.warmup_epochs=0")
    with pytest.raises(ConfigError, match=r"no split has 'acuracy'; there is accuracy.* goes on"):
        runner(made, *options, "run.best_metric=acuracy").train()
    assert read_checkpoint(tmp_path / "checkpoints/last.pt")["step"] == 4
    runner(made, *options, "run.best_metric=accuracy").train()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["kind"] for row in rows] == ["train", "train", "epoch", "eval"]
    assert read_checkpoint(tmp_path / "checkpoints/best.pt")["best"] == rows[-1]["accuracy"]
    stored = (tmp_path / "config.yaml").read_text()
    assert same_scores(stored, load(made, [*options, "run.best_metric=accuracy"]))
    assert not same_scores(stored, load(made, [*options, "run.best_metric=accuracy_low"]))
