"""Every kind of config mistake gives one line with file, line, key, nearest name and remedy; all come together."""

import contextlib
import re
import subprocess
import sys
from dataclasses import dataclass

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vidalign.common.errors import ConfigError
from vidalign.config.explain import _all_keys
from vidalign.config.keys import options_of
from vidalign.config.load import check_files, load, values_with_sources

GOOD = """\
model:
  arch: bovila
  size: tiny
  llm: {format: random}
  adapter: {length: 10}
  losses: {answer: evidential, uncertainty_gate: true}
datasets:
  star:
    root: ROOT
    train: train
    eval: val
task: {name: multiple_choice}
run:
  max_epochs: 3
  optimizer: {lr: 1e-3}
"""


@dataclass
class Case:
    """Replace `old` by `new` in GOOD; the message names the line that holds `line` and says all of `says`."""

    name: str
    old: str
    new: str
    key: str
    says: tuple[str, ...]
    line: str = ""


RUN = "  max_epochs: 3\n"
CASES = [
    # unknown keys at every level
    Case("block", "run:\n", "rum:\n", "rum", ("Did you mean run?", "Rename")),
    Case("model key", "size: tiny", "sise: tiny", "model.sise", ("'tiny'", "Did you mean model.size?", "Rename")),
    Case("nested key", "length: 10", "lenght: 10", "model.adapter.lenght", ("Did you mean model.adapter.length?",)),
    Case("dataset key", "eval: val", "evl: val", "datasets.star.evl", ("Did you mean datasets.star.eval?",)),
    Case("task key", "{name: mul", "{size: 3, name: mul", "task.size", ("belongs to model.size", "Move it")),
    Case("optimizer key", "{lr: 1", "{learning: 1", "run.optimizer.learning", ("Known in this block:", "Remove it")),
    Case("nothing near", RUN, "  zzz: 1\n", "run.zzz", ("unknown key", "Known in this block:", "max_epochs")),
    Case("odd key", RUN, "  'max epochs': 1\n", "run.max epochs", ("no key looks like this", "Rename it")),
    Case("number as key", RUN, "  7: 1\n", "run.7", ("unknown key", "Known in this block:")),
    # keys at a wrong level
    Case("model key in dataset", "eval: val", "num_frames: 8", "datasets.star.num_frames", ("to model.num_frames",)),
    Case("lr in run", RUN, "  lr: 1e-3\n", "run.lr", ("= 0.001", "belongs to run.optimizer.lr", "Move it there")),
    Case("base_lr in model", "size: tiny", "base_lr: 1", "model.base_lr", ("belongs to run.optimizer.base_lr",)),
    Case("warm-up in run", RUN, "  warmup_epochs: 1\n", "run.warmup_epochs", ("run.schedule.warmup_epochs",)),
    Case("run key at the top", "task:", "seed: 3\ntask:", "seed", ("belongs to run.seed", "Move it"), "seed: 3"),
    Case("optimizer in schedule", RUN, "  schedule: {betas: []}\n", "run.schedule.betas", ("run.optimizer.betas",)),
    # wrong types
    Case("text for a number", "length: 10", "length: ten", "model.adapter.length", ("'ten'", "whole number", "digits")),
    Case("fraction for int", "max_epochs: 3", "max_epochs: 3.5", "run.max_epochs", ("whole number", "fraction")),
    Case("float for int", "max_epochs: 3", "max_epochs: 3.0", "run.max_epochs", ("whole number", "Write 3.")),
    Case("bool for int", "max_epochs: 3", "max_epochs: true", "run.max_epochs", ("whole number", "true/false")),
    Case("int for bool", RUN, "  compile: 1\n", "run.compile", ("true or false is wanted", "Write true or false")),
    Case("number for text", "size: tiny", "size: 7", "model.size", ("text is wanted", "Put it in quotes: '7'")),
    Case("yes for text", "train: train", "train: yes", "datasets.star.train", ("YAML reads yes", "quotes")),
    Case("list for scalar", "max_epochs: 3", "max_epochs: [3]", "run.max_epochs", ("a list", "Write 3 without")),
    Case("scalar for list", "{lr: 1", "{betas: 3, lr: 1", "run.optimizer.betas", ("a list of numbers", "Write [3]")),
    Case(
        "bad list entry", "{lr: 1", "{betas: [x, 1], lr: 1", "run.optimizer.betas", ("entry 'x'", "a number is wanted")
    ),
    Case("block for scalar", "max_epochs: 3", "max_epochs: {a: 1}", "run.max_epochs", ("not a block",)),
    Case("scalar for block", "task: {name: multiple_choice}", "task: multiple_choice", "task", ("Write task: {name:",)),
    Case("dataset no block", "  star:", "  vlep: 3\n  star:", "datasets.vlep", ("Write vlep: {root",)),
    Case("null", "max_epochs: 3", "max_epochs: null", "run.max_epochs", ("null", "whole number is wanted", "Give a")),
    Case("not finite", "{lr: 1e-3", "{lr: .nan", "run.optimizer.lr", ("finite number", "Write it like")),
    # values outside their limits
    Case("too low", "length: 10", "length: 0", "model.adapter.length", ("at least 1", "nearest legal value is 1")),
    Case("too high", RUN, "  max_failed_share: 5\n", "run.max_failed_share", ("from 0.0 to 1.0", "value is 1.0")),
    Case("choice", RUN, "  precision: fp61\n", "run.precision", ("fp32, bf16, fp16", "Did you mean 'fp16'?", "Choose")),
    # unknown names
    Case("model name", "arch: bovila", "arch: bovilla", "model.arch", ("unknown model", "mean 'bovila'?", "--plugins")),
    Case("dataset name", "  star:\n", "  starr:\n", "datasets.starr", ("unknown dataset", "mean 'star'?", "Choose")),
    Case("task name", "name: multiple_choice", "name: multi_choice", "task.name", ("mean 'multiple_choice'?",)),
    Case("runner", RUN, "  runner: defaut\n", "run.runner", ("unknown runner", "Did you mean 'default'?", "Choose")),
    Case("schedule", RUN, "  schedule: {name: cosine}\n", "run.schedule.name", ("'warmup_cosine'?", "Choose")),
    Case("size", "size: tiny", "size: llama_7", "model.size", ("unknown size", "Did you mean 'llama_7b'?", "Choose")),
    # what must be given
    Case("required value", "    root: ROOT\n", "", "datasets.star.root", ("needed", "--options"), "star:"),
    Case("question marks", RUN, "  checkpoint: ???\n", "run.checkpoint", ("needed", "run.checkpoint=VALUE")),
    Case("no arch", "  arch: bovila\n", "", "model.arch", ("needed", "Known: bovila", "Write one"), "model:"),
    Case("no task", "task: {name: multiple_choice}\n", "", "task", ("is needed", "Write task: {name"), "model:"),
    # interpolations
    Case("unknown reference", "root: ROOT", "root: ${path.data_root}", "datasets.star.root", ("${paths.data_root}?",)),
    Case("broken reference", "root: ROOT", "root: ${paths.data", "datasets.star.root", ("malformed", "Write it like")),
    Case("variable", "root: ROOT", "root: ${oc.env:NO_SUCH_ONE}", "datasets.star.root", ("NO_SUCH_ONE", "Name a key")),
    Case("circle", "root: ROOT", "root: ${datasets.star.root}", "datasets.star.root", ("Recursive",)),
    # YAML itself
    Case("tab", "  size: tiny", "\tsize: tiny", "", ("malformed YAML", "spaces, not tabs"), "size: tiny"),
    Case("bracket", "{length: 10}", "{length: 10", "", ("malformed YAML", "{ and [ is closed"), "losses:"),
    Case("reference in { }", "{length: 10}", "{length: ${run.seed}}", "", ("malformed YAML", "in quotes")),
    Case("duplicate", RUN, "  seed: 1\n  seed: 2\n", "run.seed", ("stands twice", "in line 14", "Remove"), "seed: 2"),
    # values that do not fit each other
    Case("gate", "answer: evidential", "answer: ce", "model.losses.uncertainty_gate", ("evidential", "switch it off")),
    Case("too many layers", "{length: 10}", "{layers: 9}", "model.adapter.layers", ("has 2 layers", "Write 2")),
    Case("skipped layers", "{length: 10}", "{layers: 1}", "model.adapter.layers", ("left out", "skip_lower_layers")),
    Case("no weights", "format: random", "format: meta", "model.llm.path", ("needs the weights", "format: random")),
    Case("warm-up", RUN, "  schedule: {warmup_epochs: 4}\n", "run.schedule.warmup_epochs", ("longer", "Lower it")),
    Case(
        "two features", "eval: val", "features: f\n    extract: {}", "datasets.star.extract", ("Remove one",), "extract"
    ),
    # other files and plug-ins
    Case("base missing", "model:\n", "base: no.yaml\nmodel:\n", "base", ("no.yaml does not exist", "Correct"), "base:"),
    Case("base circle", "model:\n", "base: c.yaml\nmodel:\n", "base", ("circle", "c.yaml -> ", "Remove"), "base:"),
    Case("base type", "model:\n", "base: {a: 1}\nmodel:\n", "base", ("or base: [first",), "base:"),
    Case(
        "plug-in", "model:\n", "plugins: [no_mod]\nmodel:\n", "plugins", ("no module 'no_mod'", "Correct"), "plugins:"
    ),
]


def write(folder, text):
    path = folder / "c.yaml"
    path.write_text(text.replace("ROOT", str(folder)))
    return path


def line_of(text, part):
    return next(number for number, line in enumerate(text.splitlines(), start=1) if part in line)


def message(path, *overrides, **kwargs):
    with pytest.raises(ConfigError) as caught:
        load(path, list(overrides), **kwargs)
    return str(caught.value)


def test_the_good_config_is_good(tmp_path):
    experiment = load(write(tmp_path, GOOD), purpose="train")
    assert experiment.run.optimizer.lr == 1e-3 and experiment.datasets["star"].root == str(tmp_path)
    check_files(experiment)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_mistake_names_place_key_and_remedy(case, tmp_path):
    assert case.old in GOOD
    text = GOOD.replace(case.old, case.new, 1)
    path = write(tmp_path, text)
    told = message(path)
    lines = told.splitlines()
    assert lines[0] == f"1 mistake in {path}" and len(lines) == 2, told
    line = line_of(text, case.line or case.new.strip().splitlines()[0])
    subject = f"{case.key} = " if f": {case.key} = " in lines[1] else f"{case.key}: " if case.key else ""
    assert lines[1].startswith(f"  {path}:{line}: {subject}"), lines[1]
    for part in case.says:
        assert part in lines[1], f"{part!r} is not in: {lines[1]}"


OVERRIDES = [
    ("run.sed=3", "run.sed = 3", ("Did you mean run.seed?", "Rename")),
    ("run.max_epochs=many", "run.max_epochs = 'many'", ("whole number",)),
    ("run.lr=1", "run.lr = 1", ("belongs to run.optimizer.lr",)),
    ("modell.size=tiny", "modell", ("Did you mean model?",)),
    ("run.seed.x=1", "run.seed = {'x': 1}", ("whole number", "not a block")),
    ("run.max_steps", "'run.max_steps'", ("KEY=VALUE",)),
    ("=3", "'=3'", ("without blanks",)),
    ("--dryrun", "'--dryrun'", ("Did you mean the flag --dry-run?",)),
    ("run.optimizer.betas=[0.9,", "run.optimizer.betas = '[0.9,'", ("malformed", "quote the whole option")),
    ("plugins=x", "plugins = 'x'", ("--plugins",)),
    ("base=x", "base = 'x'", ("from the file only",)),
]


@pytest.mark.parametrize(("option", "subject", "says"), OVERRIDES, ids=lambda value: str(value)[:24])
def test_mistakes_on_the_command_line_name_it(option, subject, says, tmp_path):
    told = message(write(tmp_path, GOOD), option)
    assert f"  --options: {subject}: " in told and told.startswith("1 mistake"), told
    assert all(part in told for part in says), told


@pytest.mark.parametrize("text", ["2024-01-01", "2024-13-45", "2024-01-01 10:00:00"])
def test_a_date_is_text(text, tmp_path):
    assert load(write(tmp_path, GOOD), [f"run.output_dir={text}"]).run.output_dir == text
    inside = GOOD.replace(RUN, f"{RUN}  output_dir: {text}\n")
    assert load(write(tmp_path, inside)).run.output_dir == text


def test_a_leading_tilde_of_a_path_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    options = ["run.output_dir=~/out", "paths.data_root=~/data", "datasets.star.root=${paths.data_root}/star"]
    experiment = load(write(tmp_path, GOOD), [*options, "run.best_metric=~/x", "paths.cache=a/~/b"])
    assert (
        experiment.run.output_dir == f"{tmp_path}/out" and experiment.datasets["star"].root == f"{tmp_path}/data/star"
    )
    assert (experiment.run.best_metric, experiment.paths.cache) == ("~/x", "a/~/b")
    assert load(write(tmp_path, GOOD), ["run.output_dir=~nobody_of_this_name/out"]).run.output_dir[0] == "~"
    write(tmp_path, GOOD.replace("ROOT", "~/star"))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/d.yaml").write_text("base: ~/c.yaml\n")
    assert load(tmp_path / "sub/d.yaml").datasets["star"].root == f"{tmp_path}/star"


def test_every_file_and_folder_is_declared_a_path():
    """By its help line or its default: what such a key names may begin with ~."""
    named = re.compile(r"\b(file|folder|path)s? |\.(txt|jar|pth|model|json)\b|\bfolder\b")
    unlike = {"model.llm.format", "model.legacy_tokens", "model.weights.format"}
    forgotten = [
        key.name
        for key, _ in _all_keys()
        if str in options_of(key.hint)
        and not key.limits.get("path")
        and named.search(f"{key.help} {key.default}")
        and key.name not in unlike
    ]
    assert not forgotten, forgotten


def test_a_missing_config_names_its_neighbour(tmp_path):
    write(tmp_path, GOOD)
    assert f"Did you mean {tmp_path / 'c.yaml'}?" in message(tmp_path / "cc.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    assert f"{tmp_path / 'list.yaml'}:1: the file is not a block of keys" in message(tmp_path / "list.yaml")


def test_a_task_that_the_model_cannot_do(tmp_path, monkeypatch):
    from vidalign import registry

    entry = registry.Entry("x:Y", "vidalign.tasks.config:MultipleChoiceConfig", needs="sing")
    monkeypatch.setitem(registry.TASKS._table, "describe", entry)
    path = write(tmp_path, GOOD.replace("name: multiple_choice", "name: describe"))
    told = message(path)
    assert f"{path}:{line_of(GOOD, 'task:')}: task.name = 'describe': this task needs `sing`" in told
    assert "Models that have it: none. Tasks for 'bovila': multiple_choice." in told and "Choose another" in told


def test_several_mistakes_come_together_in_file_order(tmp_path):
    text = GOOD.replace("size: tiny", "sise: tiny").replace("arch: bovila", "arch: bovilla")
    text = text.replace("answer: evidential", "answer: ce").replace("eval: val", "evl: val").replace("1e-3", "fast")
    told = message(write(tmp_path, text), "run.sed=3").splitlines()
    assert told[0].startswith("6 mistakes in ")
    gate = "model.losses.uncertainty_gate"
    for key in ("run.sed", "model.arch", "model.sise", gate, "datasets.star.evl", "run.optimizer.lr"):
        assert sum(f" {key} = " in line or f" {key}: " in line for line in told) == 1, (key, told)
    numbers = [int(line.split(":")[1]) for line in told[2:]]
    assert numbers == sorted(numbers)


def test_a_mistake_in_a_base_file_names_that_file(tmp_path):
    base = tmp_path / "base.yaml"
    base.write_text("run:\n\n  sed: 3\n")
    path = write(tmp_path, "base: base.yaml\n" + GOOD)
    assert f"  {base}:3: run.sed = 3: unknown key." in message(path)


def test_values_that_are_given_later_repair_a_base_file(tmp_path):
    (tmp_path / "base.yaml").write_text("run:\n  checkpoint: ???\n  max_epochs: 0\n")
    path = write(tmp_path, "base: base.yaml\n" + GOOD)
    assert load(path, ["run.checkpoint=w.pth"]).run.checkpoint == "w.pth"


FILES = [
    ("root: ROOT", "root: ROOT/sta", "datasets.star.root", ("does not exist", "Give the folder of the benchmark")),
    ("eval: val", "features: clip.pth", "datasets.star.features", ("Did you mean", "clipvitl14.pth?", "relative")),
    ("eval: val", "videos: vids", "datasets.star.videos", ("does not exist", "relative to root")),
    ("{format: random}", "{format: meta, path: ROOT/7B}", "model.llm.path", ("does not exist", "params.json")),
    ("{format: random}", "{format: meta, path: ROOT}", "model.llm.path", ("holds no consolidated.*.pth",)),
    ("{format: random}", "{format: hf, path: /no/where}", "model.llm.path", ("no folder /no", "Hugging Face folder")),
    ("{format: random}", "{format: random, tokenizer: ROOT/t}", "model.llm.tokenizer", ("tokenizer.model",)),
    ("max_epochs: 3", "checkpoint: ROOT/best.pth", "run.checkpoint", ("does not exist", "or null")),
]


@pytest.mark.parametrize(("old", "new", "key", "says"), FILES, ids=lambda value: str(value)[:30])
def test_missing_files_are_told_with_their_place(old, new, key, says, tmp_path):
    (tmp_path / "clipvitl14.pth").touch()
    text = GOOD.replace(old, new, 1)
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        check_files(load(path))
    assert f"  {path}:{line_of(text, new)}: {key}: " in str(caught.value), caught.value
    assert all(part in str(caught.value) for part in says), caught.value


def test_what_training_and_evaluation_need(tmp_path):
    path = write(tmp_path, GOOD.replace("train: train", "").replace("eval: val", "").replace("{lr: 1e-3}", "{}"))
    told = message(path, purpose="train")
    assert "datasets.star.train: no dataset has a split to train on" in told and "needs a learning rate" in told
    assert "no dataset has a split to evaluate on" in message(path, purpose="evaluate")
    load(path)
    told = message(write(tmp_path, GOOD), "datasets.vlep.root=x", purpose="train")
    assert "--options: datasets.vlep: this dataset has neither" in told and "Is 'star' meant?" in told


def test_every_misspelt_key_is_recognised(tmp_path):
    path = write(tmp_path, GOOD)
    everything = [key for key, _, _ in values_with_sources(load(path)) if key != "plugins"]
    names = [key for key in everything if len(key.rpartition(".")[2]) > 3]
    wrong = {}
    for name in names:
        block, _, last = name.rpartition(".")
        misspelt = f"{block}.{last[:2]}{last[3:]}"
        told = message(path, f"{misspelt}=1") if misspelt not in names else ""
        if f"Did you mean {name}?" not in told:
            wrong[misspelt] = told
    assert len(names) > 50 and not wrong


YAML_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["???", "${run.seed}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
PLACES = [
    "model",
    "model.llm",
    "model.size",
    "datasets",
    "datasets.star",
    "datasets.star.extract",
    "task",
    "run",
    "base",
]
PLACES += ["run.seed", "run.optimizer", "run.optimizer.betas", "run.schedule.name", "paths", "plugins", "run.compile"]


@given(st.dictionaries(st.sampled_from(PLACES), YAML_VALUES, max_size=3))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_value_anywhere_gives_a_traceback(tmp_path, values):
    (tmp_path / "good.yaml").write_text(GOOD)
    path = tmp_path / "any.yaml"
    bases = {"base": "good.yaml"} if "base" not in values else {}
    path.write_text(yaml.safe_dump(bases | values, allow_unicode=True), encoding="utf-8")
    with contextlib.suppress(ConfigError):
        load(path, purpose="train")


@given(st.text(max_size=40))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_gives_a_traceback(tmp_path, text):
    path = write(tmp_path, GOOD)
    with contextlib.suppress(ConfigError):
        load(path, [text, f"run.seed={text}", f"datasets.star.{text}"])
    (tmp_path / "text.yaml").write_text(text, encoding="utf-8", errors="replace")
    with contextlib.suppress(ConfigError):
        load(tmp_path / "text.yaml")


def test_a_block_that_contains_itself(tmp_path):
    assert "malformed YAML: a block contains itself" in message(write(tmp_path, "run: &a {x: *a}\n"))


def test_the_command_prints_no_traceback(tmp_path, repository):
    path = write(tmp_path, GOOD.replace("size: tiny", "sise: tiny"))
    command = [sys.executable, "-m", "vidalign", "check", str(path), "--options", "run.sed=1"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"error: 2 mistakes in {path}\n") and "Traceback" not in done.stderr
