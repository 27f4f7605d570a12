"""The table of several seeds: means, metrics.json, and what is told when a number is missing."""

import json
import subprocess
import sys

import pytest


def seeds(folder, values):
    for seed, value in enumerate(values):
        for run, entry in (("", {"accuracy_core": value}), ("blank", {"accuracy_core": value / 2})):
            (folder / f"seed{seed}" / run).mkdir(parents=True, exist_ok=True)
            (folder / f"seed{seed}" / run / "metrics.json").write_text(json.dumps({"shapes/test": entry}))


def run(repository, *arguments):
    command = [sys.executable, "data_prep/shapes_table.py", *map(str, arguments)]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True)


NUMBERS = ("--numbers", "R@1=:shapes/test:accuracy_core", "blank=blank:shapes/test:accuracy_core")


def test_means_and_seeds_of_every_folder(repository, tmp_path):
    seeds(tmp_path / "one", (0.5, 0.75))
    seeds(tmp_path / "two", (0.25,))
    done = run(repository, tmp_path / "one", tmp_path / "two", *NUMBERS)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "one" / "metrics.json").read_text()) == {
        "shapes/test": {
            "R@1": 0.625,
            "R@1_std": pytest.approx(0.125 * 2**0.5),
            "blank": 0.3125,
            "blank_std": pytest.approx(0.0625 * 2**0.5),
            "R@1_seed0": 0.5,
            "R@1_seed1": 0.75,
            "blank_seed0": 0.25,
            "blank_seed1": 0.375,
        }
    }
    rows = [line.split() for line in done.stdout.splitlines() if line]
    assert ["one", "seed0", "seed1", "mean", "std"] in rows and ["two", "seed0", "mean", "std"] in rows
    assert ["R@1", "0.500", "0.750", "0.625", "0.177"] in rows and ["blank", "0.125", "0.125", "0.000"] in rows


def test_a_number_that_is_not_finite_is_shown(repository, tmp_path):
    seeds(tmp_path, (0.5, 0.5))
    (tmp_path / "seed1" / "metrics.json").write_text('{"shapes/test": {"accuracy_core": null}}')
    done = run(repository, tmp_path, *NUMBERS[:2])
    assert done.returncode == 0, done.stderr
    assert ["R@1", "0.500", "nan", "nan", "nan"] in [line.split() for line in done.stdout.splitlines()]


def test_a_missing_number_is_named(repository, tmp_path):
    seeds(tmp_path, (0.5,))
    for column, said in (
        ("core=:shapes/test:acuracy", "only accuracy_core"),
        ("core=nowhere:shapes/test:accuracy_core", "is missing"),
        ("core", "NAME=RUN:DATASET/SPLIT:METRIC"),
    ):
        done = run(repository, tmp_path, "--numbers", column)
        assert done.returncode == 2 and said in done.stderr
    assert "no run seed<n>" in run(repository, tmp_path / "seed0", *NUMBERS).stderr
