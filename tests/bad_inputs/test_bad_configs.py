"""Config files that are hostile or damaged as files.

The ordinary mistakes (more than 60: unknown and misplaced keys, types, limits, names, references, files) are in
tests/config/test_config_errors.py.
"""

import os

import pytest

from vidalign.cli import main


def bomb():
    """Nine aliases of nine aliases of ... : a text of a few hundred bytes that stands for 3 * 10^9 values."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)]
    return "\n".join(lines)


FILES = {
    "a tag that would make a folder": ("run: !!python/object/apply:os.mkdir [HARM]\n", "malformed YAML"),
    "a tag that names a function": ("run: {seed: !!python/name:os.system }\n", "malformed YAML"),
    "a tag that makes an object": ("run: !!python/object/new:os.mkdir {args: [HARM]}\n", "malformed YAML"),
    "aliases without end": (bomb(), "its aliases stand for far too many values"),
    "a list that contains itself": ("run: &a [*a]\n", "a block contains itself"),
    "brackets nested too deeply": ("a: " + "[" * 3000 + "]" * 3000, "nested too deeply"),
    "blocks nested too deeply": ("run: " + "{a: " * 100 + "1" + "}" * 100, "nested too deeply"),
    "a zero byte": ("run: {seed: \0}\n", "special characters are not allowed"),
    "a number of 6000 digits": ("run: {seed: " + "9" * 6000 + "}\n", "4300 digits"),
    "two documents": ("run: {seed: 1}\n---\nrun: {seed: 2}\n", "another document"),
    "a merge of a number": ("run: {<<: 3}\n", "malformed YAML"),
    "a key that is a list": ("? [1, 2]\n: 3\n", "malformed YAML"),
    "another version of YAML": ("%YAML 9.9\n---\nrun: {}\n", "incompatible YAML"),
    "an empty file": ("", "the block `model` is needed"),
    "a text": ("hello", "the file is not a block of keys"),
    "Latin-1": ("run: {seed: 1}  # é\n".encode("latin-1"), "cannot read"),
    "UTF-16": ("run: {seed: 1}\n".encode("utf-16"), "cannot read"),
    "a checkpoint": (bytes(range(256)) * 8, "cannot read"),
}


@pytest.mark.parametrize(("content", "says"), FILES.values(), ids=FILES)
def test_each_ends_in_one_clear_error(content, says, tmp_path, capsys):
    path, harm = tmp_path / "c.yaml", tmp_path / "harm"
    path.write_bytes(content if isinstance(content, bytes) else content.replace("HARM", str(harm)).encode())
    assert main(["check", str(path)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(("error: 1 mistake in", "error: 3 mistakes in")) and says in told and str(path) in told
    assert not harm.exists()


def test_a_folder_and_a_pipe_are_no_config(tmp_path, capsys):
    assert main(["check", str(tmp_path)]) == 2 and "cannot read" in capsys.readouterr().err
    os.mkfifo(tmp_path / "pipe.yaml")  # opening it would wait for ever
    assert main(["check", str(tmp_path / "pipe.yaml")]) == 2 and "cannot read" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option",
    ["run.seed=!!python/object/apply:os.mkdir [HARM]", "run.output_dir=${oc.eval:1}", "paths.cache=" + "[" * 3000],
)
def test_hostile_options(option, tmp_path, capsys, repository, monkeypatch):
    monkeypatch.chdir(repository)
    harm = tmp_path / "harm"
    argv = ["check", "configs/bovila/clips_eval.yaml", "--options", option.replace("HARM", str(harm))]
    assert main(argv) == 2
    assert "--options: " in capsys.readouterr().err and not harm.exists()
