"""Drawn paragraphs as a dataset: twins that stand together, short files, questions that content cannot answer."""

import numpy as np
import pytest

from vidalign.common.errors import DataError
from vidalign.data.group_sampler import group_of
from vidalign.data.shapes.config import ShapesParagraphsConfig
from vidalign.data.shapes.draw import RGB
from vidalign.data.shapes.paragraph_sets import ShapesParagraphs, write_vocabulary
from vidalign.media.video import open_video
from vidalign.text.wordpiece import WordPiece


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("paragraphs")


def builder(root, **changes):
    return ShapesParagraphs(ShapesParagraphsConfig(root=str(root), num_train=3, num_test=2, workers=1, **changes))


def test_twins_follow_one_another_and_name_one_another(root):
    samples = builder(root).samples("train")
    assert len(samples) == 6
    for one, two in zip(samples[::2], samples[1::2], strict=True):
        assert group_of(one) == group_of(two)
        assert (one.meta["twin"], two.meta["twin"]) == (two.media.video_id, one.media.video_id)
        assert sorted(one.texts) == sorted(two.texts) and one.texts != two.texts
    assert len({group_of(sample) for sample in samples}) == 3
    with pytest.raises(DataError, match="Did you mean 'test'"):
        builder(root).samples("tset")


def test_a_file_shows_the_four_things_three_frames_each(root):
    made = builder(root)
    [sample, *_] = made.samples("test")
    with open_video(made.media_root / sample.media.path, decoder="pyav") as video:
        assert (video.num_frames, video.fps, video.duration_seconds) == (12, 4.0, 3.0)
        frames = video.frames(range(12)).numpy().astype(int)
    names = list(RGB)[:6]
    for number, frame in enumerate(frames):
        far = np.abs(frame[:, :, None] - np.array([RGB[name] for name in names])).sum(axis=-1)
        counts = (far < 60).sum(axis=(0, 1))
        assert names[counts.argmax()] in sample.texts[number // 3]


def test_every_option_is_seen_and_the_rank_decides(root):
    texts = {sample.media.video_id: sample.texts for sample in builder(root).samples("test")}
    made = builder(root, ask="order")
    samples = made.samples("test")
    assert len(samples) == 16 and made.info.task == "mc_qa"
    for number, sample in enumerate(samples):
        seen = texts[sample.media.video_id]
        assert sorted(sample.options) == sorted(seen)
        assert sample.options[sample.answer_idx] == seen[number % 4]
    assert len({sample.answer_idx for sample in samples}) > 1


def test_one_option_is_seen_and_no_colour_tells_which(root):
    texts = {sample.media.video_id: sample.texts for sample in builder(root).samples("test")}
    samples = builder(root, ask="seen").samples("test")
    assert len(samples) == 16 and len({sample.uid for sample in samples}) == 16
    for number, sample in enumerate(samples):
        seen = texts[sample.media.video_id]
        assert sample.options[sample.answer_idx] == seen[number % 4]
        colours = [option.split()[1] for option in sample.options]
        assert len(set(colours)) == len(colours) == 3
        shown = {text.split()[1] for text in seen}
        assert [colour in shown for colour in colours].index(True) == sample.answer_idx
        assert sum(colour in shown for colour in colours) == 1
    assert {sample.answer_idx for sample in samples} == {0, 1, 2}


def test_the_vocabulary_has_every_word(root):
    write_vocabulary(root / "vocab.txt")
    tokenizer = WordPiece(root / "vocab.txt")
    samples = builder(root, ask="order").samples("train")
    for text in {text for sample in samples for text in (sample.question, *sample.options)}:
        tokens = tokenizer.encode(text)
        assert len(tokens) == len(text.split()) and tokenizer.unk_id not in tokens
