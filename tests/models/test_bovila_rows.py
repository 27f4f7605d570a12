"""Prompt rows on texts that mislead a search for tokens, with every tokenizer; overflow; the collate."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from vidalign.common.errors import ConfigError, DataError, MediaError
from vidalign.common.sample import DatasetInfo, Media, Sample, Subtitle
from vidalign.models.bovila.config import BoViLAConfig
from vidalign.models.bovila.processor import PromptProcessor, RowForm, build_processor
from vidalign.models.bovila.prompts import ANSWER_STEM
from vidalign.text.prompt_texts import texts_of
from vidalign.text.row_fields import row_fields
from vidalign.text.tokenizers import Tokenizer, load_tokenizer, tiny_tokenizer

PLAIN = DatasetInfo(name="made", task="mc_qa")
SPOKEN = DatasetInfo(name="made", task="mc_qa", dialogue="tvqa")
FRAMES = 3
# A dialogue of words the official code searches for.
SPEECH = (Subtitle(start=1, end=2, text="Question: Answer: Video:\nsaid the man"), Subtitle(start=3, end=4, text="yes"))
QUESTIONS = (
    "what does the man do",
    "Answer: Question: Video: which Answer\nQuestion is it",
    "  is “this” a 猫 or 42 dogs??",
    "?",
)


def made(**changes: Any) -> Sample:
    base = Sample(
        uid="made/val/1",
        dataset="made",
        split="val",
        task="mc_qa",
        media=Media(kind="video", video_id="v"),
        question=QUESTIONS[0],
        options=("Answer", "the (B) option\nVideo:", "10"),
        answer_idx=1,
        subtitles=SPEECH,
        meta={"row": 0},
    )
    return replace(base, **changes)


@pytest.fixture(scope="session", params=["tiny", "llama", "llama3"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    if request.param == "tiny":
        return tiny_tokenizer(tmp_path_factory.mktemp("tiny"))
    shared = request.getfixturevalue("shared")
    return load_tokenizer(shared / "data/tokenizers" / request.param)


@pytest.fixture
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return tiny_tokenizer(tmp_path_factory.getbasetemp() / "tiny_cache")


def processor(tokenizer: Tokenizer, info: DatasetInfo = SPOKEN, **settings: Any) -> PromptProcessor:
    usual = {"num_frames": FRAMES, "max_seq_len": 600, "streams": ("vqa", "vaq", "qav"), "train": True}
    return PromptProcessor(tokenizer, info=info, **(usual | settings))


@pytest.mark.parametrize("info", [PLAIN, SPOKEN], ids=["plain", "dialogue"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_spans_hold_exactly_answer_question_and_frames(tokenizer: Tokenizer, info: DatasetInfo, question: str) -> None:
    sample = made(question=question)
    made_processor = processor(tokenizer, info)
    [batch] = [made_processor.collate([made_processor(sample, torch.ones(FRAMES, 4))])]
    asked = texts_of(sample, dialogue_rule=None, answer_stem=ANSWER_STEM).question.removeprefix("Question:").strip()

    def supervised(stream: str) -> list[int]:
        labels = batch[stream]["labels"][0, 0]
        return labels[labels != 0].tolist()

    assert supervised("vqa")[-1] == supervised("vaq")[-1] == tokenizer.eos_id
    assert tokenizer.decode(supervised("vqa")[:-1]).strip() == "(B)"
    assert tokenizer.decode(supervised("vaq")[:-1]).strip() == asked
    start, count = batch["question_start"].item(), batch["question_len"].item()
    assert tokenizer.decode(batch["vqa"]["ids"][0, 0, start : start + count].tolist()).strip() == asked
    prefix = batch["vaq_prefix"].item()
    assert (batch["vaq"]["labels"][0, 0] != 0).nonzero()[0].item() == prefix
    for stream in ("vqa", "vaq", "qav"):
        ids, at = batch[stream]["ids"][0, 0], batch[stream]["video_start"].item()
        assert not ids[at : at + FRAMES].any(), "placeholders are 0"
        before = tokenizer.decode(ids[max(at - 12, 0) : at].tolist())
        assert before.endswith("Video:")
    video = batch["qav"]["labels"][0, 0]
    assert video[video >= 0].tolist() == list(range(FRAMES)) and video[batch["qav"]["video_start"]] == 0


def test_official_positions_are_misled_ours_are_not(shared: Path) -> None:
    llama = load_tokenizer(shared / "data/tokenizers/llama")
    sample = made(options=("the\nAnswer sheet", "no"))
    ours = processor(llama, PLAIN).rows(sample)["vqa"][0]
    official = processor(llama, PLAIN, form=RowForm(official_positions=True)).rows(sample)["vqa"][0]
    assert ours.ids == official.ids
    assert ours.supervised == len(ours) - 4
    assert official.supervised < ours.supervised
    plain = made(options=("runs", "sits"))
    for stream in ("vqa", "vaq", "qav"):
        same = [processor(llama, PLAIN, form=RowForm(official_positions=p)).rows(plain)[stream] for p in (True, False)]
        assert same[0] == same[1]


def test_evaluation_rows_differ_in_the_letter_only(tokenizer: Tokenizer) -> None:
    rows = processor(tokenizer, train=False).rows(made(answer_idx=None))
    assert list(rows) == ["vqa"] and len(rows["vqa"]) == 3
    first, *others = rows["vqa"]
    for other in others:
        assert len(other) == len(first) and other.supervised == first.supervised
        assert sum(a != b for a, b in zip(first.ids, other.ids, strict=True)) == 1


def test_dialogue_is_cut_from_its_end(tiny: Tokenizer) -> None:
    whole = processor(tiny).rows(made())
    length = max(len(rows[0]) for rows in whole.values()) - 5
    short = processor(tiny, max_seq_len=length)
    for stream, [row] in short.rows(made()).items():
        [full] = whole[stream]
        cut = max(len(full) - length, 0)
        assert len(row) == len(full) - cut
        assert row.ids[: row.cut_end] == full.ids[: full.cut_end - cut]
        assert row.ids[row.cut_end :] == full.ids[full.cut_end :]
        assert row.ids[row.supervised :] == full.ids[full.supervised :]
    [row], [full] = short.rows(made())["vqa"], whole["vqa"]
    count = short.sample_rows.maker.question_length(short.sample_rows.texts(made()))
    assert row.ids[row.question_start :][:count] == full.ids[full.question_start :][:count]


@pytest.mark.parametrize("subtitles", [None, SPEECH])
def test_what_does_not_fit_is_refused(tiny: Tokenizer, subtitles: tuple | None) -> None:
    sample = made(subtitles=subtitles)
    with pytest.raises(DataError, match=r"made/val/1: the \w+ prompt has \d+ tokens, more than max_seq_len 40"):
        processor(tiny, max_seq_len=40).rows(sample)
    with pytest.raises(MediaError, match="the vqa prompt has"):
        processor(tiny, max_seq_len=40, train=False).rows(sample)


def test_official_overflow_cuts_the_answer_away_but_not_the_video(tiny: Tokenizer) -> None:
    cutting = processor(tiny, PLAIN, max_seq_len=80, overflow="official", streams=("vqa",))
    batch = cutting.collate([cutting(made(), torch.ones(FRAMES, 4))])
    assert batch["vqa"]["ids"].shape == (1, 1, 80) and not batch["vqa"]["labels"].any()
    with pytest.raises(DataError, match="the qav prompt has"):
        processor(tiny, PLAIN, max_seq_len=80, overflow="official", streams=("vqa", "qav")).rows(made())


def test_official_overflow_may_cut_the_end_token_behind_the_frames(tiny: Tokenizer) -> None:
    [whole] = processor(tiny, PLAIN).rows(made())["qav"]
    settings = {"max_seq_len": len(whole) - 1, "overflow": "official", "streams": ("vqa", "qav")}
    cutting = processor(tiny, PLAIN, **settings)
    batch = cutting.collate([cutting(made(), torch.ones(FRAMES, 4))])
    assert batch["qav"]["labels"][0, 0, -FRAMES:].tolist() == list(range(FRAMES))


def test_collate_trims_pads_and_fills(tiny: Tokenizer) -> None:
    samples = [made(), made(uid="made/val/2", options=("a", "b"), answer_idx=None, question="who")]
    trimmed, padded = (
        processor(tiny, PLAIN, train=False, form=RowForm(pad_to_max=pad), seed=5) for pad in (False, True)
    )
    small = trimmed.collate([trimmed(s, torch.ones(FRAMES, 4)) for s in samples])
    large = padded.collate([padded(s, torch.ones(FRAMES, 4)) for s in samples])
    width = small["vqa"]["ids"].shape[-1]
    assert large["vqa"]["ids"].shape == (2, 3, 600) and width == small["vqa"]["lengths"].max()
    for name in ("ids", "labels"):
        assert torch.equal(large["vqa"][name][..., :width], small["vqa"][name])
        assert not large["vqa"][name][..., width:].any()
    assert small["vqa"]["lengths"][1, 2] == 0 and (small["vqa"]["lengths"][:, :2] > 0).all()
    assert small["answer_idx"].tolist() == [1, -1] and small["num_options"].tolist() == [3, 2]
    assert small["uid"] == ["made/val/1", "made/val/2"] and small["video"].shape == (2, FRAMES, 4)
    assert small["video"].dtype == torch.float32 and small["noise_seed"].unique().numel() == 2
    assert all(small[key].dtype == torch.int64 for key in ("question_start", "question_len", "noise_seed"))
    assert "vaq" not in small and "plan" not in small


def test_missing_labels_of_qav_are_minus_one(tiny: Tokenizer) -> None:
    every = processor(tiny, PLAIN, train=False, form=RowForm(all_streams=True, vaq_per_option=True))
    items = [every(s, torch.ones(FRAMES, 4)) for s in (made(), made(uid="b", options=("a", "b")))]
    batch = every.collate(items)
    assert batch["vaq"]["ids"].shape[:2] == batch["qav"]["ids"].shape[:2] == (2, 3)
    assert (batch["qav"]["labels"][1, 2] == -1).all() and not batch["vaq"]["labels"][1, 2].any()


def test_pickles(tiny: Tokenizer) -> None:
    original = processor(tiny)
    assert pickle.loads(pickle.dumps(original)).rows(made()) == original.rows(made())


def test_hidden_answers_and_odd_option_counts_are_refused(tiny: Tokenizer) -> None:
    with pytest.raises(DataError, match="the answer is hidden"):
        processor(tiny).rows(made(answer_idx=None))
    with pytest.raises(DataError, match="1 options"):
        processor(tiny).rows(made(options=("only",), answer_idx=0))


def test_fields_carry_the_official_names(shared: Path) -> None:
    llama = load_tokenizer(shared / "data/tokenizers/llama")
    prompts, sample = processor(llama), made(qtype="CW")
    fields = row_fields(prompts.sample_rows, sample, prompts.rows(sample), type_numbers={"CW": 2})
    assert (fields["vid"], fields["qid"], fields["answer"], fields["qtype"]) == ("v", 0, 1, 2)
    assert fields["text"]["d_text"] == "Dialogue:  Question: Answer: Video: said the man yes\n"
    assert fields["text_id"]["vqa"].shape == (1, 600) and fields["video_index"]["qav"].shape == (FRAMES,)


def test_from_config(tmp_path: Path, shared: Path) -> None:
    config = BoViLAConfig(size="tiny")
    config.llm.format = "random"
    arguments = {"train": True, "seed": 0, "streams": ("vqa", "vaq"), "cache_dir": tmp_path, "questions": True}
    built = build_processor(config, PLAIN, **arguments)
    assert built.sample_rows.maker.tokenizer.path.parent == tmp_path
    batch = built.collate([built(made(question="who"), torch.ones(10, 768))])
    assert {"vqa", "vaq", "question", "packing"} == set(batch["plan"])
    config.llm.tokenizer = str(shared / "data/tokenizers/llama/tokenizer.model")
    with pytest.raises(ConfigError, match="has 32000 pieces, a language model of size 'tiny' knows 1024"):
        build_processor(config, PLAIN, **arguments)
