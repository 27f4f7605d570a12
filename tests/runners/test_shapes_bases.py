"""The base models of the drawn world: rows as BoViLA's, targets that are true, and (slow) the shortened demo."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from vidalign.data.shapes.questions import questions_of
from vidalign.data.shapes.world import NUM_SLOTS, WHITE
from vidalign.runners.shapes.bases import make_bases
from vidalign.runners.shapes.settings import BaseSettings
from vidalign.runners.shapes.text import SILENT, WORDS, TextMaker, asked_for, base_clips, make_tokenizer, narration


@pytest.fixture(scope="module")
def clips():
    return base_clips(0, 120)


@pytest.fixture(scope="module")
def maker(clips, tmp_path_factory):
    return TextMaker(make_tokenizer(tmp_path_factory.mktemp("tokenizer") / "tokenizer.model", clips))


def test_every_word_is_one_piece_with_an_id_of_its_own(maker):
    assert len({maker.word_id[word] for word in WORDS}) == len(WORDS)
    assert all(len(maker.tokenizer.encode(word)) == 1 for word in WORDS)


def test_lettered_rows_name_the_right_places(maker, clips):
    asked = [question for clip in clips for question in questions_of(clip)][:40]
    rows = maker.lettered(asked)
    for b, question in enumerate(asked):
        assert rows.ids_BT[b, rows.paren_B[b] + 1] == maker.letters[question.answer_idx]
        words = [maker.tokenizer.decode([int(rows.ids_BT[b, place])]).strip() for place in rows.option_B4[b]]
        assert words == list(question.options)
        assert rows.word_B[b] == maker.word_id[question.answer]


def test_asking_rows_supervise_the_question_alone(maker, clips):
    question = questions_of(clips[0])[0]
    ids, there = maker.asking([question])
    assert maker.tokenizer.decode(ids[0][there[0]].tolist()).strip() == question.text.capitalize() + "?"


def test_look_up_and_rank_lists_are_true(maker, clips):
    rng = np.random.default_rng(0)
    ids, places, options = maker.look_up_lists(rng, 4)
    for b in range(4):
        letter_of = {int(ids[b, place]): maker.letters[i] for i, place in enumerate(options[b])}
        for place in places[b]:
            assert letter_of[int(ids[b, place - 2])] == ids[b, place + 1]
    order = [clip for clip in clips if clip.kind == "order"][:3]
    ids, places, words, ranks = maker.rank_lists(rng, order)
    for b, clip in enumerate(order):
        assert [maker.word_id[clip.facts["colours"][rank]] for rank in ranks[b]] == words[b].tolist()
        assert ids[b, places[b] + 1].tolist() == words[b].tolist()


def test_narration_says_what_is_true(clips):
    for clip in clips:
        direction, colours, turns, starts = narration(clip)
        assert all(len(row) == NUM_SLOTS for row in (direction, colours, turns, starts))
        if clip.kind == "count":
            assert turns[-1] == clip.facts["times"] == sum(starts)
            assert (clip.frames[1][0].colour == WHITE) == (starts[0] == 1)
        if clip.kind == "order":
            assert colours[-1] == 4 == sum(starts)
        if clip.kind in ("while", "vanish"):
            assert {*direction, *colours, *turns, *starts} == {SILENT}
    assert {asked_for(question) for clip in clips for question in questions_of(clip)} == {0, 1, 2, 3, 4, 5, 7}


def test_a_base_is_the_same_in_every_making(tmp_path):
    few = {"text_clips": 40, "text_steps": 3, "look_up_steps": 1, "gate": 0.0, "picture_clips": 12, "picture_steps": 3}
    for name in ("one", "two"):
        torch.rand(1)  # whatever was drawn before
        settings = BaseSettings(text_only="still", **few)
        make_bases(tmp_path / name, settings, parts=("clip", "llm"), workers=1, progress=False)
    for part in ("clip", "llm"):
        one, two = ((tmp_path / name / part / "model.safetensors").read_bytes() for name in ("one", "two"))
        assert one == two, part


@pytest.mark.slow
def test_shortened_demo_learns(repository, tmp_path):
    # One easy question: a base for it is made in a minute or two, and BoViLA learns it from its random start.
    options = [f"paths.cache={tmp_path / 'cache'}", f"run.output_dir={tmp_path / 'run'}"]
    done = subprocess.run(
        [sys.executable, "data_prep/shapes_demo.py", "--short", "--options", *options],
        cwd=repository,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    report = json.loads((tmp_path / "cache" / "shapes_bases" / "llm.report.json").read_text())
    assert report["letters_from_text"]["core"] >= 0.8

    def accuracy(folder):
        return json.loads((tmp_path / "run" / folder / "metrics.json").read_text())["shapes/test"]["accuracy"]

    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    [before] = [line for line in lines if line["kind"] == "eval_before_training"]
    # 200 questions: three standard errors are 0.09. One frame shows all there is to see here.
    assert before["accuracy"] <= 0.40 and accuracy("control_blank") <= 0.36
    # Seen: 0.46 after 80 of the 180 steps.
    assert accuracy(".") >= 0.42 and accuracy("control_frame") >= 0.42
    assert "before training" in done.stdout and "one frame" in done.stdout
