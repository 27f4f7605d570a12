"""Every config loads, names what exists, and holds the published numbers; every script names an existing config."""

import dataclasses
import os
import re
import subprocess
from pathlib import Path

import pytest

from vidalign import registry
from vidalign.config.load import load

REPOSITORY = Path(__file__).resolve().parents[1]
SYSTEMS = ("bovila", "llama_vqa", "topa", "video_panda", "vila", "vila_ori", "vila_lora", "sevila")
SYSTEMS += ("lf_vila",)
# One system, a model per kind of task.
MODELS_OF = {
    "lf_vila": {f"lf_vila_{kind}" for kind in ("pretrain", "retrieval", "answers", "multiple_choice", "video")}
}
LVU = ("relationship", "way_speaking", "scene", "director", "writer", "year", "genre", "like_ratio", "view_count")
BENCHMARKS = {
    "lf_vila": (
        *("activitynet_captions", "didemo", "condensed_movies", "queryd", "clips_paragraphs"),
        *("activitynet_qa", "violin", "how2qa", "coin", "clips"),
        *(f"lvu_{task}" for task in LVU),
    ),
    "bovila": ("star", "dramaqa", "vlep", "tvqa", "how2qa", "clips"),
    "llama_vqa": ("nextqa", "nextqa_33b", "star", "dramaqa", "vlep", "tvqa", "clips"),
    "topa": ("nextqa", "star", "tvqa", "clips"),
    "video_panda": ("clips_qa",),
    "vila": ("nextqa", "star", "how2qa", "tvqa", "vlep", "clips"),
    "vila_ori": ("nextqa", "star", "how2qa", "tvqa", "vlep", "clips"),
    "vila_lora": ("nextqa", "clips"),
    "sevila": ("nextqa", "star", "how2qa", "tvqa", "vlep", "qvhighlights", "clips"),
}
# Systems that are also published without training on a benchmark.
ZERO_SHOT = {
    "sevila": ("nextqa", "star", "how2qa", "tvqa", "vlep", "egoschema", "egoschema_full"),
    "topa": ("nextqa", "star", "tvqa", "egoschema", "egoschema_full"),
}
EVALUATED = {
    "topa": ("mvbench", "msrvtt", "vatex"),
    "video_panda": ("msvd_qa", "msrvtt_qa", "tgif_qa", "activitynet_qa", "video_chatgpt"),
}
STAGES = ("prealign", "pretrain", "finetune")
RUNS = [(system, name, purpose) for system in SYSTEMS for name in BENCHMARKS[system] for purpose in ("train", "eval")]
RUNS += [(system, name, "zeroshot") for system, names in ZERO_SHOT.items() for name in names]
RUNS += [(system, name, "eval") for system, names in EVALUATED.items() for name in names]
ALL_YAML = sorted((REPOSITORY / "configs").rglob("*.yaml"))
SCRIPTS = sorted(path for path in (REPOSITORY / "run_scripts").glob("*/*.sh") if path.parent.name in SYSTEMS)
# What a part of a config (a model alone, a dataset alone) lacks.
REST = {
    "models": "datasets: {star: {root: x, train: train}}\ntask: {name: multiple_choice}\n",
    "datasets": "model: {arch: bovila, size: tiny, llm: {format: random}}\ntask: {name: multiple_choice}\n",
}


def loaded(system, benchmark, purpose, *options):
    path = REPOSITORY / "configs" / system / f"{benchmark}_{purpose}.yaml"
    given = ["run.checkpoint=x.pth"] if purpose in ("eval", "zeroshot") and not benchmark.startswith("clip") else []
    return load(path, [*given, *options], purpose="train" if purpose in ("train", *STAGES) else "evaluate")


@pytest.mark.parametrize("path", ALL_YAML, ids=lambda path: path.relative_to(REPOSITORY / "configs").as_posix())
def test_every_yaml_loads(path, tmp_path):
    if path.parent.name in REST:
        whole = tmp_path / "whole.yaml"
        rest = REST[path.parent.name]
        rest = rest.replace("multiple_choice", "open_ended") if path.stem.startswith("video_panda") else rest
        whole.write_text(f"base: {os.path.relpath(path, tmp_path)}\n{rest}")
        load(whole)
    else:
        system, (benchmark, purpose) = path.parent.name, path.stem.rsplit("_", 1)
        experiment = loaded(system, benchmark, purpose)
        # The first part of the name is the benchmark; a pre-training may evaluate on another one.
        assert experiment.model.arch in MODELS_OF.get(system, {system})
        assert benchmark.startswith(next(iter(experiment.datasets)))


def test_every_registered_config_class_imports():
    for table in (registry.MODELS, registry.DATASETS, registry.TASKS):
        for name in table:
            assert dataclasses.is_dataclass(table.config(name)), f"{table.kind} {name}"


def test_every_dataset_has_its_yaml():
    assert {path.stem for path in (REPOSITORY / "configs" / "datasets").glob("*.yaml")} == set(registry.DATASETS)


@pytest.mark.parametrize(("system", "benchmark", "purpose"), RUNS)
def test_every_benchmark_has_its_config_and_script(system, benchmark, purpose):
    loaded(system, benchmark, purpose)
    script = REPOSITORY / "run_scripts" / system / f"{benchmark}_{purpose}.sh"
    text = script.read_text()
    assert f"configs/{system}/{benchmark}_{purpose}.yaml" in text
    assert "set -euo pipefail" in text and '"$@"' in text and os.access(script, os.X_OK)


# Where a benchmark has several evaluation splits: the one whose number is published.
SPLITS = {
    ("bovila", "how2qa"): "public_val",
    **dict.fromkeys([(system, "how2qa") for system in ("vila", "vila_ori", "sevila", "lf_vila")], "val"),
    ("lf_vila", "activitynet_captions"): "val_1",
    ("lf_vila", "condensed_movies"): "val",
    **dict.fromkeys([("lf_vila", name) for name in ("didemo", "queryd", "violin", "coin", "activitynet_qa")], "test"),
    **dict.fromkeys([(system, "nextqa") for system in ("llama_vqa", "topa", "vila", "vila_ori", "sevila")], "val"),
    ("topa", "vatex"): "val",
}


@pytest.mark.parametrize(("system", "benchmark"), SPLITS)
def test_the_split_is_the_published_one(system, benchmark):
    assert loaded(system, benchmark, "eval").datasets[benchmark].eval == SPLITS[system, benchmark]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_script_names_existing_files(script):
    named = re.findall(r"(?:configs|run_scripts)/[\w/.]+\.\w+", script.read_text())
    assert named and all((REPOSITORY / name).is_file() for name in named), named
    subprocess.run(["bash", "-n", str(script)], check=True)


# (max_seq_len, epochs, vaq, aqa): spec of the published commands
BOVILA = {
    "star": (160, 10, 0.5, 0.25),
    "dramaqa": (256, 10, 0.3, 0.15),
    "vlep": (256, 10, 0.5, 0.25),
    "tvqa": (256, 5, 0.1, 0.05),  # published 160 cuts the answer off real rows
    "how2qa": (160, 3, 0.6, 0.3),
}
# (GPUs, max_seq_len, batch, accumulate, bias, learning rate, weight decay, subtitles, vaq)
LLAMA_VQA = {
    "nextqa": (4, 128, 8, 2, 3.5, 0.0225, 0.14, False, True),
    "star": (4, 128, 8, 1, 3.0, 0.01125, 0.16, False, True),
    "dramaqa": (4, 384, 2, 8, 3.0, 0.0225, 0.10, False, True),
    "vlep": (4, 256, 4, 8, 3.0, 0.03, 0.20, True, False),
    "tvqa": (8, 650, 1, 4, 3.0, 0.00875, 0.02, True, True),
}


def peak_rate(run, gpus):
    return run.optimizer.base_lr * gpus * run.batch_size_per_gpu * run.accumulate / 256


@pytest.mark.parametrize("benchmark", BOVILA)
def test_bovila_recipes_are_the_published_ones(benchmark):
    experiment = loaded("bovila", benchmark, "train")
    model, run, data = experiment.model, experiment.run, experiment.datasets[benchmark]
    assert (model.max_seq_len, run.max_epochs, model.losses.vaq, model.losses.aqa) == BOVILA[benchmark]
    assert peak_rate(run, 8) == pytest.approx(0.045) and run.optimizer.weight_decay == 0.14
    assert (model.losses.evidential, model.losses.regularizer, model.losses.uncertainty_gate) == (1.0, 1e-9, True)
    assert (model.adapter.length, model.adapter.layers, model.adapter.video_bias) == (10, 32, 3.5)
    assert (run.batch_size_per_gpu, run.accumulate, run.schedule.warmup_epochs, model.num_frames) == (8, 2, 2.0, 10)
    assert run.optimizer.betas == [0.9, 0.95] and run.schedule.name == "warmup_cosine" and run.clip_grad_norm is None
    assert data.subtitles == (benchmark == "vlep")
    assert data.eval == ("public_val" if benchmark == "how2qa" else "val")


@pytest.mark.parametrize("benchmark", LLAMA_VQA)
def test_llama_vqa_recipes_are_the_published_ones(benchmark):
    experiment = loaded("llama_vqa", benchmark, "train")
    model, run, data = experiment.model, experiment.run, experiment.datasets[benchmark]
    gpus, length, batch, accumulate, bias, rate, decay, subtitles, vaq = LLAMA_VQA[benchmark]
    assert (model.max_seq_len, run.batch_size_per_gpu, run.accumulate) == (length, batch, accumulate)
    assert model.adapter.video_bias == bias and run.optimizer.weight_decay == decay
    assert peak_rate(run, gpus) == pytest.approx(rate)
    assert (data.subtitles, model.losses.vaq, model.losses.qav, model.losses.tau) == (subtitles, vaq, True, 100.0)
    assert (run.max_epochs, run.schedule.warmup_epochs, run.optimizer.betas) == (5, 2.0, [0.9, 0.95])


@pytest.mark.parametrize(("benchmark", "rate"), [("nextqa", 0.0125), ("star", 0.0125), ("tvqa", 0.00625)])
def test_topa_fine_tuning_is_the_published_recipe(benchmark, rate):
    experiment = loaded("topa", benchmark, "train")
    model, run = experiment.model, experiment.run
    assert peak_rate(run, 4) == pytest.approx(rate)
    assert (model.max_seq_len, model.adapter.length, model.adapter.video_bias) == (128, 50, 3.5)
    assert (run.batch_size_per_gpu, run.accumulate, run.max_epochs, run.schedule.warmup_epochs) == (20, 4, 5, 1)
    assert run.optimizer.weight_decay == 0.1 and model.memory.path is None


# (model, trained, batch, accumulate, learning rate)
TOPA_PRETRAINING = {
    "textvid": ("llama2_7b", 32, 18, 4, 0.005625),
    "textvid_13b": ("llama2_13b", 40, 4, 8, 0.004),
    "textvid_8b": ("llama3_8b", 32, 14, 8, 0.00875),
}


@pytest.mark.parametrize("name", TOPA_PRETRAINING)
def test_topa_pre_alignment_is_the_published_recipe(name):
    experiment = loaded("topa", name, "train")
    model, run = experiment.model, experiment.run
    size, layers, batch, accumulate, rate = TOPA_PRETRAINING[name]
    assert (model.size, model.adapter.layers, run.batch_size_per_gpu, run.accumulate) == (
        size,
        layers,
        batch,
        accumulate,
    )
    assert peak_rate(run, 4) == pytest.approx(rate) and run.optimizer.weight_decay == 0.1
    assert (run.max_epochs, run.schedule.warmup_epochs, run.schedule.min_lr) == (20, 1, 0)
    assert (model.max_seq_len, model.eval_max_seq_len, model.overflow) == (150, 600, "skip")
    assert (model.adapter.length, model.adapter.video_bias, model.noise_variance) == (50, 3.5, 0)
    losses = model.losses
    assert (losses.caption_share, losses.open_share, losses.caption, losses.balance_options) == (0.5, 0.5, 1.0, True)
    assert (
        model.memory.rows == 1_000_000
        and model.memory.temperature == 0.01
        and model.llm.official_rope == (size == "llama3_8b")
    )
    assert {key: (data.train, data.eval) for key, data in experiment.datasets.items()} == {
        "textvid": ("train", None),
        "egoschema": (None, "subset"),
    }


@pytest.mark.parametrize(
    ("name", "length", "split"),
    [("nextqa", 128, "val"), ("star", 128, "val"), ("tvqa", 150, "val"), ("egoschema", 600, "subset")]
    + [("egoschema_full", 600, "full")],
)
def test_topa_zero_shot_evaluates_through_the_memory(name, length, split):
    experiment = loaded("topa", name, "zeroshot")
    model, [data] = experiment.model, experiment.datasets.values()
    assert (model.max_seq_len, data.eval, data.train, data.subtitles) == (length, split, None, False)
    assert model.memory.path.endswith("textvid/memory.pkl") and model.memory.rows == 1_000_000
    script = REPOSITORY / f"run_scripts/topa/{name}_zeroshot.sh"
    assert f"configs/topa/{name}_zeroshot.yaml" in script.read_text() and os.access(script, os.X_OK)


@pytest.mark.parametrize("system", ("bovila", "llama_vqa", "topa"))
def test_the_clips_configs_need_no_weights_and_no_gpu(system):
    for purpose in ("train", "eval"):
        experiment = loaded(system, "clips", purpose, "datasets.clips.root=DIR")
        model, data = experiment.model, experiment.datasets["clips"]
        assert (model.size, model.llm.path, model.llm.format, model.visual_dim) == ("tiny", None, "random", 64)
        assert (data.root, data.eval, data.extract.encoder) == ("DIR", "val", "tiny")
        assert experiment.run.precision == "fp32" and experiment.run.checkpoint is None


# (config, rate, tower and projector factor, batch, warm-up, share of the rows): the official commands
PANDA_STAGES = [
    ("valley_prealign", 4e-5, 10.0, 8, 0.03, 0.5),
    ("valley_pretrain", 4e-5, 1.0, 8, 0.01, 1.0),
    ("videochatgpt_tune_finetune", 2e-5, 1.0, 4, 0.01, 1.0),
]


@pytest.mark.parametrize(("name", "rate", "factor", "batch", "warmup", "share"), PANDA_STAGES)
def test_video_panda_stages_are_the_published_commands(name, rate, factor, batch, warmup, share):
    experiment = loaded("video_panda", *name.rsplit("_", 1))
    model, run = experiment.model, experiment.run
    [data] = experiment.datasets.values()
    assert model.stage == name.rsplit("_", 1)[1] and data.share == share
    assert (run.optimizer.lr, run.batch_size_per_gpu, run.schedule.warmup_epochs) == (rate, batch, warmup)
    assert (model.learning_rates.tower, model.learning_rates.projector) == (factor, factor)
    assert (run.max_epochs, run.optimizer.weight_decay, run.clip_grad_norm, run.sampler) == (
        1,
        0.0,
        None,
        "length_grouped",
    )
    assert (run.schedule.name, run.seed, run.optimizer.betas) == ("warmup_cosine_whole", 42, [0.9, 0.999])
    assert (model.num_frames, model.max_length, model.alignment, model.flip) == (8, 4096, 1.0, 0.5)


def launched(tmp_path, script, *arguments, **environment):
    """The command lines that a script would run, with python replaced by a recorder."""
    root = tmp_path / "checkout"
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / "run_scripts").symlink_to(REPOSITORY / "run_scripts")
    (root / "configs").symlink_to(REPOSITORY / "configs")
    (root / "output" / "here" / "checkpoints").mkdir(parents=True)
    (root / "output" / "here" / "checkpoints" / "best.pth").touch()
    recorder = root / ".venv" / "bin" / "python"
    recorder.write_text('#!/usr/bin/env bash\necho "$*" >> calls\n[ "$2" != vidalign ] || echo output/here\n')
    recorder.chmod(0o755)
    subprocess.run(["bash", str(root / script), *arguments], check=True, env={**os.environ, **environment})
    return (root / "calls").read_text().splitlines()


def test_a_train_script_trains_then_evaluates_the_best_checkpoint(tmp_path):
    calls = launched(tmp_path, "run_scripts/bovila/star_train.sh", "run.max_steps=3", GPUS="1", NNODES="1")
    assert calls[0] == "train.py --cfg-path configs/bovila/star_train.yaml --options run.max_steps=3"
    assert calls[-1].startswith("evaluate.py --cfg-path configs/bovila/star_eval.yaml --options run.max_steps=3 ")
    assert (
        "run.checkpoint=output/here/checkpoints/best.pth" in calls[-1]
        and "run.output_dir=output/here/eval" in calls[-1]
    )


def test_several_gpus_and_machines_start_torchrun(tmp_path):
    script = "run_scripts/bovila/star_eval.sh"
    several = launched(tmp_path / "a", script, GPUS="4", NNODES="1")
    assert several[0].startswith("-m vidalign check configs/bovila/star_eval.yaml"), "mistakes are told before torchrun"
    assert several[1].startswith("-m torch.distributed.run --standalone --nproc_per_node 4 evaluate.py --cfg-path")
    machines = launched(tmp_path / "b", script, GPUS="1", NNODES="2", NODE_RANK="1", MASTER_ADDR="host")
    assert "--nnodes 2 --nproc_per_node 1 --node_rank 1" in machines[1] and "--master_addr host" in machines[1]
