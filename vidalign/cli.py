"""The `vidalign` command, and the command line that train.py and evaluate.py share.

Nothing heavy is imported here: `vidalign list` and every config error answer without torch.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from vidalign.common.errors import CheckpointError, ConfigError, Stopped, UserError, unknown


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
    """Run `main`; a UserError becomes its plain message and exit code: 2, or 128 + signal when a signal ended the run.
    Everything else keeps its traceback.

    Under torchrun every process meets the same ConfigError, so only the first one prints it; other errors name the
    process.
    """
    try:
        main()
    except UserError as error:
        rank = int(os.environ.get("RANK", 0))
        if rank == 0 or not isinstance(error, ConfigError):
            where = f" (process {rank})" if rank else ""
            word = "stopped" if isinstance(error, Stopped) else "error"
            print(f"{word}{where}: {error}", file=sys.stderr, flush=True)
        return error.exit_code
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
    given = _parser().parse_args(argv)
    try:
        return guarded(lambda: given.run(given))
    except BrokenPipeError:  # `vidalign list | head`
        sys.stderr.close()
        return 0


def _parser() -> argparse.ArgumentParser:
    from vidalign.runners.annotation_commands import add_commands

    parser = argparse.ArgumentParser(
        prog="vidalign",
        description="See what there is, what a config says, and whether its files are there.",
        epilog="Training and evaluation: python train.py --help, python evaluate.py --help.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    one = commands.add_parser("list", help="what a config can name: models, datasets, tasks, runners, schedules")
    one.add_argument("kind", nargs="?", help="only one kind, e.g. models; benchmarks: what lies under --data-root")
    one.add_argument("--data-root", default="data", help="paths.data_root of your configs (default data)")
    one.add_argument("--plugins", nargs="*", default=[], metavar="MODULE", help="modules or .py files to import first")
    one.set_defaults(run=_list)

    one = commands.add_parser("explain", help="a key's type, default, limits and meaning; or all keys of a block")
    one.add_argument("key", help="e.g. run.optimizer.lr, model.adapter, warmup_epochs")
    one.add_argument("--plugins", nargs="*", default=[], metavar="MODULE", help="modules or .py files to import first")
    one.set_defaults(run=_explain)

    one = commands.add_parser("config", help="every value of a config with its source (default, file:line, --options)")
    one.add_argument("path", metavar="YAML")
    one.add_argument("--get", metavar="KEY", help="print the value of this key only")
    one.add_argument("--yaml", action="store_true", help="print the whole config as one YAML file")
    _add_changes(one)
    one.set_defaults(run=_config)

    one = commands.add_parser("check", help="like the start of a run: is the config right, are data and weights there")
    one.add_argument("path", metavar="YAML")
    _add_changes(one)
    one.set_defaults(run=_check)

    one = commands.add_parser("inspect", help="what a checkpoint file holds: keys, shapes, counts")
    one.add_argument("path", metavar="FILE", help=".pt, .pth or .safetensors")
    one.set_defaults(run=_inspect)

    one = commands.add_parser("export", help="a checkpoint of ours in the layout of the authors' own files")
    one.add_argument("path", metavar="FILE", help="a checkpoint of a run, e.g. output/bovila_star/checkpoints/best.pt")
    one.add_argument("output", metavar="OUT", help="the file to write, e.g. checkpoint_best.pth")
    one.set_defaults(run=_export)

    one = commands.add_parser("merge", help="two checkpoints into the start of ViLA's or SeViLA's next stage")
    one.add_argument("what", choices=("teacher", "localizer"), help="what the second file gives to the first")
    one.add_argument("path", metavar="FILE", help="the student's, or the answerer's checkpoint")
    one.add_argument("other", metavar="OTHER", help="the teacher's, or the localizer's checkpoint")
    one.add_argument("output", metavar="OUT", help="the file to write, for model.weights.start")
    one.set_defaults(run=_merge)

    _add_upkeep(commands)
    add_commands(commands)
    return parser


def _add_upkeep(commands: Any) -> None:
    """The commands about files and machine."""
    one = commands.add_parser("scan", help="look at every video of a folder once and write a manifest that runs read")
    one.add_argument("root", metavar="ROOT", help="folder of the videos")
    one.add_argument("--manifest", metavar="FILE", help="default: vidalign-manifest.jsonl in ROOT; continued if there")
    one.add_argument("--decoder", default="decord", choices=("decord", "torchcodec", "pyav"), help="as in the config")
    one.add_argument("--workers", type=_positive(int), default=2, help="files examined at the same time (default 2)")
    one.add_argument("--timeout-seconds", type=_positive(float), default=30.0, help="time limit per file (default 30)")
    one.add_argument("--fresh", action="store_true", help="examine files again that have not changed")
    one.add_argument("--quiet", action="store_true", help="no progress bar")
    one.set_defaults(run=_scan)

    one = commands.add_parser("doctor", help="is this machine ready: versions, decoders, GPU, limits, with remedies")
    one.set_defaults(run=_doctor)


def _list(given: argparse.Namespace) -> None:
    from vidalign.config.explain import listing

    _import_plugins(given.plugins)
    if given.kind in ("benchmark", "benchmarks"):
        from pathlib import Path

        from vidalign.runners.prepare import benchmarks

        print(benchmarks(Path(given.data_root)))
        return
    print(listing(given.kind))


def _explain(given: argparse.Namespace) -> None:
    from vidalign.config.explain import explain

    _import_plugins(given.plugins)
    print(explain(given.key))


def _config(given: argparse.Namespace) -> None:
    from vidalign.config.load import load, resolved_yaml, values_with_sources
    from vidalign.config.problems import show

    experiment = load(given.path, given.options, given.plugins, allow_missing=True)
    rows = values_with_sources(experiment)
    if given.get is not None:
        values = {key: value for key, value, _ in rows}
        if given.get not in values:
            raise ConfigError(unknown("key", given.get, values))
        print(values[given.get])
    elif given.yaml:
        print(resolved_yaml(experiment), end="")
    else:
        shown = [(key, show(value, 200), source) for key, value, source in rows]
        widths = [min(40, max(len(row[column]) for row in shown)) for column in (0, 1)]
        for key, value, source in shown:
            print(f"{key:<{widths[0]}}  {value:<{widths[1]}}  {source}")


def _check(given: argparse.Namespace) -> None:
    from vidalign.config.load import check_files, load

    experiment = load(given.path, given.options, given.plugins)
    check_files(experiment)
    print(f"{given.path}: no mistake found; every file it names is there")


def _inspect(given: argparse.Namespace) -> None:
    from vidalign.checkpoint.inspect import describe

    print(describe(given.path))


def _export(given: argparse.Namespace) -> None:
    from vidalign.checkpoint.load import model_state, read_checkpoint
    from vidalign.checkpoint.save import save_checkpoint
    from vidalign.config.load import stored_value
    from vidalign.registry import MODELS, resolve

    content = read_checkpoint(given.path)
    if "config" not in content:
        raise CheckpointError(f"{given.path} was not written by vidalign (it holds no config); nothing to convert")
    arch = stored_value(content["config"], "model.arch")
    if (folder := MODELS.entry(arch).export_folder) is not None:
        state = model_state(content, where=given.path)
        files = resolve(folder)(state, setting=partial(stored_value, content["config"]), folder=given.output)
        print(f"{given.output}: {arch}, {', '.join(file.name for file in files)}, config.json")
        return
    layout = MODELS.entry(arch).export
    if layout is None:
        raise CheckpointError(f"{given.path}: the authors of {arch} released no checkpoints whose layout is known")
    official = resolve(layout)(
        model_state(content, where=given.path),
        optimizer=content["optimizer"],
        epoch=content["epoch"] - 1,  # ours counts the epoch to go on with, theirs the last finished one
        scaler=content["scaler"],
    )
    save_checkpoint(given.output, official)
    print(f"{given.output}: {arch}, {len(official['model'])} tensors under the released names, {', '.join(official)}")


def _merge(given: argparse.Namespace) -> None:
    from vidalign.checkpoint.load import model_state, read_checkpoint
    from vidalign.checkpoint.save import save_checkpoint
    from vidalign.models.vila.merge import merge_localizer, merge_teacher

    merge = merge_teacher if given.what == "teacher" else merge_localizer
    first, second = (model_state(read_checkpoint(path), where=path) for path in (given.path, given.other))
    state, report = merge(first, second)
    save_checkpoint(given.output, {"model": state})
    print("\n".join(report))
    print(f"{given.output}: {len(state)} tensors, {len(report)} of them from {given.other}")


def _scan(given: argparse.Namespace) -> None:
    from pathlib import Path

    from vidalign.media.manifest import MANIFEST
    from vidalign.media.scan import scan, table

    root = Path(given.root)
    manifest = Path(given.manifest) if given.manifest else root / MANIFEST
    report = scan(
        root,
        manifest=manifest,
        decoder=given.decoder,
        workers=given.workers,
        timeout_seconds=given.timeout_seconds,
        fresh=given.fresh,
        progress=not given.quiet,
    )
    print(table(report))
    print(f"written to {manifest}")


def _doctor(given: argparse.Namespace) -> None:
    from vidalign.runners.doctor import PROBLEM, examine, report

    findings = examine()
    print(report(findings))
    problems = [one.subject for one in findings if one.level == PROBLEM]
    if problems:
        raise UserError(f"this machine is not ready: {', '.join(problems)}")


def _positive(kind: type) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"a number above 0 is wanted, not {text}")
        return value

    read.__name__ = kind.__name__  # what argparse calls it when the text is no number
    return read


def _import_plugins(names: list[str]) -> None:
    from vidalign.config.plugins import import_plugins
    from vidalign.config.problems import raise_all

    raise_all(import_plugins(names, None), "the plug-ins")


if __name__ == "__main__":
    sys.exit(main())
