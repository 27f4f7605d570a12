"""checkpoints/manifest.yaml: which weights belong where, whether they are there, and the download of hub names.

python -m vidalign.checkpoint.fetch [NAME] [--dry-run] [--root checkpoints]
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vidalign.common.errors import CheckpointError, UserError, unknown

MANIFEST = "manifest.yaml"


@dataclass(frozen=True)
class Place:
    """One entry of the manifest. `files` are relative to the place, or the place itself when it is one file."""

    name: str
    what: str
    users: tuple[str, ...]
    published: str
    licence: str
    size: str | None = None
    hub: str | None = None
    files: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    configs: tuple[str, ...] = ()
    sha256: Mapping[str, str] = field(default_factory=dict)

    def path(self, root: Path, file: str) -> Path:
        """Where a file must lie."""
        own = root / self.name
        return own if own.name == file else own / file


def read_manifest(path: Path) -> dict[str, Place]:
    """All places; CheckpointError for a file that is no manifest."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return {
            name: Place(
                name=name,
                what=entry["what"],
                users=tuple(entry["for"]),
                published=entry["published"],
                licence=entry["licence"],
                size=entry.get("size"),
                hub=entry.get("hub"),
                files=tuple(entry.get("files", ())),
                keys=tuple(entry.get("keys", ())),
                configs=tuple(entry.get("configs", ())),
                sha256=entry.get("sha256", {}),
            )
            for name, entry in content.items()
        }
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: not a manifest of weights: {error!r}") from error


def state(place: Place, root: Path) -> str:
    """ "there", "missing: a, b" or "wrong content: a"; places with a star in their name: how many files there are."""
    if "*" in place.name:
        return f"{len(list(root.glob(place.name)))} files"
    absent = [file for file in place.files if not place.path(root, file).exists()]
    if absent:
        return f"missing: {', '.join(absent)}"
    wrong = [file for file, digits in place.sha256.items() if _sha256(place.path(root, file))[: len(digits)] != digits]
    return f"wrong content: {', '.join(wrong)}" if wrong else "there"


def describe(place: Place, root: Path) -> str:
    """Everything that the manifest says about a place, and its state."""
    rows = {
        "what": place.what,
        "for": ", ".join(place.users),
        "size": place.size,
        "published": place.published,
        "hub": place.hub,
        "licence": place.licence,
        "files": ", ".join(place.files) or None,
        "configs": ", ".join(f"configs/{one}" for one in place.configs) or None,
        "state": state(place, root),
    }
    return "\n".join([f"{root / place.name}", *(f"  {key:<10}{value}" for key, value in rows.items() if value)])


def download(place: Place, root: Path) -> None:
    """Fetch a hub name into its place; CheckpointError when there is none, or the hub refuses."""
    if place.hub is None:
        raise CheckpointError(f"{place.name}: fetch it by hand: {place.published}. Put it at {root / place.name}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        snapshot_download(place.hub, local_dir=root / place.name)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        first = str(error).splitlines()[0]
        raise CheckpointError(
            f"{place.name}: {place.hub} cannot be fetched: {first}. Is there a network, and have you accepted the "
            f"licence there? Fetched elsewhere, it belongs at {root / place.name}"
        ) from error


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 when the place is complete, 2 when something is missing."""
    parser = argparse.ArgumentParser(prog="checkpoints/fetch.sh", description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", help="a place of the manifest; without it all are listed")
    parser.add_argument("--dry-run", action="store_true", help="tell, download nothing")
    parser.add_argument("--root", type=Path, default=Path("checkpoints"), help="folder of manifest and weights")
    given = parser.parse_args(argv)
    try:
        places = read_manifest(given.root / MANIFEST)
        if given.name is None:
            for name, place in places.items():
                print(f"{name:<46}{state(place, given.root)}")
            return 0
        if given.name not in places:
            raise CheckpointError(unknown("place", given.name, places))
        place = places[given.name]
        print(describe(place, given.root))
        if state(place, given.root).startswith("missing") and not given.dry_run:
            download(place, given.root)
            print(f"  now       {state(place, given.root)}")
        return 0 if given.dry_run or state(place, given.root).endswith(("there", "files")) else 2
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
