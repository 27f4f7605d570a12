"""The Slurm script on stand-ins of Slurm's commands: what every machine starts, in which order, at which address."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# `srun` runs its command once per machine, as with one task per machine; `python` says how it was called.
COMMANDS = {
    "scontrol": 'printf "node-a\\nnode-b\\n"',
    "srun": 'shift; for SLURM_NODEID in 0 1; do export SLURM_NODEID; "$@" || exit; done',
    "python": 'echo "$@"',
}
STAGES = ("valley_prealign", "valley_pretrain", "videochatgpt_tune_finetune")


def submitted(tmp_path, commands=COMMANDS):
    """The script as Slurm runs it, in a checkout without an environment of its own: the process that has ended."""
    shutil.copytree(ROOT / "run_scripts", tmp_path / "run_scripts")
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in commands.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (folder / name).chmod(0o755)
    given = {"SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "node-[a-b]", "PATH": f"{folder}:{os.environ['PATH']}"}
    script = tmp_path / "run_scripts" / "slurm" / "video_panda_stages.sh"
    return subprocess.run(
        ["bash", script, "run.seed=3", "a b=c"], cwd=tmp_path, env=given, capture_output=True, text=True
    )


def test_every_machine_starts_the_three_stages_in_order(tmp_path):
    done = submitted(tmp_path)
    assert done.returncode == 0, done.stderr
    checks = [line for line in done.stdout.splitlines() if "vidalign check" in line]
    lines = [line for line in done.stdout.splitlines() if "torch.distributed.run" in line]
    assert not checks, "the check of the config is not to fill the log"
    address = "--master_addr node-a --master_port 29500"
    assert lines == [
        f"-m torch.distributed.run --nnodes 2 --nproc_per_node 4 --node_rank {rank} {address} "
        f"train.py --cfg-path configs/video_panda/{stage}.yaml --options run.seed=3 a b=c"
        for stage in STAGES
        for rank in (0, 1)
    ]


def test_a_stage_that_fails_ends_the_job(tmp_path):
    failing = 'case "$*" in *valley_pretrain*torch*|*torch*valley_pretrain*) exit 7;; *) echo "$@";; esac'
    done = submitted(tmp_path, COMMANDS | {"python": failing})
    assert done.returncode == 7 and "videochatgpt_tune_finetune" not in done.stdout


def test_outside_of_slurm_it_says_so(tmp_path):
    script = ROOT / "run_scripts" / "slurm" / "video_panda_stages.sh"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    done = subprocess.run(["bash", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode != 0 and "submit me with sbatch" in done.stderr
