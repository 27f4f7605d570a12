"""Settings of one dataset in a config file. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vidalign.common.options import option
from vidalign.common.paths import missing, missing_model


@dataclass
class ExtractConfig:
    """How visual features are made from the videos when no feature file is given (runners/extract.py)."""

    encoder: str = option(
        "tiny", "folder or hub name of a Hugging Face CLIP vision model; tiny: a random one, for tests", path=True
    )
    fps: float = option(1.0, "frames per second of video", low=0.01)
    frames: str = option(
        "fps",
        "which frames: at the rate `fps`; or `frames_per_clip` of each, as TOPA's caption demos (stride_floor) or as "
        "MVBench (bounded_segments) takes them",
        choices=("fps", "stride_floor", "bounded_segments"),
    )
    frames_per_clip: int = option(10, "frames of a clip where `frames` is not fps", low=1)
    batch_frames: int = option(64, "frames per forward pass of the encoder", low=1)

    def missing_files(self) -> list[tuple[str, str]]:
        """The encoder's folder, when it is not there: (key, sentence)."""
        text = None if self.encoder == "tiny" else missing_model(self.encoder)
        return [("encoder", f"{text} Give a folder or hub name of a CLIP vision model, or tiny.")] if text else []


@dataclass
class DatasetConfig:
    """One benchmark: where it lies and which splits are used."""

    root: str = option("???", "folder of the annotation files and features", path=True)
    train: str | None = option(None, "split to train on; null: none")
    eval: str | None = option(None, "split to evaluate on; null: none")
    features: str | None = option(
        None,
        "feature file or store, relative to root: clipvitl14.pth (read memory-mapped) or a folder of shards",
        path=True,
    )
    extract: ExtractConfig | None = option(None, "make the features from the videos first, into ${paths.cache}")
    videos: str | None = option(
        None, "folder of the video files, relative to root; null: the benchmark's usual place", path=True
    )
    manifest: str | None = option(
        None,
        "file written by `vidalign scan`, relative to root; null: the one beside the videos, if there is one",
        path=True,
    )
    decoder: str = option("decord", "video decoder (decord: as published)", choices=("decord", "torchcodec", "pyav"))
    keep_decoded_mb: int = option(
        0, "hold whole decoded videos in each loader process, up to so many MB (small videos, many epochs)", low=0
    )
    subtitles: bool = option(False, "put the dialogue into the prompt (benchmarks that have one)")
    official_order: bool = option(False, "How2QA: keep the file's option order (the true option is always first there)")
    missing_features: str = option(
        "fail",
        "a video without features: fail counts it as wrong, zeros feeds one zero row (official)",
        choices=("fail", "zeros"),
    )
    expect_counts: bool = option(False, "stop when a split has not the published number of rows")
    train_share: float = option(
        1.0,
        "train on the first so much of the rows only, each seen more often; an epoch stays as long",
        low=0.0,
        high=1.0,
    )
    mix_options: bool = option(False, "train on a question's options in another order at every visit")
    max_samples: int | None = option(None, "use only the first so many rows (for trying things out)", low=1)

    def problems(self) -> list[tuple[str, str]]:
        """Rules between the values above: (key, sentence)."""
        if self.features is not None and self.extract is not None:
            return [("extract", "`features` names a file and `extract` makes one. Remove one of the two (null).")]
        return []

    def missing_files(self) -> list[tuple[str, str]]:
        """Folders and files that are not where the config says: (key, sentence)."""
        if text := missing(self.root, folder=True):
            return [("root", f"{text} Give the folder of the benchmark, or set paths.data_root.")]
        found = []
        for name, folder in (("features", False), ("videos", True), ("manifest", False)):
            value = getattr(self, name)
            if value is not None and (text := missing(Path(self.root) / value, folder=folder)):
                found.append((name, f"{text} Correct the path (it is relative to root)."))
        return found


@dataclass
class ConversationConfig(DatasetConfig):
    """Conversations to train on."""

    share: float = option(
        1.0, "take only the first so much of the rows after one seeded shuffle (stage one: half)", low=0.0, high=1.0
    )
