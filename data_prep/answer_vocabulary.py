"""The most frequent answers of a training split, one per line: classes for LF-VILA's answer head.

    python data_prep/answer_vocabulary.py --dataset activitynet_qa --root data/activitynet_qa --split train \
        --count 1654 --output data/activitynet_qa/answers_1654.txt
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vidalign.cli import guarded
from vidalign.common.errors import DataError, UserError
from vidalign.common.io import atomic_write
from vidalign.registry import DATASETS
from vidalign.runners.annotations import dataset_name


def main(arguments: list[str] | None = None) -> None:
    """Entry point; prints the share of the split that the answers cover."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="registry name")
    parser.add_argument("--root", required=True, help="its folder")
    parser.add_argument("--split", default="train")
    parser.add_argument("--count", type=int, default=1654, help="number of answers")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    if options.count < 1:
        raise UserError(f"--count {options.count}: how many answers to keep, at least 1")
    name = dataset_name(options.dataset)
    samples = DATASETS.load(name)(DATASETS.config(name)(root=options.root)).samples(options.split)
    counted = Counter(sample.answer for sample in samples if sample.answer)
    if not counted:
        raise DataError(f"{name}/{options.split}: none of its {len(samples)} rows has an answer; give another split")
    kept = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[: options.count]
    with atomic_write(options.output) as file:
        file.writelines(f"{answer}\n" for answer, _ in kept)
    share = sum(count for _, count in kept) / sum(counted.values())
    print(f"{len(kept)} answers cover {100 * share:.1f} % of {name}/{options.split} -> {options.output}")


if __name__ == "__main__":
    sys.exit(guarded(main))
