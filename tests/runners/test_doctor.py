"""`vidalign doctor`: every trap is named with a remedy, and only real problems make the exit code non-zero."""

import resource
import sys
from types import SimpleNamespace

import pytest

from vidalign.cli import main
from vidalign.runners import doctor, requirements
from vidalign.runners.doctor import NOTE, OK, PROBLEM, WARNING, Finding

TORCH_FACTS = {"version": "2.12.1", "built_for": "13.0", "usable": False, "told": [], "gpus": [], "pair": None}
TORCH_FACTS |= {"bf16": False, "flash": False}


def levels(findings):
    return {one.subject: one.level for one in findings}


def test_this_machine(capsys):
    heavy = {"torch", "torchvision", "decord"} - set(sys.modules)
    code = main(["doctor"])
    shown = capsys.readouterr().out
    subjects = ("python", "packages", "torch pair", "decord", "gpu", "open files", "java", "tiktoken", "tensorboard")
    for subject in subjects:
        assert f" {subject} " in shown, subject
    assert code == (0 if "0 problems" in shown else 2)
    assert not heavy & set(sys.modules), "heavy packages are imported in children only"


def test_declared_and_tested_are_read_without_running_setup(tmp_path, monkeypatch):
    here = requirements.declared()
    assert any(line.startswith("torch>=") for line in here["core"]) and "av>=18" in here["video"]
    assert requirements.tested()["pyyaml"] and requirements.tested()["huggingface-hub"]
    monkeypatch.setattr(requirements, "CHECKOUT", tmp_path)  # installed from a wheel: no setup.py beside the package
    lines = ["torch>=2.11", 'av>=18; extra == "video"', "decord>=0.6; sys_platform == 'linux'"]
    monkeypatch.setattr(requirements.metadata, "requires", lambda name: lines)
    assert requirements.declared() == {"core": [lines[0], lines[2]], "video": ["av>=18"]}
    assert requirements.tested() == {}


def test_every_declared_package_says_what_it_is_for():
    from packaging.requirements import Requirement

    names = {
        Requirement(line).name for extra, lines in requirements.declared().items() if extra != "dev" for line in lines
    }
    assert names - {"numpy"} <= set(doctor.ENABLES) | set(doctor.VITAL)


def test_versions_against_the_ranges(monkeypatch):
    versions = {"torch": "2.12.9", "vital": None, "einops": "0.1", "timm": "9.9", "peft": None, "decord": None}
    lines = ["torch>=2.11", "omegaconf>=2.3", "einops>=0.8", "timm>=1", "peft>=0.2", "decord>=0.6; sys_platform == 'x'"]
    monkeypatch.setattr(doctor, "declared", lambda: {"core": lines})
    monkeypatch.setattr(doctor, "tested", lambda: {"timm": "1.0.31", "torch": "2.12.1"})
    monkeypatch.setattr(doctor, "installed_version", versions.get)
    found = {one.subject: one for one in doctor.packages()}
    assert levels(found.values()) == {
        "omegaconf": PROBLEM,
        "einops": PROBLEM,
        "timm": NOTE,
        "peft": WARNING,
        "packages": OK,
    }
    assert found["omegaconf"].remedy == "pip install 'omegaconf>=2.3'"
    assert "0.1 is older" in found["einops"].text and "newer than the tested 1.0.31" in found["timm"].text
    assert "(LoRA)" in found["peft"].text and found["packages"].text.startswith("1 core")


def test_the_pair_that_does_not_fit(tmp_path, monkeypatch):
    """Two builds that do not belong together: torchvision's operators cannot be registered."""
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    facts = doctor._child(doctor.TORCH)
    [finding] = doctor.torch_pair(facts)
    assert finding.level == PROBLEM and "operator torchvision::nms does not exist" in finding.text
    assert "torch" in finding.text.partition("asks for")[2] and "same index" in finding.remedy


def test_torch_that_cannot_be_imported(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("raise OSError('libcudart.so.13: cannot open shared object file')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    told = doctor._child(doctor.TORCH)
    [finding] = doctor.torch_pair(told)
    assert finding.level == PROBLEM and "libcudart.so.13" in finding.text and not list(doctor.gpu(told))


def test_children_that_hang_or_crash(monkeypatch):
    monkeypatch.setattr(doctor, "CHILD_SECONDS", 0.5)
    assert doctor._child("import time; time.sleep(60)") == "no answer within 0.5 s"
    monkeypatch.setattr(doctor, "CHILD_SECONDS", 60)
    assert doctor._child("import os; os.abort()") == "it crashed (signal 6)"
    assert doctor._child("raise SystemExit(3)") == "no reason given"
    assert doctor._child("print('noise'); print('FACTS {\"a\": 1}')") == {"a": 1}


def test_decoders(monkeypatch):
    versions = {"decord": "0.6.0", "torchcodec": "0.17.0", "av": None}
    monkeypatch.setattr(doctor, "installed_version", versions.get)
    monkeypatch.setattr(doctor, "_child", lambda code: {} if "decord" in code else "libavutil.so.59: cannot open")
    found = {one.subject: one for one in doctor.decoders()}
    assert levels(found.values()) == {"decord": OK, "torchcodec": WARNING, "pyav": NOTE}
    assert "libavutil" in found["torchcodec"].text and "apt install ffmpeg" in found["torchcodec"].remedy
    versions["decord"] = None
    assert levels(doctor.decoders())["decoders"] == PROBLEM


@pytest.mark.parametrize(
    ("facts", "hidden", "devices", "says"),
    [
        ({"built_for": None}, None, 1, ("without CUDA", "install the CUDA build")),
        ({"built_for": None}, None, 0, ("without CUDA", None)),
        ({}, "", 1, ("CUDA_VISIBLE_DEVICES='' hides", "unset")),
        ({}, "-1", 1, ("hides all GPUs", "unset")),
        ({}, None, 0, ("no NVIDIA device is visible", None)),
        ({"told": ["CUDA initialization: driver too old"]}, "0", 1, ("driver too old", "update the driver")),
        ({}, None, 1, ("cannot be started", "for CUDA 13.0")),
    ],
)
def test_why_the_cpu_is_used(facts, hidden, devices, says, monkeypatch, tmp_path):
    for number in range(devices):
        (tmp_path / f"nvidia{number}").touch()
    monkeypatch.setattr(doctor, "DEVICES", tmp_path)
    if hidden is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    [finding] = doctor.gpu(TORCH_FACTS | facts)
    assert finding.level == NOTE and says[0] in finding.text
    assert says[1] in finding.remedy if says[1] else finding.remedy is None


def test_what_a_gpu_can():
    gpus = [["NVIDIA H200", 9, 0, 139 * 2**30], ["Tesla V100", 7, 0, 16 * 2**30]]
    new, old = doctor.gpu(TORCH_FACTS | {"usable": True, "gpus": gpus, "bf16": True, "flash": True})
    assert new.level == OK and "NVIDIA H200, 139 GiB, compute capability 9.0" in new.text
    assert "bf16 yes, flash attention yes" in new.text and new.remedy is None
    assert "bf16 no, flash attention no" in old.text and "fp16" in old.remedy


def test_limits_of_the_machine(monkeypatch):
    small = SimpleNamespace(f_bavail=64, f_frsize=2**20)
    monkeypatch.setattr(doctor.os, "statvfs", lambda folder: small)
    [finding] = doctor.shared_memory()
    assert finding.level == WARNING and "64 MiB" in finding.text and "--shm-size" in finding.remedy
    monkeypatch.setattr(doctor.resource, "getrlimit", lambda kind: (1024, resource.RLIM_INFINITY))
    [finding] = doctor.open_files()
    assert finding.level == WARNING and finding.remedy == "ulimit -n unlimited"
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    assert levels(doctor.disk()) == {"disk": WARNING}


def test_java(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert levels(doctor.java()) == {"java": NOTE}
    (tmp_path / "java").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "java").chmod(0o755)
    assert levels(doctor.java()) == {"java": WARNING}
    (tmp_path / "java").write_text("#!/bin/sh\necho 'openjdk version \"17\"' >&2\n")
    assert [one.text for one in doctor.java()] == ['openjdk version "17"']


def test_exit_code_and_report(monkeypatch, capsys):
    findings = [Finding(WARNING, "open files", "few", "ulimit"), Finding(NOTE, "java", "is not there")]
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    assert main(["doctor"]) == 0
    assert "warning  open files  few" in capsys.readouterr().out
    findings.append(Finding(PROBLEM, "torch", "broken", "reinstall"))
    assert main(["doctor"]) == 2
    told = capsys.readouterr()
    assert "-> reinstall" in told.out and "1 problems, 1 warnings, 1 notes" in told.out
    assert told.err == "error: this machine is not ready: torch\n"
    assert len(told.out.splitlines()) == 6
