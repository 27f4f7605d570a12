"""Media of one Sample as the model wants to see them (MediaSpec): feature rows or decoded frames.

Runs inside loader workers; everything heavy is opened late, and nothing decoded is kept between items unless asked for.
Span and subsampling rules: spec bovila, section 4.5 (official loaders of Flipped-VQA and BoViLA).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vidalign.common.errors import ConfigError, DataError, MediaError
from vidalign.common.rng import draw_seed, generator
from vidalign.common.sample import Media, Sample
from vidalign.media.feature_folder import FeatureFolder
from vidalign.media.features import FeatureStore
from vidalign.media.kept_videos import KeptVideos
from vidalign.media.long_video import clip_frames, clip_window
from vidalign.media.manifest import Manifest
from vidalign.media.pictures import PICTURE_SUFFIXES, PictureFolder, read_picture
from vidalign.media.sampling import FRAME_RULES, frame_indices, index_rule, span_rows, zero_rows
from vidalign.media.spec import MediaSpec
from vidalign.media.tar_shards import is_member, open_member
from vidalign.media.text_frames import fuse_captions
from vidalign.media.transforms import transform_by_name
from vidalign.media.video import VideoReader, open_video, require_decoder

if TYPE_CHECKING:
    from torch import Tensor

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".MP4", ".m4v", ".gif")


@dataclass(frozen=True)
class LoadedMedia:
    """tensor: (num_frames, feature_dim) rows or (num_frames, 3, px, px) frames, float32; None for kind "none".

    note: what was unusual (padding, zeros for a missing video), None when nothing was. kept_frames: index (row of the
    feature file, or frame of the video) and seconds of everything that is not padding. length: rows before padding;
    the zero row that stands for a missing video counts (the official `video_len`). seconds: length of the video file.
    """

    tensor: Tensor | None
    note: str | None = None
    kept_frames: tuple[dict[str, float], ...] = ()
    length: int = 0
    seconds: float | None = None


def clip_id(video_id: str, span: tuple[float, float] | None) -> str:
    """The id of a clip in a store whose rows were chosen inside it."""
    return video_id if span is None else f"{video_id}@{span[0]:g}-{span[1]:g}"


class MediaLoader:
    """sample -> LoadedMedia. `load` raises MediaError for a Sample whose media cannot be used.

    feature_fps: rows per second of the feature file, unless a store of ours says it itself. media_root: folder of the
    video files. missing: "fail" (MediaError) or "zeros" (one zero row, as the official loaders do). manifest: what
    `vidalign scan` found out about them. keep_decoded_mb: whole videos held in memory (kept_videos.py). train: use the
    spec's random rules, with draws named by `seed`.
    Wrong pairings of model and features raise DataError or ConfigError here, before the first Sample.
    """

    def __init__(
        self,
        spec: MediaSpec,
        *,
        features: FeatureStore | FeatureFolder | None = None,
        feature_fps: float = 1.0,
        media_root: Path | None = None,
        decoder: str = "decord",
        missing: str = "fail",
        manifest: Manifest | None = None,
        keep_decoded_mb: int = 0,
        train: bool = False,
        seed: int = 0,
    ) -> None:
        self.train, self.seed = train, seed
        self._kept = KeptVideos(keep_decoded_mb)
        self.spec, self.features, self.media_root = spec, features, media_root
        self.decoder, self.missing, self.manifest = decoder, missing, manifest
        if spec.kind not in ("features", "frames", "none"):
            raise ConfigError(f"MediaSpec kind {spec.kind!r}: known are features, frames, none")
        if missing not in ("fail", "zeros"):
            raise ConfigError(f"missing = {missing!r}: known are fail, zeros")
        if spec.index_rule not in FRAME_RULES:
            index_rule(spec.index_rule)
        if spec.kind == "frames":
            require_decoder(decoder)
        if spec.kind == "features":
            self._check_features()
        # Rows of a clip are all there is of it; which frames they are, the store does not say.
        self._per_clip = bool(getattr(features, "info", {}).get("per_clip"))
        self.feature_fps = (features.fps if features else None) or feature_fps

    def load(self, sample: Sample, *, epoch: int = 0) -> LoadedMedia:
        """The media of one Sample; MediaError(reason) when they cannot be used.

        The epoch names the random draws of training; they depend on nothing else than seed, epoch and uid.
        """
        if self.spec.kind == "none":
            return LoadedMedia(None)
        if sample.media is None:
            if self.spec.optional:
                return LoadedMedia(None)
            raise MediaError("the sample names no video")
        return self._features(sample, epoch) if self.spec.kind == "features" else self._frames(sample, epoch)

    def place(self, sample: Sample) -> str:
        """Where the Sample's media come from, for people."""
        if self.spec.kind == "none" or sample.media is None:
            return "no media"
        if self.spec.kind == "features":
            return f"{sample.media.video_id} in {self.features.path}"
        return str(resolve_video(self.media_root, sample.media))

    def _features(self, sample: Sample, epoch: int) -> LoadedMedia:
        import torch

        whole, span = sample.media, sample.span
        if self._per_clip:
            whole, span = replace(whole, video_id=clip_id(whole.video_id, span)), None
        rows, notes, found = self._all_rows(whole)
        if sample.text_frames:
            rows = fuse_captions(rows, [len(captions) for captions in sample.text_frames])
        span = span_rows(len(rows), span, self.feature_fps) if found else range(len(rows))
        if not span:
            # Kept: a span without rows is one zero row under "zeros", as in How2QA's loader; the other loaders end
            # with nothing but zeros too [golden: data_how2qa].
            self._missing(f"no feature row between {_seconds(sample.span)}: the file has {len(rows)} rows", notes)
            rows, span, found = torch.zeros(1, rows.shape[1]), range(1), False

        indices = [span[i] for i in self._chosen_rows(len(span), sample, epoch)]
        tensor = rows[indices].float()
        if not bool(torch.isfinite(tensor).all()):
            raise MediaError(f"the features of {sample.media.video_id!r} hold NaN or infinity")
        padding = zero_rows(len(indices), self.spec.num_frames) if self.spec.pad else 0
        if padding:
            last = tensor[-1:] if self.spec.repeat_last else torch.zeros_like(tensor[-1:])
            tensor = torch.cat([tensor, last.expand(padding, tensor.shape[1])])
        if padding and found:
            how = "the last one is repeated" if self.spec.repeat_last else "padded with zeros"
            notes.append(f"{len(indices)} of {self.spec.num_frames} feature rows; {how}")
        kept = self._kept_rows(whole.video_id, indices) if found else ()
        return LoadedMedia(tensor, "; ".join(notes) or None, kept, len(indices))

    def _chosen_rows(self, n: int, sample: Sample, epoch: int) -> list[int]:
        """Which of n rows; rules for frames apply to rows that are frames."""
        spec, rule, draw = self.spec, self.spec.index_rule, None
        if self.train and spec.train_index_rule:
            draw, rule = generator(draw_seed(self.seed, epoch, sample.uid, "media")), spec.train_index_rule
        if rule in FRAME_RULES:
            return frame_indices(rule, n, spec.num_frames, fps=1.0, span=None, draw=draw)
        return index_rule(rule)(n, spec.num_frames)

    def _kept_rows(self, name: str, indices: list[int]) -> tuple[dict[str, float], ...]:
        """The rows by number and second; of a clip's own rows the frames behind them, where the store knows them."""
        if not self._per_clip:
            return _kept(indices, self.feature_fps)
        shown = self.features.shown(name)
        return _kept([shown[1][row] for row in indices], shown[0]) if shown else ()

    def _all_rows(self, media: Media) -> tuple[Tensor, list[str], bool]:
        """Rows of the video, or of all its parts one after the other; a part without features is one zero row.

        Also the notes about what is missing, and whether any part was found.
        """
        import torch

        notes: list[str] = []
        blocks = []
        parts = media.parts or (media.video_id,)
        for video_id in parts:
            try:
                blocks.append(self._checked(video_id))
            except MediaError as error:
                self._missing(str(error), notes)
                blocks.append(torch.zeros(1, self._width()))
        rows = blocks[0] if len(blocks) == 1 else torch.cat([block.float() for block in blocks])
        return rows, notes, len(notes) < len(parts)

    def _checked(self, video_id: str) -> Tensor:
        rows = self.features.rows(video_id)
        width = self._width()
        if rows.shape[1] != width:
            raise DataError(f"{self.features.path}: rows of {video_id!r} are {rows.shape[1]} wide, expected {width}")
        return rows

    def _width(self) -> int:
        return self.spec.feature_dim or self.features.dim

    def _missing(self, reason: str, notes: list[str]) -> None:
        """Give up on the Sample, or note that zeros stand for what is not there."""
        if self.missing == "fail":
            raise MediaError(reason)
        notes.append(f"{reason}; zeros instead")

    def _check_features(self) -> None:
        if self.features is None:
            raise DataError(
                "the model reads precomputed features, but the dataset names none: set `features:` to a feature file, "
                "or `extract:` to make them from the videos"
            )
        width, wanted = self.features.dim, self.spec.feature_dim
        if width is not None and wanted is not None and width != wanted:
            raise DataError(
                f"{self.features.path}: feature rows are {width} wide, the model's visual_dim is {wanted}; "
                "set model.visual_dim or give the features of another encoder"
            )

    def _frames(self, sample: Sample, epoch: int) -> LoadedMedia:
        import torch

        spec = self.spec
        rule, draw = spec.index_rule, None
        transform = partial(transform_by_name, spec.transform)
        if self.train and (spec.train_index_rule or spec.train_transform):
            # One generator for frames and box: a Sample's draws follow from seed, epoch and uid alone.
            draw = generator(draw_seed(self.seed, epoch, sample.uid, "media"))
            rule = spec.train_index_rule or rule
            transform = partial(transform_by_name, spec.train_transform or spec.transform, draw=draw)
        if spec.clips is not None and sample.media.parts:
            return self._joined_clips(sample, epoch)
        path = resolve_video(self.media_root, sample.media)
        if path.suffix.lower() in PICTURE_SUFFIXES:
            return LoadedMedia(transform(image_px=spec.image_px)(read_picture(path)))
        opener = partial(open_known, decoder=self.decoder, manifest=self.manifest, square_px=spec.square_px)
        with self._kept.open(path, opener) as video:
            kept = frame_indices(rule, video.num_frames, spec.num_frames, fps=video.fps, span=sample.span, draw=draw)
            frames_THWC = video.frames(kept)
            fps, seconds = video.fps, video.num_frames / video.fps
        tensor = transform(image_px=spec.image_px)(frames_THWC)
        padding = zero_rows(len(kept), spec.num_frames) if spec.pad else 0
        note = None
        if padding:
            # Changed: the official ViLA loader takes a random other Sample, at evaluation too.
            last = tensor[-1:] if spec.repeat_last else torch.zeros_like(tensor[-1:])
            tensor = torch.cat([tensor, last.expand(padding, *tensor.shape[1:])])
            how = "the last one is repeated" if spec.repeat_last else "padded with zeros"
            note = f"{len(kept)} of {spec.num_frames} frames; {how}"
        return LoadedMedia(tensor, note, _kept(kept, fps), len(kept), seconds)

    def _joined_clips(self, sample: Sample, epoch: int) -> LoadedMedia:
        """Equally many frames of each of `spec.clips` neighbouring clips, one after the other."""
        import torch

        spec, parts = self.spec, sample.media.parts
        first = clip_window(len(parts), spec.clips, seed=self.seed, epoch=epoch, uid=sample.uid, train=self.train)
        chosen = parts[first : first + spec.clips]
        share, blocks, seconds = spec.num_frames // len(chosen), [], 0.0
        if share * len(chosen) != spec.num_frames:
            raise MediaError(f"{spec.num_frames} frames cannot be shared by {len(chosen)} clips")
        opener = partial(open_known, decoder=self.decoder, manifest=self.manifest)
        for part in chosen:
            path = resolve_video(self.media_root, Media(kind="video", video_id=part, path=part))
            with self._kept.open(path, opener) as video:
                blocks.append(video.frames(clip_frames(video.num_frames, share)))
                seconds += video.num_frames / video.fps
        if len({block.shape[1:] for block in blocks}) > 1:
            raise MediaError(f"clips of different sizes: {sorted({tuple(block.shape[1:3]) for block in blocks})}")
        frames = transform_by_name(spec.transform, image_px=spec.image_px)(torch.cat(blocks))
        return LoadedMedia(frames, length=spec.num_frames, seconds=seconds)


def open_known(path: Path, *, decoder: str, manifest: Manifest | None, square_px: int | None = None) -> VideoReader:
    """`open_video` with what a scan knows: a file known to be bad fails at once, a changed one is tried in a child.

    A folder counts as a video of the pictures in it; a place in a tar shard (tar_shards.py) as the video there.
    """
    if is_member(path):
        return open_member(path, partial(open_video, decoder=decoder, square_px=square_px))
    if os.path.isdir(path):  # not Path.is_dir: a name that is too long or out of reach is told by open_video
        return PictureFolder(path)
    in_child = manifest.check(path, decoder=decoder) if manifest is not None else None
    return open_video(path, decoder=decoder, in_child=in_child, square_px=square_px)


def resolve_video(media_root: Path | None, media: Media) -> Path:
    """The video file of a Sample: `path` (else the video id) under the root; usual suffixes are tried, a folder of its
    pictures (TVQA's), and "_" for the colons of VLEP's names, which some file systems do not take.

    A file that does not exist is returned all the same: opening it gives the reason.
    """
    root = Path(media_root) if media_root is not None else Path()
    path = root / (media.path or media.video_id)
    if is_member(path) or _exists(path):
        return path
    stem = path.name.removesuffix(path.suffix) if path.suffix in VIDEO_SUFFIXES else path.name
    stems = dict.fromkeys((stem, stem.replace(":", "_")))
    tries = (path.with_name(name + suffix) for name in stems for suffix in (*VIDEO_SUFFIXES, ""))
    return next((candidate for candidate in tries if _exists(candidate)), path)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # no permission to look, a name that is too long: opening it gives the reason
        return False


def _kept(indices: list[int], fps: float) -> tuple[dict[str, float], ...]:
    return tuple({"index": index, "seconds": round(index / fps, 3)} for index in indices)


def _seconds(span: tuple[float, float] | None) -> str:
    return "the start and the end" if span is None else f"{span[0]:g} and {span[1]:g} seconds"
