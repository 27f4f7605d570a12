"""Every config of a system passes --dry-run on a stand-in data root; every script starts what it says, on CPU.

One process for all: starting Python for each would take minutes.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from stand_in_data import make_data_root

from vidalign.cli import run_arguments
from vidalign.config.load import load
from vidalign.registry import DATASETS
from vidalign.runners.dry_run import dry_run
from vidalign.text.fast_tokenizers import tiny_text_tokenizer

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIGS = sorted(p for p in (REPOSITORY / "configs").glob("*/*.yaml") if p.parent.name not in ("models", "datasets"))
SCRIPTS = sorted((REPOSITORY / "run_scripts").rglob("*.sh"))
# What stands in for weights that are not here: real sizes with random values, on the meta device.
_LLM = ("model.llm.format=random", "model.llm.path=null")
_FLAN = ("model.weights.format=random",)
WEIGHTS = {
    **dict.fromkeys(("bovila", "llama_vqa", "topa"), _LLM),
    **dict.fromkeys(("vila", "vila_ori", "vila_lora", "sevila"), _FLAN),
    "video_panda": ("model.weights=null", "model.teacher=null"),
}
# Datasets of the developers' folder: their configs name ../shared/data.
OF_OURS = ("clips_qa", "clip_captions", "clips_paragraphs", "clips")
# Options that name what an earlier command of the same script has written.
MADE_EARLIER = re.compile(r"(run\.checkpoint|model\.weights\.start|model\.start\.pretrained)=output/")
_FEW_CLIPS = tuple(f"datasets.shapes.num_{split}=2" for split in ("train", "val", "test"))
# Configs with folders or weights of their own.
_FEW_CLIPS = tuple(f"datasets.shapes.num_{split}=2" for split in ("train", "val", "test"))
OTHERS = {
    "nextqa_shapes_eval.yaml": (
        *("model.size=tiny", "model.llm.tokenizer=null", "datasets.nextqa.extract.encoder=tiny"),
        "model.adapter.visual_start=null",
        *("datasets.nextqa.root=${paths.data_root}/nextqa", "datasets.nextqa.videos=null"),
    ),
    **{f"shapes_{stage}.yaml": _FEW_CLIPS for stage in ("prealign", "pretrain", "finetune", "eval")},
    "shapes_train.yaml": (
        *("model.size=tiny", "model.llm.tokenizer=null", "model.adapter.visual_start=null"),
        *_FEW_CLIPS,
    ),
    # ViLA's stages on the drawn world.
    **dict.fromkeys((f"shapes_{stage}_train.yaml" for stage in ("16f", "4f", "segment", "official")), _FEW_CLIPS),
}


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    return make_data_root(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def _here(monkeypatch, tmp_path):
    monkeypatch.chdir(REPOSITORY)


def name_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def stand_ins(path: Path, data_root: Path, cache: Path) -> list[str]:
    """The --options that let a config start without the files that are not here."""
    options = [f"paths.data_root={data_root}", f"paths.cache={cache}", *WEIGHTS.get(path.parent.name, ())]
    options += OTHERS.get(path.name, ())
    if WEIGHTS.get(path.parent.name) == _FLAN:
        files = {kind: tiny_text_tokenizer(data_root, kind=kind).path for kind in ("t5", "bert")}
        options += [f"model.weights.{kind}_tokenizer={file}" for kind, file in files.items()]
    if path.stem.startswith("shapes_paragraphs_"):
        options += [f"datasets.shapes_paragraphs.num_{split}=1" for split in ("train", "test")]
    if path.parent.name == "lf_vila":
        # Its files have one layout each; a start from nothing builds the same model.
        options += [f"model.start.{name}=null" for name in ("swin", "bert", "pretrained")]
        options.append(f"model.tokenizer={data_root}/vocab.txt")
    ours = next((name for name in OF_OURS if path.name.startswith(f"{name}_")), None)
    if ours is not None:
        options.append(f"datasets.{ours}.root={data_root / 'clips'}")
    if path.parent.name == "topa" and path.name == "shapes_train.yaml":
        options += [f"datasets.shapes_text.num_{split}=2" for split in ("train", "test")]
        options += [f"datasets.shapes_text.features={data_root}/nextqa/clipvitl14.pth", "model.memory.path=null"]
    return options


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_dry_run(path, data_root, tmp_path):
    options = stand_ins(path, data_root, tmp_path / "cache")
    if re.search(r"checkpoint: (\?\?\?|output/)", path.read_text()):
        options.append("run.checkpoint=null")
    report = dry_run(load(path, options))
    assert "no mistake found" in report and "trained" in report


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_every_dataset_yaml_reads_the_stand_in(name, data_root, tmp_path):
    if name in ("shapes", "shapes_paragraphs"):
        pytest.skip("made on first use")
    whole = yaml.safe_load((REPOSITORY / "configs/datasets" / f"{name}.yaml").read_text())["datasets"][name]
    values = {key: value for key, value in whole.items() if key != "extract"}
    values["root"] = whole["root"].replace("${paths.data_root}", str(data_root))
    values["root"] = str(data_root / "clips") if name in OF_OURS else values["root"]
    config = DATASETS.config(name)(**values)
    builder = DATASETS.load(name)(config)
    for split in {config.train, config.eval} - {None}:
        samples = builder.samples(split)
        assert samples and all(sample.split == split for sample in samples)


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_scripts_parse(script):
    subprocess.run(["bash", "-n", str(script)], check=True)


RECORDER = """#!/usr/bin/env bash
echo "$*" >> calls
for one in "$@"; do
  case $one in
  run.output_dir=output/*) mkdir -p "${one#*=}/checkpoints" && touch "${one#*=}/checkpoints/best.pth" ;;
  esac
done
[ "$2" != vidalign ] || echo output/here
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout whose python writes down what it is asked to run, and where every training has left a checkpoint."""
    root = tmp_path_factory.mktemp("checkout")
    (root / ".venv/bin").mkdir(parents=True)
    for name in ("run_scripts", "configs"):
        (root / name).symlink_to(REPOSITORY / name)
    (root / "output/here/checkpoints").mkdir(parents=True)
    (root / "output/here/checkpoints/best.pth").touch()
    recorder = root / ".venv/bin/python"
    recorder.write_text(RECORDER)
    recorder.chmod(0o755)
    return root


# Slurm's commands: the names of the machines, and a step that runs on one of them.
SLURM = {
    "scontrol": "echo host",
    "srun": 'while [[ $1 == --* ]]; do shift; done; SLURM_NODEID=0 exec "$@"',
}


def started_by(script, checkout, tmp_path):
    """The command lines, as words, of the runs that a script starts."""
    calls = checkout / "calls"
    calls.unlink(missing_ok=True)
    environment = {**os.environ, "GPUS": "1", "NNODES": "1"}
    if script.parent.name == "slurm":
        for name, body in SLURM.items():
            (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
            (tmp_path / name).chmod(0o755)
        environment |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_NODELIST": "host"}
    given = ["run.checkpoint=null"] if "eval" in script.stem or "zeroshot" in script.stem else []
    command = ["bash", str(checkout / name_of(script)), *given]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [line.split() for line in calls.read_text().splitlines() if "--cfg-path" in line]


@pytest.mark.parametrize("script", [p for p in SCRIPTS if p.parent.name != "run_scripts"], ids=name_of)
def test_a_script_starts_what_its_config_says(script, checkout, data_root, tmp_path):
    started = started_by(script, checkout, tmp_path)
    assert len(started) >= (3 if "stages" in script.stem else 1)
    for entry, *rest in started:
        arguments = run_arguments(entry, rest)
        path = REPOSITORY / arguments.cfg_path
        assert entry in ("train.py", "evaluate.py") and path in CONFIGS
        made = [one.partition("=")[0] for one in arguments.options if MADE_EARLIER.match(one)]
        options = [one for one in arguments.options if not MADE_EARLIER.match(one)]
        more = [f"{key}=null" for key in made]
        purpose = "train" if entry == "train.py" else "evaluate"
        load(path, [*options, *more, *stand_ins(path, data_root, tmp_path)], purpose=purpose)
