"""`vidalign doctor`: is this machine ready, and what would make it so?

Heavy packages are imported in child processes with a time limit only: a broken one tells its error and stops nothing.
"""

from __future__ import annotations

import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from vidalign.runners.requirements import declared, tested

OK, NOTE, WARNING, PROBLEM = "ok", "note", "warning", "PROBLEM"
CHILD_SECONDS = 120.0
DEVICES = Path("/dev")
SHARED_MEMORY_BYTES = 2**30
OPEN_FILES = 4096
FREE_BYTES = 5 * 2**30
# Without these nothing runs; the rest of the core is for some models, files or options only.
VITAL = ("torch", "torchvision", "transformers", "einops", "omegaconf", "pyyaml", "safetensors")
ENABLES = {
    "timm": "vision encoders of timm",
    "peft": "LoRA",
    "pandas": "some annotation tables",
    "sentencepiece": "LLaMA-1 and -2 tokenizers, and the tiny models' own",
    "protobuf": "tokenizers of Hugging Face folders",
    "tqdm": "progress bars",
    "fairscale": "run.activation_checkpointing: fairscale",
    "decord": "the decoder of the published numbers (decoder: decord)",
    "torchcodec": "decoder: torchcodec",
    "av": "decoder: pyav, and all that `vidalign scan` can tell of a file",
    "tiktoken": "LLaMA-3 tokenizers",
    "tensorboard": "run.tensorboard",
    "pycocoevalcap": "METEOR of captions (its Java program; 105 MB)",
    "nltk": "WUPS of open-ended NExT-QA (its WordNet comes apart)",
    "lmdb": "LF-VILA-8M records as the authors store them",
}
# What an import does not tell: torchcodec comes without FFmpeg's libraries, too, but reads no video then.
_LOADED = {
    "torchcodec": "import torchcodec\n"
    "if getattr(torchcodec, 'ffmpeg_major_version', 0) is None:\n"
    "    raise SystemExit('libavutil and the other libraries of FFmpeg were not found')\n"
}
DECODERS = {"decord": "decord", "torchcodec": "torchcodec.decoders", "pyav": "av"}

TORCH = """
import json, warnings
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    import torch
    usable = torch.cuda.is_available()
facts = {"version": torch.__version__, "built_for": torch.version.cuda or torch.version.hip, "usable": usable}
facts["told"] = [str(one.message).splitlines()[0] for one in told if "CUDA" in str(one.message)]
facts["gpus"] = []
for index in range(torch.cuda.device_count() if usable else 0):
    about = torch.cuda.get_device_properties(index)
    facts["gpus"].append([about.name, about.major, about.minor, about.total_memory])
facts["bf16"] = bool(usable and torch.cuda.is_bf16_supported())
facts["flash"] = bool(usable and torch.backends.cuda.is_flash_attention_available())
facts["pair"] = None
try:
    import torchvision
    torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
except (ImportError, RuntimeError, OSError, AttributeError) as error:
    facts["pair"] = f"{type(error).__name__}: {error}".splitlines()[0]
print("FACTS", json.dumps(facts))
"""


@dataclass(frozen=True)
class Finding:
    """One line of the report; `remedy` is what to do about it."""

    level: str
    subject: str
    text: str
    remedy: str | None = None


def examine() -> list[Finding]:
    """Every check, in the order of the report. Nothing here raises because the machine is not as it should be."""
    torch = _child(TORCH)
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        python,
        packages,
        lambda: torch_pair(torch),
        decoders,
        lambda: gpu(torch),
        shared_memory,
        open_files,
        processors,
        disk,
        java,
        optional,
    )
    return [finding for check in checks for finding in check()]


def report(findings: list[Finding]) -> str:
    """The findings as a table, remedies below their lines, and the counts."""
    width = max(len(one.subject) for one in findings)
    lines = []
    for one in findings:
        lines.append(f"{one.level:<8} {one.subject:<{width}}  {one.text}")
        if one.remedy:
            lines.append(f"{'':<8} {'':<{width}}  -> {one.remedy}")
    counts = {level: sum(one.level == level for one in findings) for level in (PROBLEM, WARNING, NOTE)}
    lines.append(f"{counts[PROBLEM]} problems, {counts[WARNING]} warnings, {counts[NOTE]} notes")
    return "\n".join(lines)


def python() -> Iterator[Finding]:
    """Python's own version."""
    level = OK if sys.version_info >= (3, 11) else PROBLEM
    yield Finding(level, "python", platform.python_version(), None if level == OK else "use Python 3.11 or newer")


def packages() -> Iterator[Finding]:
    """Core packages against the declared ranges and the tested set."""
    from packaging.requirements import Requirement
    from packaging.version import Version

    newest, count = tested(), 0
    for line in declared()["core"]:
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        there = installed_version(wanted.name)
        level = PROBLEM if wanted.name in VITAL else WARNING
        remedy = f"pip install '{wanted.name}{wanted.specifier}'"
        use = f" ({ENABLES[wanted.name]})" if wanted.name in ENABLES else ""
        known = newest.get(wanted.name)
        if there is None:
            yield Finding(level, wanted.name, f"is not installed{use}", remedy)
        elif not wanted.specifier.contains(there, prereleases=True):
            yield Finding(level, wanted.name, f"{there} is older than what was tried ({wanted.specifier})", remedy)
        elif known and Version(there).release[:2] > Version(known).release[:2]:
            text = f"{there} is newer than the tested {known}"
            yield Finding(NOTE, wanted.name, text, f"if something breaks: pip install {wanted.name}=={known}")
        else:
            count += 1
    yield Finding(OK, "packages", f"{count} core packages are within the tested ranges")


def torch_pair(facts: dict[str, Any] | str) -> Iterator[Finding]:
    """torch imports, and torchvision was built for this very torch (else: operator torchvision::nms does not exist)."""
    if isinstance(facts, str):
        yield Finding(PROBLEM, "torch", f"cannot be imported: {facts}", "reinstall torch, then run this again")
        return
    vision = installed_version("torchvision")
    versions = f"torch {facts['version']}, torchvision {vision}"
    if facts["pair"] is None:
        yield Finding(OK, "torch pair", f"{versions} fit each other")
        return
    asked = next((line for line in _requires("torchvision") if re.match(r"torch\s*==", line)), "another torch")
    remedy = "install both in one command from the same index: pip install --force-reinstall torch torchvision"
    yield Finding(PROBLEM, "torch pair", f"{versions} do not fit ({facts['pair']}); it asks for {asked}", remedy)


def decoders() -> Iterator[Finding]:
    """Which video decoders can be imported; with none of them no video can be read."""
    good = 0
    for name, module in DECODERS.items():
        package = module.partition(".")[0]
        version = installed_version(package)
        if version is None:
            yield Finding(NOTE, name, "is not installed", f"pip install {package}")
            continue
        told = _child(f"import {module}\n{_LOADED.get(name, '')}print('FACTS', '{{}}')")
        if not isinstance(told, str):
            good += 1
            yield Finding(OK, name, f"{version} works")
            continue
        remedy = f"pip install --force-reinstall {package}"
        if name == "torchcodec":
            remedy = "install FFmpeg's shared libraries (apt install ffmpeg), and the torchcodec made for this torch"
        yield Finding(WARNING, name, f"{version} cannot be imported: {told}", remedy)
    if not good:
        remedy = "pip install decord (Linux x86-64), or pip install av"
        yield Finding(PROBLEM, "decoders", "none works: no video can be read, only feature files", remedy)


def gpu(facts: dict[str, Any] | str) -> Iterator[Finding]:
    """The GPUs and what they can, or why the CPU is used."""
    if isinstance(facts, str):
        return
    if not facts["usable"]:
        why, remedy = why_cpu(facts)
        yield Finding(NOTE, "gpu", f"the CPU is used: {why}", remedy)
        return
    for name, major, minor, memory in facts["gpus"]:
        text = f"{name}, {memory / 2**30:.0f} GiB, compute capability {major}.{minor}, CUDA {facts['built_for']}"
        flash = facts["flash"] and major >= 8
        text += f"; bf16 {'yes' if facts['bf16'] and major >= 8 else 'no'}, flash attention {'yes' if flash else 'no'}"
        remedy = None if major >= 8 else "use run.precision: fp16 on this GPU"
        yield Finding(OK if major >= 8 else NOTE, "gpu", text, remedy)


def why_cpu(facts: dict[str, Any]) -> tuple[str, str | None]:
    """Why torch sees no GPU, and what to do about it."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = list(DEVICES.glob("nvidia[0-9]*"))
    if facts["built_for"] is None:
        remedy = "install the CUDA build of torch and torchvision" if devices else None
        return "this torch was built without CUDA", remedy
    if hidden is not None and hidden.strip() in ("", "-1", "NoDevFiles"):
        return f"CUDA_VISIBLE_DEVICES={hidden!r} hides all GPUs", "unset CUDA_VISIBLE_DEVICES" if devices else None
    if not devices:
        return "no NVIDIA device is visible here (in a container: start it with --gpus all)", None
    told = facts["told"][0] if facts["told"] else "CUDA cannot be started"
    return f"there is an NVIDIA device, but {told}", f"update the driver to one for CUDA {facts['built_for']}"


def shared_memory() -> Iterator[Finding]:
    """Loader workers hand over their batches through /dev/shm."""
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return
    space = os.statvfs(folder)
    free = space.f_bavail * space.f_frsize
    if free >= SHARED_MEMORY_BYTES:
        yield Finding(OK, "shared memory", f"{free / 2**30:.1f} GiB free in {folder}")
        return
    remedy = "start the container with --shm-size=8g or --ipc=host, or set run.num_workers=0"
    yield Finding(WARNING, "shared memory", f"only {free / 2**20:.0f} MiB free in {folder}: workers may die", remedy)


def open_files() -> Iterator[Finding]:
    """The limit of open files; every tensor of a worker's batch takes one for a moment."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = soft == resource.RLIM_INFINITY or soft >= OPEN_FILES
    can = "unlimited" if hard == resource.RLIM_INFINITY else hard
    text = "no limit" if soft == resource.RLIM_INFINITY else f"{soft} files may be open at once"
    yield Finding(OK if enough else WARNING, "open files", text, None if enough else f"ulimit -n {can}")


def processors() -> Iterator[Finding]:
    """Cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    yield Finding(OK, "processors", f"{cores} usable; OMP_NUM_THREADS {threads}; choose run.num_workers below {cores}")


def disk() -> Iterator[Finding]:
    """Free space where runs are written by default."""
    free = shutil.disk_usage(Path.cwd()).free
    level = OK if free >= FREE_BYTES else WARNING
    text = f"{free / 2**30:.1f} GiB free in the current folder"
    yield Finding(level, "disk", text, None if level == OK else "set run.output_dir and paths.cache to a larger disk")


def java() -> Iterator[Finding]:
    """METEOR is a Java program; the other caption metrics need no Java."""
    path = shutil.which("java")
    remedy = "for METEOR of captions: apt install default-jre-headless"
    if path is None:
        yield Finding(NOTE, "java", "is not there", remedy)
        return
    try:
        done = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=CHILD_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        yield Finding(WARNING, "java", f"{path} does not run: {error}", remedy)
        return
    yield Finding(OK, "java", (done.stderr or done.stdout).strip().splitlines()[0])


def optional() -> Iterator[Finding]:
    """Packages of the extras and what they are for."""
    from packaging.requirements import Requirement

    for extra, lines in declared().items():
        for name in () if extra in ("core", "dev") else (Requirement(line).name for line in lines):
            if name in DECODERS or name == "av":
                continue
            version = installed_version(name)
            remedy = None if version else f"pip install 'vidalign[{extra}]' or pip install {name}"
            text = f"{version or 'not installed'}: {ENABLES[name]}"
            yield Finding(OK if version else NOTE, name, text, remedy)


def installed_version(package: str) -> str | None:
    """Version of an installed package, None when it is not there. Nothing is imported."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _requires(package: str) -> list[str]:
    return (metadata.requires(package) or []) if installed_version(package) else []


def _child(code: str) -> dict[str, Any] | str:
    """Run Python code that ends with a line "FACTS {json}"; its facts, or one line that says what went wrong."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=CHILD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {CHILD_SECONDS:g} s"
    lines = [line for line in done.stdout.splitlines() if line.startswith("FACTS ")]
    if done.returncode == 0 and lines:
        return json.loads(lines[-1].removeprefix("FACTS "))
    if done.returncode < 0:
        return f"it crashed (signal {-done.returncode})"
    return (done.stderr.strip().splitlines() or ["no reason given"])[-1]
