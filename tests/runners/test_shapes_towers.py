"""The T5 and the vision tower of the drawn world: their rows say what is true, their files load, their losses fall."""

import json

import pytest
import torch

from vidalign.backbones.eva_vit import EvaViT
from vidalign.backbones.flan_t5 import load_flan_t5
from vidalign.common.errors import UserError
from vidalign.data.shapes.questions import questions_of
from vidalign.data.shapes.world import NUM_SLOTS
from vidalign.runners.shapes.bases import make_bases, part_key
from vidalign.runners.shapes.parts import pictured_clips
from vidalign.runners.shapes.settings import BaseSettings
from vidalign.runners.shapes.t5 import T5Trainer, encode, t5_prompt, train_t5_tokenizer, word_frames
from vidalign.runners.shapes.text import WORDS, TextMaker, base_clips, make_tokenizer
from vidalign.runners.shapes.vision import SIZES, train_vision


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    folder, clips = tmp_path_factory.mktemp("t5"), base_clips(0, 120)
    maker = TextMaker(make_tokenizer(folder / "tokenizer.model", clips))
    return T5Trainer(train_t5_tokenizer(folder / "tokenizer.json", clips), maker, clips, seed=0)


def test_every_word_is_one_piece_of_its_own(trainer):
    assert len({trainer.words.one_id(word) for word in WORDS}) == len(WORDS)
    assert all(len(trainer.words.words(word)) == 1 for word in WORDS)


def test_rows_begin_with_the_frames_and_options_stand_where_they_are_supervised(trainer):
    asked = [question for clip in trainer.clips[:8] for question in questions_of(clip)]
    frames = word_frames(trainer.words, trainer.maker, [trainer.clips[0]] * len(asked))
    hidden, mask = encode(trainer.t5, trainer.words, asked, frames)
    ids, there = trainer.words.pad([trainer.words.encode(t5_prompt(question)) for question in asked])
    assert hidden[0].shape[1] == NUM_SLOTS + ids.shape[1] and torch.equal(mask[:, NUM_SLOTS:], there)
    places = trainer.option_places(asked)
    for row, question in enumerate(asked):
        words = [int(ids[row, place - NUM_SLOTS]) for place in places[row]]
        assert words == [trainer.words.one_id(option) for option in question.options]


def test_t5_learns_to_say_option_and_loads_again(trainer, tmp_path):
    losses = []
    trainer.train(steps=14, look_up_steps=4, on_step=lambda step, loss: losses.append(loss))
    assert losses[-1] < losses[4]
    trainer.t5.save_pretrained(tmp_path)
    again = load_flan_t5(tmp_path, dtype=torch.float32)
    assert torch.equal(again.lm_head.weight, trainer.t5.lm_head.weight)


def test_vision_tower_learns_and_loads_again(tmp_path):
    clips, losses = pictured_clips(BaseSettings(picture_clips=8), ("direction", "order")), []
    report = train_vision(tmp_path, clips, clips[:2], steps=12, seed=0, on_step=lambda step, loss: losses.append(loss))
    assert losses[-1] < losses[0] and 0 <= report["words_read"] <= 1
    tower = EvaViT(**json.loads((tmp_path / "sizes.json").read_text()))
    tower.load_official(torch.load(tmp_path / "eva_vit.pth", weights_only=True), where="eva_vit.pth")
    assert tower.dim == SIZES["dim"]


def test_parts_have_keys_of_their_own_and_unknown_ones_are_told(tmp_path):
    few = BaseSettings(picture_steps=7)
    assert part_key("clip", few) != part_key("clip", BaseSettings())
    assert part_key("llm", few) == part_key("llm", BaseSettings())
    with pytest.raises(UserError, match="Did you mean 'clip'"):
        make_bases(tmp_path, few, parts=["clop"])
