"""Train a model: python train.py --cfg-path configs/bovila/clips_train.yaml [--options run.max_steps=10] [--dry-run]

Several GPUs: torchrun --nproc_per_node 8 train.py --cfg-path ...
"""

import sys

from vidalign.cli import guarded, run_arguments


def main() -> None:
    """Read and check the config, then hand it to the runner it names."""
    given = run_arguments(__doc__)
    from vidalign.config.load import check_files, load
    from vidalign.registry import RUNNERS

    experiment = load(given.cfg_path, given.options, given.plugins, purpose="train")
    check_files(experiment)
    runner = RUNNERS.load(experiment.run.runner)(experiment)
    runner.dry_run() if given.dry_run else runner.train()


if __name__ == "__main__":
    sys.exit(guarded(main))
