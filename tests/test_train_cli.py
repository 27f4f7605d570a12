"""train.py and evaluate.py end to end on a made NExT-QA folder: what a run leaves behind, and what it says."""

import json
import math
from importlib import metadata

import pytest
import torch
from tiny_nextqa import make_nextqa, run_script, write_config

from vidalign.checkpoint.load import read_checkpoint
from vidalign.cli import guarded
from vidalign.common.errors import CheckpointError, ConfigError
from vidalign.config.load import load
from vidalign.registry import RUNNERS


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return write_config(folder / "tiny.yaml", make_nextqa(folder / "nextqa"), cache=folder / "cache")


@pytest.fixture(scope="module")
def trained(made, tmp_path_factory):
    """One run through the real script."""
    out = tmp_path_factory.mktemp("trained")
    done = run_script("train.py", made, f"run.output_dir={out}")
    return out, done.stdout


def runner(config, *options):
    experiment = load(config, list(options))
    return RUNNERS.load(experiment.run.runner)(experiment)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_run_folder(trained, made):
    out, printed = trained
    kinds = [line["kind"] for line in lines(out / "metrics.jsonl")]
    assert kinds == ["train", "train", "epoch", "eval", "train", "train", "epoch", "eval"]
    first = lines(out / "metrics.jsonl")[0]
    assert {"epoch", "step", "lr", "loss", "edl_mse", "vaq", "aqa", "samples_per_second"} <= first.keys()
    assert load(out / "config.yaml").run == load(made, [f"run.output_dir={out}"]).run
    environment = json.loads((out / "environment.json").read_text())
    assert environment["seed"] == 0 and environment["packages"]["torch"] == metadata.version("torch")
    assert environment["decoder"] == {"nextqa": "decord"} and environment["processes"] == 1
    metrics = json.loads((out / "metrics.json").read_text())["nextqa/val"]
    assert (metrics["samples"], metrics["failed"]) == (17, 1)
    assert f"{100 * metrics['accuracy']:.2f} %" in printed and "nextqa/val/999_16" in printed


def test_records(trained):
    records = lines(trained[0] / "predictions/nextqa/val.jsonl")
    assert [record["uid"] for record in records][:2] == ["nextqa/val/100_0", "nextqa/val/101_1"]
    assert len(records) == 17
    failed, short, normal = records[16], records[0], records[1]
    assert failed["status"] == "failed" and "999" in failed["reason"] and "pred_idx" not in failed
    assert short["status"] == "ok" and short["reason"] == "4 of 10 feature rows; padded with zeros"
    assert len(short["kept_frames"]) == 4
    assert "reason" not in normal and len(normal["scores"]) == 5 and 0 <= normal["uncertainty"] <= 1
    assert normal["pred_idx"] == max(range(5), key=normal["scores"].__getitem__)
    assert not list((trained[0] / "predictions/nextqa").glob(".*")), "the per-process parts are gone"


def test_checkpoint_evaluates_to_the_same_records(trained, made, tmp_path):
    out, _ = trained
    best = read_checkpoint(out / "checkpoints/best.pt")
    assert list(best["model"])[:3] == ["adapter_query.weight", "visual_proj.weight", "temporal_emb.weight"]
    assert best["best"] == max(line["accuracy"] for line in lines(out / "metrics.jsonl") if line["kind"] == "eval")
    last = out / "checkpoints/last.pt"
    metrics = runner(made, f"run.checkpoint={last}", f"run.output_dir={tmp_path}").evaluate()
    assert metrics == json.loads((out / "metrics.json").read_text())
    written = (tmp_path / "predictions/nextqa/val.jsonl").read_bytes()
    assert written == (out / "predictions/nextqa/val.jsonl").read_bytes()


def test_broken_off_run_goes_on_bit_for_bit(trained, made, tmp_path, monkeypatch):
    """Stop in the second epoch; the same command again ends with the weights of the straight run."""
    from vidalign.runners.callbacks import MetricsFile

    def stop(self, progress):
        if progress.step == 6:
            raise KeyboardInterrupt

    folder = f"run.output_dir={tmp_path / 'run'}"
    with monkeypatch.context() as patch:
        patch.setattr(MetricsFile, "on_step", stop)
        with pytest.raises(KeyboardInterrupt):
            runner(made, folder).train()
    middle = read_checkpoint(tmp_path / "run/checkpoints/last.pt")
    assert (middle["epoch"], middle["step"]) == (1, 4)
    history = runner(made, folder).train()
    assert len(history) == 1
    straight, resumed = (read_checkpoint(f / "checkpoints/last.pt") for f in (trained[0], tmp_path / "run"))
    assert resumed["step"] == straight["step"] == 8
    for name, value in straight["model"].items():
        assert torch.equal(value, resumed["model"][name]), name
    steps = [(line["kind"], line["step"]) for line in lines(tmp_path / "run/metrics.jsonl")]
    assert steps == [(line["kind"], line["step"]) for line in lines(trained[0] / "metrics.jsonl")]
    with pytest.raises(ConfigError, match="another config"):
        runner(made, folder, "run.seed=1").train()
    assert load(tmp_path / "run/config.yaml").run.seed == 0, "the earlier run's files stay"


def test_max_steps_inside_an_epoch_goes_on_there(made, tmp_path):
    parts = runner(made, f"run.output_dir={tmp_path}", "run.max_steps=3", "run.accumulate=1").train()
    content = read_checkpoint(tmp_path / "checkpoints/last.pt")
    assert len(parts) == 1 and (content["epoch"], content["step"], content["iteration"]) == (0, 3, 3)
    assert content["sampler"]["consumed"] == 12
    assert runner(made, f"run.output_dir={tmp_path}", "run.max_steps=3", "run.accumulate=1").train() == []


@pytest.mark.parametrize("option", ["run.activation_checkpointing=torch", "run.activation_checkpointing=fairscale"])
def test_activation_checkpointing_changes_nothing(trained, made, tmp_path, option):
    if "fairscale" in option:
        pytest.importorskip("fairscale", reason="fairscale is an extra")
    runner(made, f"run.output_dir={tmp_path}", option).train()
    plain, other = (read_checkpoint(f / "checkpoints/last.pt")["model"] for f in (trained[0], tmp_path))
    for name, value in plain.items():
        torch.testing.assert_close(other[name], value, rtol=0, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", "bfloat16"), ("fp16", "float16")])
def test_half_precision_trains_float32_parameters(made, tmp_path, precision, dtype):
    options = [f"run.precision={precision}", "run.max_steps=2", f"model.llm.dtype={dtype}"]
    history = runner(made, f"run.output_dir={tmp_path}", *options).train()
    content = read_checkpoint(tmp_path / "checkpoints/last.pt")
    assert math.isfinite(history[0]["loss"])
    assert all(value.dtype == torch.float32 for name, value in content["model"].items() if "scale_proj" not in name)
    assert bool(content["scaler"]) == (precision == "fp16")


def test_weights_that_do_not_fit(trained, made, tmp_path):
    content = read_checkpoint(trained[0] / "checkpoints/last.pt")
    content["model"]["visual_proj.weight"] = torch.zeros(3, 3)
    content["model"]["stranger"] = torch.zeros(1)
    torch.save(content, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError) as caught:
        runner(made, f"run.checkpoint={tmp_path / 'bad.pt'}", f"run.output_dir={tmp_path}").evaluate()
    assert "bad.pt" in str(caught.value)
    assert "shape of visual_proj.weight" in str(caught.value) and "surplus: stranger" in str(caught.value)


def test_full_model_checkpoint(made, tmp_path):
    options = ["run.max_steps=1", "run.save_full_model=true"]
    runner(made, f"run.output_dir={tmp_path / 'a'}", *options).train()
    last = tmp_path / "a/checkpoints/last.pt"
    assert "frozen" in read_checkpoint(last)
    other = ["run.seed=5", f"run.output_dir={tmp_path / 'b'}"]  # another random base model
    runner(made, f"run.checkpoint={last}", *other).evaluate()
    ours, theirs = ((tmp_path / f / "predictions/nextqa/val.jsonl").read_text() for f in "ab")
    assert ours == theirs


def test_dry_run_writes_nothing(made, tmp_path, capsys):
    runner(made, f"run.output_dir={tmp_path / 'none'}").dry_run()
    printed = capsys.readouterr().out
    assert "nextqa/val: 17 samples, 5 of 6 videos have features" in printed
    assert "6,032 trained" in printed
    assert not (tmp_path / "none").exists()


def test_user_mistakes_have_no_traceback(made, tmp_path, capsys):
    def train():
        runner(made, f"run.output_dir={tmp_path}", "run.max_failed_share=0.0", "datasets.nextqa.train=val").train()

    assert guarded(train) == 2
    printed = capsys.readouterr().err
    assert "max_failed_share" in printed and "999" in printed and "Traceback" not in printed
    done = run_script("train.py", made, "run.bach_size=3", check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr and "batch_size_per_gpu" in done.stderr


def test_best_metric_must_exist(made, tmp_path):
    with pytest.raises(ConfigError, match=r"best_metric.*accuracy_macro"):
        runner(made, f"run.output_dir={tmp_path}", "run.best_metric=bleu", "run.max_steps=1").train()
