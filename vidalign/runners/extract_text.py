"""CLIP text features of captions: textual videos (TextVID) or any captions -> a store, and a support memory of it.

One row per caption in the order of the file, as CLIP gives it (projected, not normalised); captions become frames when
they are read (media/text_frames.py). Resumable; texts that did not change are not encoded again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from vidalign.backbones.clip import TINY
from vidalign.backbones.clip_text import TextEncoder, clip_ids, tiny_ids
from vidalign.common.errors import DataError
from vidalign.common.io import content_key
from vidalign.data.sets.rows import Row, read_json, read_json_rows, read_jsonl
from vidalign.data.sets.textvid import frame_captions
from vidalign.media.feature_writer import FeatureWriter
from vidalign.media.features import FeatureStore

Ids = Callable[[str], list[int]]
TEXT_FILE = "text.json"  # beside the tiny CLIP of `shapes`: how its captions become ids
SHARD_TEXTS, SHARD_ROWS = 8192, 131_072


@dataclass
class TextReport:
    """What was done: texts are whole entries of the file (a textual video), captions their rows."""

    done: int = 0
    skipped: int = 0
    captions: int = 0
    cut: int = 0


def read_captions(path: Path) -> list[tuple[str, tuple[str, ...]]]:
    """(id, captions) of every entry of a file, in its order; DataError names what is wrong with a row.

    .json: TextVID's list. .jsonl: lines with `idx` or `id`, and `frames` (as in TextVID, or a list of captions or of
    lists of them) or `captions` (a list, or one text); Samples of ours (`uid`, `text_frames`) too.
    """
    if path.suffix == ".jsonl":
        rows: Iterable[Row] = read_jsonl(path)
    elif isinstance(read_json(path), list):
        rows = read_json_rows(path)
    else:
        raise DataError(f"{path}: a list of textual videos (TextVID), or a .jsonl file, expected")
    entries: dict[str, tuple[str, ...]] = {}
    for row in rows:
        name = _name(row)
        if name in entries:
            raise row.error("idx" if row.has("idx") else "id", "this id stands in the file twice; remove one")
        entries[name] = _captions(row)
    if not entries:
        raise DataError(f"{path}: no captions in it")
    return list(entries.items())


def ids_of(encoder: str) -> Ids:
    """How captions become ids for an encoder: CLIP's own tokenizer, or what a folder's text.json says."""
    if encoder == TINY:
        return tiny_ids
    described = Path(encoder) / TEXT_FILE
    if not described.is_file():
        return clip_ids(encoder)
    from vidalign.text.tokenizers import load_tokenizer

    content = read_json(described)
    tokenizer, end = load_tokenizer(Path(encoder) / content["tokenizer"]), int(content["end_id"])
    return lambda text: [*tokenizer.encode(text), end]


def extract_texts(
    entries: Sequence[tuple[str, tuple[str, ...]]],
    *,
    encoder: TextEncoder,
    ids: Ids,
    store: Path,
    batch_captions: int = 256,
    progress: bool = True,
) -> TextReport:
    """Encode every entry that the store does not have yet; float16 rows.

    A caption longer than the encoder's context is cut, its end token kept, as CLIP's `tokenize(truncate=True)` does.
    """
    info = {"encoder": encoder.name, "encoder_key": encoder.key, "encoder_dtype": encoder.dtype, "of": "captions"}
    report = TextReport()
    with FeatureWriter(store, dim=encoder.dim, info=info, shard_videos=SHARD_TEXTS, shard_rows=SHARD_ROWS) as writer:
        todo = [(name, texts) for name, texts in entries if not writer.is_done(name, content_key(list(texts)))]
        report.skipped = len(entries) - len(todo)
        for batch in _batches(_bar(todo, progress), batch_captions):
            rows = [_fitted(ids(text), encoder, report) for _, texts in batch for text in texts]
            made_ND = torch.cat([encoder(rows[i : i + batch_captions]) for i in range(0, len(rows), batch_captions)])
            for (name, texts), own in zip(batch, made_ND.split([len(texts) for _, texts in batch]), strict=True):
                writer.add(name, own, source=content_key(list(texts)))
                report.done += 1
                report.captions += len(texts)
    return report


def write_memory(store: Path, path: Path, *, rows: int | None = None, progress: bool = True) -> int:
    """A support memory: the store's captions as unit rows, float32 (.npy), the first `rows` of them; their number.

    Entries in the order of their ids, so that equal stores give equal files. Written aside and then renamed.
    """
    import numpy as np

    if path.suffix != ".npy":
        raise DataError(f"{path}: the memory is a .npy file; give such a name")
    features = FeatureStore.open(store)
    names = sorted(features)
    total = sum(len(features.rows(name)) for name in names)
    total = min(total, rows) if rows is not None else total
    if not total:
        raise DataError(f"{store}: no captions in this store")
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.partial")
    memory = np.lib.format.open_memmap(aside, mode="w+", dtype=np.float32, shape=(total, features.dim))
    place = 0
    for name in _bar(names, progress):
        block = F.normalize(features.rows(name).float(), dim=-1)[: total - place]
        memory[place : place + len(block)] = block.numpy()
        place += len(block)
        if place == total:
            break
    memory.flush()
    os.replace(aside, path)
    return total


def _name(row: Row) -> str:
    return row.text(next((field for field in ("idx", "id", "uid") if row.has(field)), "idx"))


def _captions(row: Row) -> tuple[str, ...]:
    field = next((name for name in ("frames", "text_frames", "captions") if row.has(name)), "frames")
    value = row.get(field)
    if field == "captions" and isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not value:
        raise row.error(field, "a list of captions expected")
    if isinstance(value[0], dict):
        return tuple(text for frame in frame_captions(row) for text in frame)
    frames = [one if isinstance(one, list) else [one] for one in value]
    if not all(frames):
        raise row.error(field, "every frame needs at least one caption")
    return tuple(row.as_text(field, text) for frame in frames for text in frame)


def _fitted(ids: list[int], encoder: TextEncoder, report: TextReport) -> list[int]:
    if len(ids) <= encoder.max_tokens:
        return ids
    report.cut += 1
    return [*ids[: encoder.max_tokens - 1], ids[-1]]


def _batches(
    entries: Iterable[tuple[str, tuple[str, ...]]], captions: int
) -> Iterator[list[tuple[str, tuple[str, ...]]]]:
    """Whole entries, together at least `captions` captions (fewer in the last batch)."""
    batch: list[tuple[str, tuple[str, ...]]] = []
    for entry in entries:
        batch.append(entry)
        if sum(len(texts) for _, texts in batch) >= captions:
            yield batch
            batch = []
    if batch:
        yield batch


def _bar(items: Sequence, shown: bool) -> Iterable:
    if not shown or not items:
        return items
    from tqdm import tqdm

    return tqdm(items, unit="text", desc="text features")
