"""Where each value came from, how files merge, and the resolved config of a run folder."""

import pytest

from vidalign.common.errors import ConfigError
from vidalign.config.load import load, place_of, resolved_yaml, values_with_sources

BASE = """\
model: {arch: bovila, size: tiny, llm: {format: random}}
datasets:
  star: {root: "${paths.data_root}/star", train: train}
task: {name: multiple_choice}
run:
  max_epochs: 3
  optimizer: {lr: 1e-3, betas: [0.5, 0.6]}
"""


@pytest.fixture
def config(tmp_path):
    (tmp_path / "base.yaml").write_text(BASE)
    path = tmp_path / "top.yaml"
    path.write_text("base: base.yaml\nrun:\n  seed: 7\n  optimizer:\n    betas: [0.1]\n")
    return path


def test_every_value_has_its_source(config):
    base = config.parent / "base.yaml"
    experiment = load(config, ["run.optimizer.betas=[0.2,0.3]", "paths.data_root=/d"])
    rows = {key: (value, source) for key, value, source in values_with_sources(experiment)}
    assert rows["run.seed"] == (7, f"{config}:3")
    assert rows["run.max_epochs"] == (3, f"{base}:6")
    assert rows["run.optimizer.lr"] == (1e-3, f"{base}:7")
    assert rows["run.optimizer.betas"] == ([0.2, 0.3], "--options")
    assert rows["datasets.star.root"] == ("/d/star", f"{base}:3")
    assert rows["run.precision"] == ("bf16", "default")
    assert place_of(experiment, "run.optimizer.eps") == f"{config}:4"  # the block that holds the default


def test_lists_replace_and_blocks_merge(config):
    with pytest.raises(ConfigError, match="two numbers"):
        load(config)
    assert load(config, ["run.optimizer.betas=[0,0]"]).run.optimizer.lr == 1e-3


def test_a_block_on_the_command_line_merges(config):
    optimizer = load(config, ["run.optimizer={betas: [0, 0], eps: 1e-5}"]).run.optimizer
    assert (optimizer.lr, optimizer.betas, optimizer.eps) == (1e-3, [0.0, 0.0], 1e-5)


def test_an_emptied_block_keeps_its_base_and_null_removes_an_optional_one(tmp_path):
    text = BASE.replace("train: train", "train: train, extract: {fps: 2}")
    (tmp_path / "base.yaml").write_text(text)
    path = tmp_path / "top.yaml"
    path.write_text("base: base.yaml\nrun:\n")
    assert load(path).run.max_epochs == 3 and load(path).datasets["star"].extract.fps == 2.0
    assert load(path, ["datasets.star.extract=null"]).datasets["star"].extract is None


def test_a_base_below_two_others_is_merged_once(tmp_path):
    (tmp_path / "ground.yaml").write_text(BASE)
    (tmp_path / "left.yaml").write_text("base: ground.yaml\nrun: {max_epochs: 5}\n")
    (tmp_path / "right.yaml").write_text("base: ground.yaml\nrun: {seed: 5}\n")
    path = tmp_path / "top.yaml"
    path.write_text("base: [left.yaml, right.yaml]\n")
    run = load(path).run
    assert (run.max_epochs, run.seed) == (5, 5)


@pytest.mark.parametrize(
    ("option", "value"),
    [("0.5", 0.5), ("1e-5", 1e-5), ("1E-5", 1e-5), ("3", 3.0), ("'2e-1'", 0.2), ("null", None), ("", None)],
)
def test_numbers_as_people_write_them(config, option, value):
    assert load(config, ["run.optimizer.betas=[0,0]", f"run.optimizer.lr={option}"]).run.optimizer.lr == value


def test_text_that_looks_like_a_number_needs_no_quotes_on_the_command_line(config):
    experiment = load(config, ["run.optimizer.betas=[0,0]", "run.output_dir=007", "datasets.star.eval=1e3"])
    assert experiment.run.output_dir == "007" and experiment.datasets["star"].eval == "1e3"


def test_the_resolved_config_reads_back_to_the_same(config, tmp_path):
    experiment = load(config, ["run.optimizer.betas=[0.9,0.95]", "run.optimizer.eps=1e-9", "datasets.star.eval='12'"])
    path = tmp_path / "run" / "config.yaml"
    path.parent.mkdir()
    path.write_text(resolved_yaml(experiment))
    again = load(path)
    for block in ("model", "datasets", "task", "run", "paths", "plugins"):
        assert getattr(again, block) == getattr(experiment, block)


def test_missing_values_may_stay_for_printing_only(config):
    options = ["run.optimizer.betas=[0,0]", "run.checkpoint=???"]
    with pytest.raises(ConfigError, match="run.checkpoint: needed"):
        load(config, options)
    assert load(config, options, allow_missing=True).run.checkpoint == "???"


def test_references_reach_defaults_environment_and_numbers(config, monkeypatch):
    monkeypatch.setenv("VIDALIGN_TEST_OUT", "/there")
    options = ["run.optimizer.betas=[0,0]", "run.output_dir=${oc.env:VIDALIGN_TEST_OUT}/${run.seed}"]
    assert load(config, [*options, "run.max_epochs=${run.seed}"]).run.max_epochs == 7
    assert load(config, options).run.output_dir == "/there/7"


def test_a_dotted_key_in_the_file_means_the_nested_one(config):
    config.write_text("base: base.yaml\nrun.optimizer.betas: [0, 0]\nrun:\n  schedule.min_lr: 1e-6\n")
    experiment = load(config)
    assert (experiment.run.optimizer.betas, experiment.run.schedule.min_lr) == ([0.0, 0.0], 1e-6)
    assert experiment.sources["run.optimizer.betas"] == f"{config}:2"
