"""Evaluate a model: python evaluate.py --cfg-path configs/bovila/clips_eval.yaml [--options run.checkpoint=FILE]

Several GPUs: torchrun --nproc_per_node 8 evaluate.py --cfg-path ...
"""

import sys

from vidalign.cli import guarded, run_arguments


def main() -> None:
    """Read and check the config, then hand it to the runner it names."""
    given = run_arguments(__doc__)
    from vidalign.config.load import check_files, load
    from vidalign.registry import RUNNERS

    experiment = load(given.cfg_path, given.options, given.plugins, purpose="evaluate")
    check_files(experiment)
    runner = RUNNERS.load(experiment.run.runner)(experiment)
    runner.dry_run() if given.dry_run else runner.evaluate()


if __name__ == "__main__":
    sys.exit(guarded(main))
