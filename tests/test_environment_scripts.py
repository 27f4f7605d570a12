"""run_scripts/environment.sh and check_torch.py: broken environments are remade, wrong pairs explained."""

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from run_scripts.check_torch import CONSTRAINTS, exact, explain, pinned_pair

ROOT = Path(__file__).resolve().parents[1]


def pinned():
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if re.match(r"[\w.-]+==", line))


def shell(command, environment):
    script = f"source run_scripts/environment.sh; {command}"
    settings = {**os.environ, **environment}
    return subprocess.run(["bash", "-c", script], cwd=ROOT, env=settings, capture_output=True, text=True)


def test_the_wrong_pair_is_explained():
    error = RuntimeError("operator torchvision::nms does not exist")
    tested = pinned_pair(CONSTRAINTS.read_text(encoding="utf-8"))
    text = explain(error, {"torch": "2.13.0+cpu", "torchvision": "0.28.0"}, tested)
    assert "nms does not exist" in text and "2.13.0+cpu" in text
    assert f"torch==={tested['torch']} torchvision==={tested['torchvision']}" in text
    assert len(exact(tested)) == 2


def test_constraints_lie_in_the_declared_ranges():
    declared = re.findall(r'^\s+"([a-z][\w.-]*[^"]*>=[^"]+)"', (ROOT / "setup.py").read_text(), re.MULTILINE)
    versions = {name.lower().replace("_", "-"): number for name, number in pinned().items()}
    known = [Requirement(text) for text in declared]
    assert len(known) > 12
    for requirement in known:
        number = versions.get(requirement.name.lower())
        assert number is None or requirement.specifier.contains(Version(number)), str(requirement)
    core = {requirement.name for requirement in known}
    assert {"torch", "torchvision", "transformers", "omegaconf"} <= core & versions.keys()


def test_an_environment_without_pip_is_remade(tmp_path):
    folder = tmp_path / "env"
    venv.create(folder, with_pip=False)
    done = shell(f'_make_venv "{sys.executable}"', {"VIDALIGN_VENV": str(folder)})
    assert done.returncode == 0, done.stderr
    assert "made afresh" in done.stdout
    assert subprocess.run([folder / "bin/python", "-m", "pip", "--version"], capture_output=True).returncode == 0


def test_a_linked_environment_is_never_cleared(tmp_path):
    target = tmp_path / "precious"
    target.mkdir()
    (target / "file").touch()
    link = tmp_path / "env"
    link.symlink_to(target)
    done = shell(f'_make_venv "{sys.executable}"', {"VIDALIGN_VENV": str(link)})
    assert done.returncode == 1 and "remove the link" in done.stderr
    assert (target / "file").exists()


def test_an_up_to_date_environment_is_reused(tmp_path):
    folder = tmp_path / "env"
    venv.create(folder, with_pip=False)
    stamp = f'_fingerprint "{sys.executable}" > "$VENV/.vidalign-stamp"'
    done = shell(f"{stamp}; prepare_environment", {"VIDALIGN_VENV": str(folder)})
    assert done.returncode == 0 and "up to date" in done.stdout


def test_too_old_a_python_is_told():
    done = shell("_find_python", {"PYTHON": "/bin/false"})
    assert done.returncode == 1 and "3.11" in done.stderr


@pytest.mark.parametrize("script", ["run_scripts/test.sh", "run_scripts/environment.sh", ".ci/run"])
def test_scripts_are_valid_bash(script):
    assert subprocess.run(["bash", "-n", script], cwd=ROOT, capture_output=True).returncode == 0
    executable = os.access(ROOT / script, os.X_OK)
    assert executable == (script != "run_scripts/environment.sh")


def test_the_loop_of_the_readme_names_one_script_at_a_time():
    """A list in braces would run the first script with the others as its options."""
    [loop] = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("for system in")]
    recorder = 'bash() { [ $# = 1 ] && [ -f "$1" ] && echo "$1"; }\n'
    done = subprocess.run(["bash", "-ec", recorder + loop], cwd=ROOT, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 4
