"""Settings of the drawn benchmark. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from vidalign.common.options import option
from vidalign.data.sets.config import DatasetConfig


@dataclass
class ShapesConfig(DatasetConfig):
    """`shapes`: drawn on first use into `root`; nothing has to be there before."""

    root: str = option("cache/shapes", "folder that the videos and annotation files are written to", path=True)
    seed: int = option(0, "names the drawn clips; another seed gives other clips of the same kinds", low=0)
    num_train: int = option(3000, "clips to train on", low=1)
    num_val: int = option(300, "clips to validate on", low=1)
    num_test: int = option(400, "clips to test on", low=1)
    kinds: list[str] | None = option(
        None, "kinds of clips that take turns, e.g. [order]; null: the benchmark's own mixture"
    )
    form: str = option(
        "options",
        "options: lettered questions; open: answered in a word, in training all about a clip as one conversation",
        choices=("options", "open"),
    )
    train_kinds: list[str] | None = option(
        None, "with form open: kinds of clips whose conversations are trained on, of those drawn; null: all"
    )
    workers: int = option(2, "processes that draw", low=1)
    blind: str | None = option(
        None,
        "a control: blank shows black frames only, frame shows one randomly drawn frame ten times",
        choices=("blank", "frame"),
    )

    def missing_files(self) -> list[tuple[str, str]]:
        """Nothing can be missing but a feature file that the config names: the rest is drawn."""
        return super().missing_files() if self.features is not None else []


@dataclass
class ShapesTextConfig(DatasetConfig):
    """`shapes_text`: the drawn world in captions; `root` holds only the features."""

    root: str = option("cache/shapes_text", "folder that data_prep/shapes_captions.py writes to", path=True)
    seed: int = option(0, "names the clips, as datasets.shapes.seed", low=0)
    num_train: int = option(6000, "textual videos to train on", low=1)
    num_test: int = option(400, "clips of shapes/test whose questions are asked about captions", low=1)


@dataclass
class ShapesParagraphsConfig(DatasetConfig):
    """`shapes_paragraphs`: drawn on first use into `root`; nothing has to be there before."""

    root: str = option("cache/shapes_paragraphs", "folder that the videos are written to", path=True)
    seed: int = option(0, "names the drawn clips", low=0)
    num_train: int = option(1500, "pairs of twins to train on", low=1)
    num_test: int = option(50, "pairs of twins to test on", low=1)
    ask: str = option(
        "paragraphs",
        "what is asked: paragraphs for retrieval; seen, which of three things is in the video; order, which of its "
        "four things is seen first, second, third and last",
        choices=("paragraphs", "seen", "order"),
    )
    workers: int = option(2, "processes that draw", low=1)

    def missing_files(self) -> list[tuple[str, str]]:
        """Nothing can be missing: everything is drawn."""
        return []
