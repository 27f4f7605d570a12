"""Features of a frozen encoder from videos: decode, encode, store. Resumable; a broken video never stops it.

One row per kept frame (`at_fps`: the frames ffmpeg's fps filter keeps), in the store of media/features.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.backbones.clip import FrameEncoder, load_clip_vision
from vidalign.common import dist
from vidalign.common.errors import ConfigError, DataError, MediaError
from vidalign.common.io import atomic_write, content_key
from vidalign.common.sample import Media, Sample
from vidalign.media.feature_writer import DTYPE_BYTES, FeatureWriter, estimate_bytes
from vidalign.media.features import FORMAT, FeatureStore
from vidalign.media.load import clip_id, open_known, resolve_video
from vidalign.media.manifest import Manifest
from vidalign.media.sampling import at_fps, bounded_segments, stride_floor
from vidalign.media.transforms import normalize_clip, resize_crop
from vidalign.media.video import VideoReader, decoder_version, require_decoder

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MISSING_FILE = "no file"
Chooser = Callable[[VideoReader], list[int]]


@dataclass
class ExtractionReport:
    """What one process did: counts of videos, and id -> reason of those that have no rows (old failures included)."""

    done: int = 0
    skipped: int = 0
    rows: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def extract_features(
    videos: dict[str, Path],
    *,
    encoder: FrameEncoder,
    store: Path,
    fps: float = 1.0,
    decoder: str = "decord",
    batch_frames: int = 64,
    rank: int = 0,
    world: int = 1,
    decode_threads: int = 2,
    retry_failed: bool = False,
    progress: bool = True,
    shard_videos: int = 256,
    manifest: Manifest | None = None,
    choose: Mapping[str, Chooser] | None = None,
    note: Mapping[str, Any] | None = None,
) -> ExtractionReport:
    """Extract every video of `videos` (id -> file) that the store does not have yet; float16 rows.

    A video counts as finished when the same file (size, modification time) was extracted before, or failed before
    (unless `retry_failed`). Process `rank` of `world` takes every world-th id; all may write to one store. Frames of
    several videos share a batch of `batch_frames`. Decoding runs ahead in `decode_threads` threads. choose: by id,
    which frames are taken instead of those at `fps`; `note` then tells the store about it.
    """
    require_decoder(decoder)
    tower = {"encoder": encoder.name, "encoder_key": encoder.key, "encoder_dtype": encoder.dtype}
    info = {**tower, "fps": None if choose else fps, "decoder": decoder_version(decoder), **(note or {})}
    report = ExtractionReport()
    with FeatureWriter(store, dim=encoder.dim, info=info, shard_videos=shard_videos) as writer:
        todo = []
        for video_id in sorted(videos)[rank::world]:
            place, source = writer.place(video_id), source_key(videos[video_id])
            if place is None or place.source != source or (retry_failed and place.reason):
                todo.append((video_id, source))
                continue
            report.skipped += 1
            if place.reason:
                report.failed[video_id] = place.reason

        def decode(job: tuple[str, str]) -> Tensor | str:
            try:
                return small_frames(
                    videos[job[0]],
                    choose=choose[job[0]] if choose else partial(_at_rate, fps=fps),
                    decoder=decoder,
                    image_px=encoder.image_px,
                    manifest=manifest,
                )
            except MediaError as error:
                return str(error)

        decoded = _ahead(decode, todo, decode_threads)
        _encode(_bar(decoded, len(todo), progress and rank == 0), encoder, writer, report, batch_frames)
    return report


def small_frames(
    path: Path, *, choose: Chooser, decoder: str, image_px: int, chunk: int = 32, manifest: Manifest | None = None
) -> Tensor:
    """uint8 (T, 3, px, px): the chosen frames, resized and cropped; at least one. MediaError as `open_video`.

    Full-size pictures exist only `chunk` at a time.
    """
    import torch

    with open_known(path, decoder=decoder, manifest=manifest) as video:
        kept = choose(video)
        blocks = [kept[i : i + chunk] for i in range(0, len(kept), chunk)]
        return torch.cat([resize_crop(video.frames(block), image_px=image_px) for block in blocks])


def chooser(settings: Any, span: tuple[float, float] | None) -> Chooser:
    """Which frames of a clip ExtractConfig asks for; places outside the video become its first or last frame."""

    def choose(video: VideoReader) -> list[int]:
        n, first = video.num_frames, getattr(video, "first_number", 0)
        if settings.frames == "stride_floor":
            return stride_floor(n, settings.frames_per_clip)
        # Kept: TOPA gives the number of frames where MVBench gives the last one's place; pictures count from 1.
        made = bounded_segments(n, settings.frames_per_clip, fps=video.fps, bound=span, first=first)
        return [min(max(place - first, 0), n - 1) for place in made]

    return choose


def _at_rate(video: VideoReader, *, fps: float) -> list[int]:
    return at_fps(video.num_frames, video.fps, fps)


def source_key(path: Path) -> str:
    """Names a video file by name, size and modification time; a file that appears later has another key.

    A folder of pictures likewise.
    """
    if not path.exists():
        return MISSING_FILE
    status = path.stat()
    return content_key(path.name, status.st_size, status.st_mtime_ns)


def _ahead(decode: Any, jobs: list[tuple[str, str]], threads: int) -> Iterator[tuple[tuple[str, str], Tensor | str]]:
    """(job, result) in order, while the next videos are being decoded; at most 2 per thread wait in memory."""
    pool = ThreadPoolExecutor(threads)
    waiting: deque = deque()
    rest = iter(jobs)
    try:
        for job in rest:
            waiting.append((job, pool.submit(decode, job)))
            if len(waiting) >= 2 * threads:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _encode(
    decoded: Iterable[tuple[tuple[str, str], Tensor | str]],
    encoder: FrameEncoder,
    writer: FeatureWriter,
    report: ExtractionReport,
    batch_frames: int,
) -> None:
    """Encode frames in batches that run over video borders, and hand each video's rows to the writer."""
    pending: list[tuple[tuple[str, str], Tensor]] = []
    for job, frames in decoded:
        if isinstance(frames, str):
            _failed(job, frames, writer, report)
            continue
        pending.append((job, frames))
        if sum(len(waiting) for _, waiting in pending) >= batch_frames:
            _encode_videos(pending, encoder, writer, report, batch_frames)
            pending = []
    _encode_videos(pending, encoder, writer, report, batch_frames)


def _encode_videos(
    pending: list[tuple[tuple[str, str], Tensor]],
    encoder: FrameEncoder,
    writer: FeatureWriter,
    report: ExtractionReport,
    batch_frames: int,
) -> None:
    import torch

    if not pending:
        return
    frames_T3PP = torch.cat([frames for _, frames in pending])
    # Normalised on the encoder's device: uint8 is a quarter of the transfer.
    batches = (batch.to(encoder.device) for batch in frames_T3PP.split(batch_frames))
    rows_TD = torch.cat([encoder(normalize_clip(batch)) for batch in batches])
    for (job, _), rows in zip(pending, rows_TD.split([len(frames) for _, frames in pending]), strict=True):
        try:
            writer.add(job[0], rows, source=job[1])
        except DataError as error:
            _failed(job, str(error), writer, report)
            continue
        report.done += 1
        report.rows += len(rows)


def _failed(job: tuple[str, str], reason: str, writer: FeatureWriter, report: ExtractionReport) -> None:
    writer.fail(job[0], reason, source=job[1])
    report.failed[job[0]] = reason


def _bar(items: Iterable[Any], total: int, shown: bool) -> Iterable[Any]:
    if not shown or not total:
        return items
    from tqdm import tqdm

    return tqdm(items, total=total, unit="video", desc="features")


def estimated_size(
    videos: dict[str, Path], *, fps: float, decoder: str, dim: int, probe: int = 20, manifest: Manifest | None = None
) -> tuple[int, int]:
    """(bytes of the rows, number of videos looked at): `probe` videos are opened, the rest is taken to be alike."""
    names = sorted(videos)
    seconds = []
    for video_id in names[:: max(len(names) // probe, 1)]:
        try:
            with open_known(videos[video_id], decoder=decoder, manifest=manifest) as video:
                seconds.append(video.duration_seconds)
        except MediaError:
            continue
    mean = sum(seconds) / len(seconds) if seconds else 0.0
    return estimate_bytes(seconds=mean * len(names), fps=fps, dim=dim), len(seconds)


def write_official(store: Path, path: Path) -> int:
    """Write a store as the official dictionary {id: (n, D) half tensor}, atomically; returns the number of ids."""
    import torch

    features = FeatureStore.open(store)
    # clone: a slice would drag its whole shard into the file.
    content = {video_id: features.rows(video_id).half().clone() for video_id in features}
    with atomic_write(path, "wb") as file:
        torch.save(content, file)
    return len(content)


def features_for(
    dataset_config: Any,
    samples: Iterable[Sample],
    media_root: Path,
    cache_dir: Path,
    *,
    dim: int | None,
    device: torch.device | str = "cpu",
    progress: bool = True,
    manifest: Manifest | None = None,
) -> Path:
    """Extract what `samples` need by the dataset's `extract:` settings; returns the store's folder in the cache.

    The folder is named by encoder, rate, decoder and video folder; inside it every video is keyed by its file's size
    and time, so a changed file is extracted again and nothing else is. All processes of a run must call this together:
    they share the work and wait for one another. ConfigError when the encoder's width is not `dim` (None: any width).
    """
    settings, decoder = dataset_config.extract, dataset_config.decoder
    require_decoder(decoder)
    # float32 on every device, so that a cache made on a GPU serves a CPU as well.
    encoder = load_clip_vision(settings.encoder, device=device, tiny_dim=dim or 768)
    if dim is not None and encoder.dim != dim:
        raise ConfigError(
            f"extract.encoder {settings.encoder!r} gives {encoder.dim} numbers per frame, but model.visual_dim is "
            f"{dim}; set model.visual_dim={encoder.dim} or choose another encoder"
        )
    root = Path(media_root).resolve()
    rate: Any = settings.fps if settings.frames == "fps" else f"{settings.frames} {settings.frames_per_clip}"
    key = content_key(FORMAT, encoder.key, encoder.dtype, rate, decoder_version(decoder), str(root))
    store = Path(cache_dir) / "features" / f"{encoder.name.replace('/', '_')}-{key}"
    choose = None
    if settings.frames == "fps":
        videos = videos_of(samples, root)
    else:
        videos, choose = clips_of(samples, root, settings)
    if progress and dist.is_main() and not store.exists():
        if choose is not None:
            size = len(videos) * settings.frames_per_clip * encoder.dim * DTYPE_BYTES["float16"]
        else:
            size, _ = estimated_size(videos, fps=settings.fps, decoder=decoder, dim=encoder.dim, manifest=manifest)
        print(f"features of {len(videos)} videos -> {store}, about {size / 2**20:.1f} MiB", flush=True)
    extract_features(
        videos,
        encoder=encoder,
        store=store,
        fps=settings.fps,
        decoder=decoder,
        batch_frames=settings.batch_frames,
        rank=dist.rank(),
        world=dist.world_size(),
        progress=progress,
        manifest=manifest,
        choose=choose,
        note={"per_clip": True, "frames": rate} if choose is not None else None,
    )
    dist.barrier()
    return store


def clips_of(samples: Iterable[Sample], media_root: Path, settings: Any) -> tuple[dict[str, Path], dict[str, Chooser]]:
    """Every clip the samples are about, a video or a span of it: id -> file, and id -> which frames."""
    videos: dict[str, Path] = {}
    choose: dict[str, Chooser] = {}
    for sample in samples:
        if sample.media is None:
            continue
        name = clip_id(sample.media.video_id, sample.span)
        if name not in videos:
            videos[name] = resolve_video(media_root, sample.media)
            choose[name] = chooser(settings, sample.span)
    return videos, choose


def videos_of(samples: Iterable[Sample], media_root: Path) -> dict[str, Path]:
    """Every video the samples name, parts included: id -> file (which need not exist)."""
    videos: dict[str, Path] = {}
    for sample in samples:
        if sample.media is None:
            continue
        for part in sample.media.parts:
            videos.setdefault(part, resolve_video(media_root, Media(kind="video", video_id=part)))
        if not sample.media.parts:
            videos.setdefault(sample.media.video_id, resolve_video(media_root, sample.media))
    return videos
