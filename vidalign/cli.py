"""The `vidalign` command, and the command line that train.py and evaluate.py share.

Nothing heavy is imported here: `vidalign list` and every config error answer without torch.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

from vidalign.common.errors import ConfigError, UserError

USER_MISTAKE = 2  # exit code of a mistake that the user can mend; 1 stays with Python's own tracebacks


@dataclass(frozen=True)
class RunArguments:
    """What train.py and evaluate.py were asked to do."""

    cfg_path: str
    options: list[str]
    plugins: list[str]
    dry_run: bool


def run_arguments(description: str, argv: list[str] | None = None) -> RunArguments:
    """Parse the command line of train.py or evaluate.py; `argv` None takes sys.argv. A wrong flag exits with 2."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cfg-path", required=True, metavar="YAML", help="config file, see configs/")
    _add_changes(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="check names, files and weights, print the parameter counts, and stop",
    )
    given = parser.parse_args(argv)
    return RunArguments(given.cfg_path, given.options, given.plugins, given.dry_run)


def guarded(main: Callable[[], None]) -> int:
    """Run `main`; a UserError becomes its plain message and exit code 2. Everything else keeps its traceback.

    Under torchrun every process meets the same ConfigError, so only the first one prints it; other errors name the
    process.
    """
    try:
        main()
    except UserError as error:
        rank = int(os.environ.get("RANK", 0))
        if rank == 0 or not isinstance(error, ConfigError):
            where = f" (process {rank})" if rank else ""
            print(f"error{where}: {error}", file=sys.stderr, flush=True)
        return USER_MISTAKE
    return 0


def _add_changes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--options",
        nargs="*",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="change values of the config, e.g. run.max_steps=100 datasets.star.root=/data/star",
    )
    parser.add_argument(
        "--plugins",
        nargs="*",
        action="extend",
        default=[],
        metavar="MODULE",
        help="modules or .py files that register further models, datasets, ... before the config is read",
    )


def main(argv: list[str] | None = None) -> int:
    """Entry point of `vidalign`; returns the exit code."""
    parser = argparse.ArgumentParser(prog="vidalign", description="Look around: what there is, and what a config says.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="everything a config can name: models, datasets, tasks, ...")
    listing.add_argument("kind", nargs="?", help="only one kind, e.g. models")
    listing.set_defaults(run=_list)

    given = parser.parse_args(argv)
    return guarded(lambda: given.run(given))


def _list(given: argparse.Namespace) -> None:
    from vidalign import registry

    for table in registry.ALL:
        print(table.kind)
        for name in table:
            print(f"  {name:<18} {table.entry(name).summary}")
