"""ViLA's base models of the drawn world: their texts say what is true, losses fall, files load into the model."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vidalign.data.shapes.one_moment import colour_question, still
from vidalign.data.shapes.world import COLOURS, FLASH
from vidalign.models.vila import prompts
from vidalign.models.vila.config import ViLAConfig, WeightsConfig
from vidalign.models.vila.model import ViLA
from vidalign.runners.shapes import vila as vila_base
from vidalign.runners.shapes.vila_words import (
    DIMS,
    ReaderTrainer,
    frame_words,
    letter_loss,
    strengths,
    sureness,
    text_rows,
    train_words,
    unsure,
    word_tokens,
)

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder, patch, losses = tmp_path_factory.mktemp("base"), pytest.MonkeyPatch(), []
    patch.setattr(vila_base, "_STILLS", 200)
    patch.setattr(vila_base, "_UNSEEN", 40)
    report = vila_base.make_vila_base(
        folder, steps=(8, 8, 8), seed=0, on_step=lambda step, loss: losses.append((step, loss))
    )
    patch.undo()
    return folder, report, losses


def test_losses_fall_and_everything_is_measured(base):
    _, report, losses = base
    assert [step for step, _ in losses] == list(range(8)) * 3
    for part in (losses[:8], losses[8:16], losses[16:]):
        assert part[-1][1] < part[0][1]
    assert set(report["letters"]) == {"text, 16 frames", "still"} and 0 <= report["cross_colour"] <= 1


def test_the_files_load_as_those_of_the_released_models(base):
    folder, _, _ = base
    weights = WeightsConfig(vision=str(folder / "eva_vit.pth"), t5=str(folder / "t5"), start=str(folder / "start.pth"))
    model = ViLA.from_config(ViLAConfig(size="shapes", num_frames=16, weights=weights))
    start = torch.load(folder / "start.pth", weights_only=True)
    assert torch.equal(model.ln_vision.weight, start["ln_vision.weight"])
    assert torch.equal(model.query_tokens_T, start["query_tokens"]), "the teacher starts as a copy"
    assert model.ln_vision.weight.std() > 0.2, "channels weigh differently, or the Frame-Prompter sees nothing"
    vision = torch.load(folder / "eva_vit.pth", weights_only=True)
    assert torch.equal(model.visual_encoder.cls_token, vision["cls_token"])


def test_every_word_is_one_piece(tmp_path):
    for kind in ("t5", "bert"):
        words = train_words(tmp_path / f"{kind}.json", kind=kind)
        assert words.vocab_size <= DIMS.qformer_vocab
        told = [*COLOURS, FLASH, *prompts.LETTERS, "Option"]
        assert all(len(words.words(word)) == 1 for word in told)
        assert len({words.one_id(word) for word in told}) == len(told)


def test_textual_frames_say_what_stills_show(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(30):
        frame, bright = still(rng)
        first, second = frame_words(frame)
        crosses = [thing.colour for thing in frame if thing.shape == FLASH]
        assert first == ([FLASH, *crosses] if crosses else []) and second == []
        assert bright or not crosses
    words = train_words(tmp_path / "t5.json", kind="t5")
    table = torch.nn.Embedding(DIMS.t5["vocab_size"], 8)
    tokens = word_tokens(table, words, [[[FLASH, "red"], []]])
    both = table(torch.tensor([words.one_id(FLASH), words.one_id("red")])).sum(0) / 2**0.5
    assert tokens.shape == (1, DIMS.num_queries, 8) and torch.allclose(tokens[0, 0], both) and not tokens[0, 1].any()


def test_letters_are_supervised_at_the_options(tmp_path):
    words, bert = (train_words(tmp_path / f"{kind}.json", kind=kind) for kind in ("t5", "bert"))
    trainer = ReaderTrainer(words, bert, seed=0)
    asked = [colour_question(np.random.default_rng(row), COLOURS[row]) for row in range(3)]
    ids = [words.encode(prompts.qa_prompt(one.text, one.options)) for one in asked]
    for row, one in zip(ids, asked, strict=True):
        assert [id_ for id_ in row if id_ in trainer._colours] == [words.one_id(option) for option in one.options]


def test_faint_crosses_are_told_half_surely():
    strength = strengths(np.random.default_rng(0), 2000)
    assert 0.25 < (strength == 1).float().mean() < 0.35 and 0.05 < (strength == 0).float().mean() < 0.15
    assert torch.equal(sureness(torch.tensor([0.0, 0.25, 0.5, 1.0])), torch.tensor([0.0, 0.5, 1.0, 1.0]))
    logits, answers, options = torch.randn(3, 7), torch.tensor([5, 2, 6]), torch.tensor([2, 3, 5, 6])
    sure = torch.ones(3)
    assert torch.allclose(unsure(logits, options, answers, sure), F.cross_entropy(logits, answers))
    every = torch.stack([F.cross_entropy(logits, option.expand(3)) for option in options]).mean()
    assert torch.allclose(unsure(logits, options, answers, 0 * sure), every)


def test_the_letter_alone_may_be_unsure(tmp_path):
    words, bert = (train_words(tmp_path / f"{kind}.json", kind=kind) for kind in ("t5", "bert"))
    batch = text_rows(words, bert, [colour_question(np.random.default_rng(row), COLOURS[row]) for row in range(3)])
    said = batch["target_ids"]
    assert said.shape == (3, 3), '"Option", letter, end'
    assert torch.equal(said[:, 1], batch["letter_ids"][batch["answer_idx"]])
    certain = 50.0 * F.one_hot(said, DIMS.t5["vocab_size"])
    assert letter_loss(certain, batch, torch.ones(3)) < 1e-6
    assert letter_loss(certain, batch, torch.zeros(3)) > 10
