"""Builder of the drawn paragraphs: `datasets: {shapes_paragraphs: {train: train, eval: test}}`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from vidalign.common import dist
from vidalign.common.errors import DataError, unknown
from vidalign.common.io import atomic_write
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.data.sets.base import Builder
from vidalign.data.shapes.config import ShapesParagraphsConfig
from vidalign.data.shapes.files import draw_missing, folder_name
from vidalign.data.shapes.paragraphs import KEPT_FRAMES, RADIUS_PX, WORDS, paragraph_pair
from vidalign.data.shapes.samples import PARAGRAPHS, order_questions, paragraphs, seen_questions
from vidalign.data.shapes.world import Clip
from vidalign.text.wordpiece import SPECIALS

_BY_ASK = {
    "paragraphs": DatasetInfo(name=PARAGRAPHS, task="retrieval", headline="R@1"),
    "seen": DatasetInfo(name=PARAGRAPHS, task="mc_qa"),
    "order": DatasetInfo(name=PARAGRAPHS, task="mc_qa"),
}
_QUESTIONS = {"seen": seen_questions, "order": order_questions}


class ShapesParagraphs(Builder):
    """`ShapesParagraphs(config).samples(split)`: draws the clips of the split that are not there yet.

    Twins follow one another and share meta["group"] (run.sampler: grouped); meta["twin"] is the other's video id.
    """

    info: ClassVar[DatasetInfo] = _BY_ASK["paragraphs"]

    def __init__(self, config: ShapesParagraphsConfig) -> None:
        super().__init__(config)
        self.info = _BY_ASK[config.ask]

    @property
    def media_root(self) -> Path:
        """Folder of the mp4 files of this seed."""
        return self.root / f"{folder_name(self.config.seed)}-r{RADIUS_PX:g}-{len(KEPT_FRAMES)}f"

    def pairs(self, split: str) -> list[tuple[Clip, Clip]]:
        """The twins of a split, undrawn."""
        counts = {"train": self.config.num_train, "test": self.config.num_test}
        if split not in counts:
            raise DataError(f"datasets.{self.info.name}: {unknown('split', split, counts)}")
        return [paragraph_pair(self.config.seed, split, index) for index in range(counts[split])]

    def samples(self, split: str) -> list[Sample]:
        """The paragraphs, or the questions about each; their videos exist afterwards.

        All processes of a run must call this together: the first one draws, the others wait.
        """
        pairs = self.pairs(split)
        if dist.is_main():
            clips = [clip for pair in pairs for clip in pair]
            draw_missing(clips, self.media_root, kept=KEPT_FRAMES, workers=self.config.workers)
        dist.barrier()
        if self.config.ask in _QUESTIONS:
            made = [one for pair in pairs for clip in pair for one in _QUESTIONS[self.config.ask](clip, split)]
        else:
            made = [one for pair in pairs for one in paragraphs(pair, split)]
        return made[: self.config.max_samples]


def write_vocabulary(path: Path) -> None:
    """A BERT vocab.txt of the words that paragraphs and questions use."""
    with atomic_write(path) as file:
        file.write("\n".join([*SPECIALS, *WORDS]) + "\n")
