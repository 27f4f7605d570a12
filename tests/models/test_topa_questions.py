"""Drawing and posing a textual video's question, and the model's own answer compared with options."""

from collections import Counter

import pytest
import torch

from vidalign.common.errors import MediaError
from vidalign.common.sample import QA, Media, Sample
from vidalign.models.topa.questions import Draws, answers_openly, draw, pose
from vidalign.models.topa.similarity import similarity

OPTIONS = ("a key", "a red rose", "a toy car", "a lamp", "a book")


def video(*qas):
    return Sample(
        uid="textvid/train/tv0",
        dataset="textvid",
        split="train",
        task="textvideo",
        media=Media(kind="text_frames", video_id="tv0"),
        texts=("All of it.",),
        qas=qas,
    )


def test_options_move_with_their_answer_and_the_stored_row_stays():
    sample = video(QA(question="what", options=OPTIONS, answer_idx=1, answer="A rose."))
    for _ in range(2):  # the official loader trains a wrong answer the second time
        posed = pose(sample, Draws(0, (3, 1, 0, 4, 2), 0.5), balance=True)
        assert posed.options == ("a lamp", "a red rose", "a key", "a book", "a toy car")
        assert posed.options[posed.answer_idx] == "a red rose" and posed.answers == ("A rose.",)
    assert sample.qas[0].options == OPTIONS and sample.qas[0].answer_idx == 1
    assert pose(sample, Draws(0, (3, 1, 0, 4, 2), 0.5), balance=False).options == OPTIONS


@pytest.mark.parametrize("option", ["Both of them", "all", "None", "a ball", "the sand"])
def test_an_answer_that_speaks_of_other_options_keeps_its_place(option):
    sample = video(QA(question="what", options=("x", option), answer_idx=1))
    assert pose(sample, Draws(0, (1, 0), 0.5), balance=True).options == ("x", option)


def test_draws_are_named_by_epoch_and_every_letter_becomes_true():
    sample = video(*(QA(question=str(n), options=OPTIONS, answer_idx=0) for n in range(3)))
    draws = [draw(sample, seed=1, epoch=epoch) for epoch in range(300)]
    assert draws == [draw(sample, seed=1, epoch=epoch) for epoch in range(300)]
    assert draw(sample, seed=2, epoch=0) != draws[0] or draw(sample, seed=2, epoch=1) != draws[1]
    assert set(Counter(one.question for one in draws)) == {0, 1, 2}
    letters = Counter(pose(sample, one, balance=True).answer_idx for one in draws)
    assert set(letters) == set(range(5)) and min(letters.values()) > 30


def test_a_broken_question_fails_by_name():
    sample = video(QA(problem="question 1 of item 4: answer 'F' is not one of the letters A to E"))
    with pytest.raises(MediaError, match="question 1 of item 4: answer 'F'"):
        pose(sample, draw(sample, seed=0, epoch=0), balance=True)


def test_open_ended_answers_that_need_the_options_are_left_out():
    sample = video(QA(question="q", options=("Both", "a key"), answer_idx=0, answer="Both."))
    assert not answers_openly(pose(sample, Draws(0, (0, 1), 0.0), balance=False))
    sample = video(QA(question="q", options=("Both", "a key"), answer_idx=1, answer="A key."))
    assert answers_openly(pose(sample, Draws(0, (0, 1), 0.0), balance=False))
    assert not answers_openly(
        pose(video(QA(question="q", options=("a", "b"), answer_idx=1)), Draws(0, (0, 1), 0.0), balance=False)
    )


def test_the_most_similar_option_has_the_highest_score():
    table = torch.eye(6)
    options = [torch.tensor([1]), torch.tensor([2, 3]), torch.tensor([], dtype=torch.long)]
    scores = similarity(table, torch.tensor([3, 2]), options)
    assert scores.tolist() == [0.0, pytest.approx(1.0), 0.0]
    assert similarity(table, torch.tensor([], dtype=torch.long), options).tolist() == [0.0] * 3
