"""TOPA's prompts: what each tokenizer supervises, captions, demo texts, MVBench's rules."""

from __future__ import annotations

import pytest

from vidalign.common.sample import DatasetInfo, Media, Sample
from vidalign.media.sampling import bounded_segments, stride_floor
from vidalign.models.topa.captioning import DEMOS, caption_of, question_block
from vidalign.models.topa.prompts import prompt_form, summary_text
from vidalign.models.topa.rows import open_row, summary_row
from vidalign.scoring.mvbench import loosely_right, true_option
from vidalign.text.prompt_rows import RowMaker
from vidalign.text.sample_rows import SampleRows
from vidalign.text.tokenizers import load_tokenizer, tiny_tokenizer

SAMPLE = Sample(
    uid="nextqa/val/1",
    dataset="nextqa",
    split="val",
    task="mc_qa",
    media=Media(kind="video", video_id="v"),
    # Words the official code searches for.
    question="What does the Answer: say",
    options=("Video", "Answer: (B)"),
    answer_idx=1,
)


@pytest.fixture(scope="session", params=["tiny", "llama", "llama3"])
def tokenizer(request, tmp_path_factory):
    if request.param == "tiny":
        return tiny_tokenizer(tmp_path_factory.mktemp("tiny"))
    return load_tokenizer(request.getfixturevalue("shared") / "data/tokenizers" / request.param)


def form(tokenizer, dataset="nextqa"):
    return prompt_form(tokenizer, dataset=dataset, dialogue=False)


def supervised(tokenizer, row):
    assert row.ids[-1] == tokenizer.eos_id
    return tokenizer.decode(list(row.ids[row.supervised : -1])).strip()


@pytest.mark.parametrize(("dataset", "words"), [("nextqa", "choice is (B)"), ("star", "is (B)")])
def test_supervision_begins_at_the_released_models_word(tokenizer, dataset, words):
    rows = SampleRows(
        tokenizer,
        form=form(tokenizer, dataset),
        info=DatasetInfo(name=dataset, task="mc_qa"),
        num_frames=3,
        max_seq_len=300,
        train=True,
    )
    said = supervised(tokenizer, rows.rows("vqa", SAMPLE, [1])[0])
    later = words.split(" ", 1)[1]
    assert said == (later if type(tokenizer).__name__ == "Llama3Tokenizer" else words)


def test_captions_are_supervised_from_the_colon_on(tokenizer):
    maker = RowMaker(tokenizer, form=form(tokenizer), num_frames=3, dialogue_form=False)
    row = summary_row(maker, summary_text("A Description: of it."))
    assert supervised(tokenizer, row) == ": A Description: of it."
    row = open_row(maker, "Question: Which Answer: is it?\n", "\nAnswer: a ball")
    assert supervised(tokenizer, row) == ": a ball"
    assert row.ids[row.video_start : row.video_start + 3] == (-2, -2, -2)


def test_egoschema_questions_may_end_with_a_full_stop(tokenizer):
    assert form(tokenizer, "egoschema").endings == ("?", ".")
    assert form(tokenizer).endings == ("?",)


def test_caption_of_a_demo():
    assert caption_of("x It is a video of  a man. He It is a video of y", DEMOS["msrvtt"]) == "a man"
    assert caption_of("nothing like it", DEMOS["msrvtt"]) == ""
    assert caption_of("Video Caption: The video shows kids", DEMOS["vatex"]) == "kids"


def test_mvbench_rules():
    assert question_block("What", ["a", "b"]) == "Question: What\nChoices: \n(A) a\n(B) b\n"
    assert true_option(["x", "y", "x"], "x") == 2
    assert loosely_right("(b).", "(B) y") and loosely_right("", "(D) z") and not loosely_right("A", "(D) hand")


def test_frames_of_the_demos():
    assert stride_floor(97, 10) == [0, 9, 18, 27, 36, 45, 54, 63, 72, 81]
    assert stride_floor(9, 10) == [0] * 10
    assert bounded_segments(300, 10, fps=30.0) == list(range(15, 300, 30))
    assert bounded_segments(80, 4, fps=25.0, bound=(1, 2)) == [28, 34, 40, 47]
