"""Frames as a frozen picture encoder left them: every clip's outputs written once, read instead of decoding.

For models whose encoder never trains (`Model.stored_frames`). Frames are those of the evaluation, through its
transform, so stored training is an opt-in: it sees no random crops and no frames between the stored ones. Rows are
float16.
Shape letters: T stored frames of a clip, P pixels of a side, D numbers of a frame's output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.common import dist
from vidalign.common.errors import ConfigError, DataError, MediaError
from vidalign.common.io import content_key
from vidalign.common.sample import Sample
from vidalign.media.feature_writer import DTYPE_BYTES, FeatureWriter
from vidalign.media.features import FORMAT, FeatureStore
from vidalign.media.load import clip_id, open_known, resolve_video
from vidalign.media.manifest import Manifest
from vidalign.media.sampling import frame_indices
from vidalign.media.spec import MediaSpec
from vidalign.media.transforms import transform_by_name
from vidalign.media.video import decoder_version, require_decoder
from vidalign.runners.extract import source_key

if TYPE_CHECKING:
    from torch import Tensor

Clip = tuple[Path, tuple[float, float] | None]
_SHARD_BYTES = 1 << 28


def stored_media(
    model: Any,
    samples: Iterable[Sample],
    media_root: Path,
    cache_dir: Path,
    *,
    train: bool,
    decoder: str,
    manifest: Manifest | None = None,
    progress: bool = True,
    decode_threads: int = 2,
) -> tuple[MediaSpec, FeatureStore] | None:
    """(what the model then wants, the store that has it), or None where frames are to be decoded.

    Writes the clips that the store lacks; all processes of a run must call this together. ConfigError, before anything
    is written, when they would take more than the config allows.
    """
    wanted = model.stored_frames(train=train) if hasattr(model, "stored_frames") else None
    if wanted is None:
        return None
    require_decoder(decoder)
    spec, root = model.media_spec(), Path(media_root).resolve()
    spec = replace(spec, num_frames=wanted.frames, train_index_rule=None, train_transform=None)
    rule = [spec.index_rule, spec.transform, spec.square_px, wanted.frames]
    key = content_key(FORMAT, wanted.key, rule, decoder_version(decoder), str(root))
    folder = Path(cache_dir) / "features" / f"{wanted.name}-{key}"
    clips: dict[str, Clip] = {}
    for sample in samples:
        name = clip_id(sample.media.video_id, sample.span)
        clips.setdefault(name, (resolve_video(root, sample.media), sample.span))
    info = {"encoder": wanted.name, "encoder_key": wanted.key, "frames": rule, "decoder": decoder_version(decoder)}
    writer = FeatureWriter(
        folder,
        dim=wanted.dim,
        info={**info, "per_clip": True, "fps": None},
        shard_rows=max(_SHARD_BYTES // (wanted.dim * DTYPE_BYTES["float16"]), 1),
    )
    todo = [name for name, (path, _) in sorted(clips.items()) if not writer.is_done(name, source_key(path))]
    _require_room(len(todo), wanted, folder, shown=progress and dist.is_main())
    pixels = partial(_pixels, spec=spec, decoder=decoder, manifest=manifest)
    with writer:
        own = todo[dist.rank() :: dist.world_size()]
        _write(own, clips, pixels, wanted.encode, writer, threads=decode_threads, progress=progress and dist.is_main())
    dist.barrier()
    media = model.media_spec()
    return replace(media, kind="features", feature_dim=wanted.dim, train_transform=None), FeatureStore.open(folder)


def _require_room(count: int, wanted: Any, folder: Path, *, shown: bool) -> None:
    clip_bytes = wanted.frames * wanted.dim * DTYPE_BYTES["float16"]
    if not count:
        return
    size = count * clip_bytes / 2**30
    text = f"{count} clips x {wanted.frames} frames ({clip_bytes / 2**20:.3g} MiB a clip) = {size:.3g} GiB in {folder}"
    if size > wanted.max_gib:
        raise ConfigError(
            f"model.store.max_gib: the encoder's outputs of {text}, and {wanted.max_gib:g} GiB are allowed; write "
            f"model.store.max_gib={size * 1.01:.3g} when the disk has room for them, or model.store.use=never"
        )
    if shown:
        print(f"storing the frozen encoder's outputs: {text}", flush=True)


def _pixels(
    clip: Clip, *, spec: MediaSpec, decoder: str, manifest: Manifest | None
) -> tuple[Tensor, tuple[float, list[int]]]:
    """(uint8 (T, 3, P, P), (frames per second, the frames' numbers)); MediaError as `open_video`."""
    path, span = clip
    with open_known(path, decoder=decoder, manifest=manifest, square_px=spec.square_px) as video:
        kept = frame_indices(spec.index_rule, video.num_frames, spec.num_frames, fps=video.fps, span=span, draw=None)
        frames = video.frames(kept)
        return transform_by_name(spec.transform, image_px=spec.image_px)(frames), (video.fps, kept)


def _write(
    names: list[str],
    clips: dict[str, Clip],
    pixels: Callable[[Clip], tuple[Tensor, tuple[float, list[int]]]],
    encode: Callable[[Tensor], Tensor],
    writer: FeatureWriter,
    *,
    threads: int,
    progress: bool,
) -> None:
    from tqdm import tqdm

    def decoded(name: str) -> Any:
        try:
            return pixels(clips[name])
        except MediaError as error:
            return str(error)

    with ThreadPoolExecutor(threads) as pool, tqdm(total=len(names), unit="clip", disable=not progress) as bar:
        for start in range(0, len(names), 4 * threads):  # so many clips lie in memory at once
            part = names[start : start + 4 * threads]
            for name, done in zip(part, pool.map(decoded, part), strict=True):
                source = source_key(clips[name][0])
                if isinstance(done, str):
                    writer.fail(name, done, source=source)
                else:
                    _add(name, done, encode, writer, source)
                bar.update()


def _add(name: str, done: Any, encode: Callable[[Tensor], Tensor], writer: FeatureWriter, source: str) -> None:
    frames, shown = done
    try:
        writer.add(name, encode(frames), source=source, shown=shown)
    except DataError as error:
        writer.fail(name, str(error), source=source)
