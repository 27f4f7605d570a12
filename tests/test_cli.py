"""The `vidalign` command: light, and without tracebacks for a user's mistake."""

import os
import subprocess
import sys

import pytest

from vidalign.cli import guarded, main, run_arguments
from vidalign.common.errors import ConfigError, DataError

HEAVY = ("torch", "torchvision", "transformers", "pandas", "numpy", "decord", "av", "sentencepiece", "timm")
# Runs the command in its own process and reports the heavy modules it has loaded.
PROBE = f"""
import sys
from vidalign.cli import main
code = main(sys.argv[1:])
print("HEAVY:", [name for name in {HEAVY!r} if name in sys.modules])
sys.exit(code)
"""


def probe(repository, *arguments):
    return subprocess.run([sys.executable, "-c", PROBE, *arguments], cwd=repository, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["list"], 0),
        (["explain", "run.optimizer.lr"], 0),
        (["config", "configs/bovila/star_train.yaml"], 0),
        (["config", "configs/bovila/star_train.yaml", "--options", "run.sed=3"], 2),
        (["check", "configs/bovila/star_eval.yaml"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_nothing_heavy_is_imported(arguments, code, repository):
    done = probe(repository, *arguments)
    assert done.returncode == code, done.stderr
    assert "HEAVY: []" in done.stdout and "Traceback" not in done.stderr


def test_list_and_explain_print_what_is_registered(capsys):
    from vidalign import registry

    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    for table in registry.ALL:
        assert f"{table.kind}s\n" in shown
        assert all(f"  {name} " in shown and table.entry(name).summary in shown for name in table)
    assert main(["list", "datasets"]) == 0 and "bovila" not in capsys.readouterr().out
    assert main(["list", "dataset"]) == 0
    assert main(["list", "modles"]) == 2 and "Did you mean 'models'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("run.optimizer.lr", ("a number or null", "at least 0.0", "default null")),
        ("warmup_epochs", ("run.schedule.warmup_epochs",)),
        ("datasets.star.root", ("datasets.NAME.root", "must be given")),
        ("datasets.decoder", ("one of decord, torchcodec, pyav",)),
        ("model.adapter", ("model.adapter.length", "of: bovila, llama_vqa")),
        ("run.schedule.name", ("vidalign list schedules",)),
    ],
)
def test_explain(key, says, capsys):
    assert main(["explain", key]) == 0
    shown = capsys.readouterr().out
    assert all(part in shown for part in says), shown


def test_every_key_has_a_help_line():
    from vidalign.config.explain import _all_keys

    assert not [key.name for key, _ in _all_keys() if not key.help]


def test_config_prints_values_sources_one_value_or_yaml(capsys, monkeypatch, repository):
    monkeypatch.chdir(repository)
    path = "configs/bovila/star_eval.yaml"
    assert main(["config", path, "--options", "run.seed=3"]) == 0
    rows = {line.split()[0]: line.split()[-1] for line in capsys.readouterr().out.splitlines()}
    assert rows["run.seed"] == "--options" and rows["model.overflow"] == "default"
    assert rows["model.losses.vaq"].startswith("configs/bovila/star_train.yaml:")
    assert main(["config", path, "--get", "model.max_seq_len"]) == 0 and capsys.readouterr().out == "160\n"
    assert main(["config", path, "--get", "model.max_seq"]) == 2
    assert "Did you mean 'model.max_seq_len'?" in capsys.readouterr().err
    assert main(["config", path, "--yaml"]) == 0 and "checkpoint: ???" in capsys.readouterr().out


def test_check_lists_missing_files_together(capsys, monkeypatch, repository, tmp_path):
    monkeypatch.chdir(repository)
    options = ["--options", f"paths.data_root={tmp_path}", "run.checkpoint=no.pth", f"model.llm.path={tmp_path}/7B"]
    assert main(["check", "configs/bovila/star_eval.yaml", *options]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: 3 mistakes in") and "--options: run.checkpoint: no.pth does not exist" in told
    (tmp_path / "clips").mkdir()
    assert main(["check", "configs/bovila/clips_eval.yaml", "--options", f"datasets.clips.root={tmp_path}"]) == 0


def test_arguments_of_train_and_evaluate(capsys):
    argv = ["--cfg-path", "x.yaml", "--options", "a=1", "b=2", "--plugins", "m", "--options", "c=3", "--dry-run"]
    given = run_arguments("train", argv)
    assert (given.cfg_path, given.options, given.plugins, given.dry_run) == (
        "x.yaml",
        ["a=1", "b=2", "c=3"],
        ["m"],
        True,
    )
    with pytest.raises(SystemExit) as caught:
        run_arguments("train", [])
    assert caught.value.code == 2 and "--cfg-path" in capsys.readouterr().err


def test_guarded_tells_a_user_mistake_and_nothing_else(capsys, monkeypatch):
    def fail(error):
        raise error

    assert guarded(lambda: None) == 0
    assert guarded(lambda: fail(ConfigError("wrong"))) == 2 and capsys.readouterr().err == "error: wrong\n"
    with pytest.raises(ZeroDivisionError):
        guarded(lambda: fail(ZeroDivisionError()))
    monkeypatch.setitem(os.environ, "RANK", "3")
    assert guarded(lambda: fail(ConfigError("wrong"))) == 2 and capsys.readouterr().err == ""
    assert guarded(lambda: fail(DataError("row 7"))) == 2
    assert capsys.readouterr().err == "error (process 3): row 7\n"


@pytest.mark.parametrize(("entry", "config"), [("train.py", "star_train"), ("evaluate.py", "star_eval")])
def test_train_and_evaluate_tell_config_mistakes_before_heavy_imports(entry, config, repository, tmp_path):
    path = f"configs/bovila/{config}.yaml"
    changes = ["run.sed=3", "run.checkpoint=no.pth", f"paths.data_root={tmp_path}"]
    command = [sys.executable, "-X", "importtime", entry, "--cfg-path", path, "--options"]
    told = []
    for options in (changes, changes[1:]):  # a wrong key; then only files that are not there
        done = subprocess.run([*command, *options], cwd=repository, capture_output=True, text=True)
        assert done.returncode == 2 and "Traceback" not in done.stderr
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import")}
        assert "yaml" in imported and not imported & set(HEAVY)
        told.append([line for line in done.stderr.splitlines() if not line.startswith("import")])
    assert told[0] == [
        f"error: 1 mistake in {path}",
        "  --options: run.sed = 3: unknown key. Did you mean run.seed? Rename it or remove it.",
    ]
    assert told[1][0] == f"error: 3 mistakes in {path}" and any(
        "run.checkpoint: no.pth does" in line for line in told[1]
    )
