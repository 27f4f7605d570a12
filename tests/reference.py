"""Run reference cases: `python tests/reference.py DIR [--system S] [--kind K] [--case GLOB]`.

Every case found under DIR is run through tests/adapters/<system>.py and compared as its own `check` list says. One line
per case: PASS, FAIL, SKIP (reason) or TODO (no adapter yet), then the counts. The exit status is 0 only without FAIL
and TODO, 2 when there is no case at all.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

from refcases.case import find_cases, single_thread  # noqa: E402
from refcases.runner import STATES, Outcome, run_case  # noqa: E402

MAX_LINES = 8


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    options = parse(arguments)
    if not options.folder.is_dir():
        print(f"{options.folder}: no such folder", file=sys.stderr)
        return 2
    cases = [
        case
        for case in find_cases(options.folder)
        if options.system in (None, case.system)
        and options.kind in (None, case.kind)
        and fnmatchcase(case.path.stem, options.case)
    ]
    if not cases:
        print(f"no matching case under {options.folder}", file=sys.stderr)
        return 2
    single_thread()
    # Toy annotation files are shorter than the published ones; saying so for each would bury the report.
    logging.getLogger("vidalign").setLevel(logging.ERROR)
    counts: Counter[str] = Counter()
    for number, case in enumerate(cases, start=1):
        outcome = run_case(case)
        counts[outcome.state] += 1
        report(outcome, f"[{number}/{len(cases)}]", options.verbose)
    print("  ".join(f"{state} {counts[state]}" for state in STATES))
    return 1 if counts["FAIL"] or counts["TODO"] else 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help="searched with all folders below it")
    parser.add_argument("--system", help="only this system")
    parser.add_argument("--kind", help="only this kind")
    parser.add_argument("--case", default="*", metavar="GLOB", help="only cases whose file name matches")
    parser.add_argument("-v", "--verbose", action="store_true", help="every failing name, full tracebacks")
    return parser.parse_args(arguments)


def report(outcome: Outcome, progress: str, verbose: bool) -> None:
    """One line per case; below a FAIL what is wrong."""
    head = f"{outcome.state} {progress} {outcome.case.label} [{outcome.case.kind}]"
    detail = f"({outcome.detail})" if outcome.state == "SKIP" else outcome.detail
    print(f"{head} {detail}  {outcome.seconds:.2f} s", flush=True)
    if outcome.state != "FAIL":
        return
    lines = outcome.lines if verbose else outcome.lines[:MAX_LINES]
    for line in lines:
        print(f"      {line}")
    if len(lines) < len(outcome.lines):
        print(f"      ... {len(outcome.lines) - len(lines)} more lines with --verbose")


if __name__ == "__main__":
    sys.exit(main())
