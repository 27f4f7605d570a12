"""TOPA speaks: prompts of captions, MVBench and open questions, batches of unequal prompts, stop rule, banned words."""

import dataclasses

import pytest
import tiny_bovila
import torch

from vidalign.backbones.video_lm_config import AdapterConfig, LLMConfig
from vidalign.common.errors import MediaError
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.models.topa.captioning import DEMOS, demo_of, spoken
from vidalign.models.topa.config import TOPAConfig
from vidalign.models.topa.generation import Speaker
from vidalign.models.topa.model import TOPA
from vidalign.text.tokenizers import load_tokenizer

FRAMES, WIDTH = 4, 8


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    config = TOPAConfig(
        size="tiny",
        llm=LLMConfig(format="random", dtype="float32"),
        adapter=AdapterConfig(length=3, video_bias=2.0),
        num_frames=FRAMES,
        visual_dim=WIDTH,
        max_seq_len=256,
    )
    torch.manual_seed(0)
    made = tiny_bovila.loud(TOPA.from_config(config, cache_dir=tmp_path_factory.mktemp("cache")))
    return made.eval()


def speaking(model, task, name="msrvtt"):
    return model.processor(DatasetInfo(name=name, task=task), train=False, seed=0, ability="generate")


def question(uid, text, options=(), task="mc_qa"):
    return Sample(uid=uid, dataset="mvbench", split="test", task=task, question=text, options=options)


def items_of(processor, samples, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [processor(sample, torch.randn(FRAMES, WIDTH, generator=generator)) for sample in samples]


def test_prompts(model):
    captions = speaking(model, "caption", "vatex")
    tokenizer = captions.tokenizer
    before, after = captions.prompt(captions.demo(Sample(uid="v", dataset="vatex", split="val", task="caption")))
    assert before == [tokenizer.bos_id, *tokenizer.encode(DEMOS["vatex"].before)]
    assert tokenizer.decode(after) == "\nVideo Caption: The video shows"
    choice = speaking(model, "mc_qa", "mvbench")
    _, after = choice.prompt(choice.demo(question("q", "why {so}?", ("a", "b"))))
    wanted = "\nQuestion: why {so}?\nChoices: \n(A) a\n(B) b\nAnswer: The correct choice is ("
    assert tokenizer.decode(after) == wanted
    free = speaking(model, "open_qa", "msvd_qa")
    _, after = free.prompt(free.demo(question("q", "what Is it", task="open_qa")))
    assert after[0] == tokenizer.newline_id and tokenizer.decode(after[1:]) == "Question: What is it?\nAnswer:"
    assert demo_of("caption", dataset="clip_captions") is DEMOS["msrvtt"]
    assert demo_of("caption", dataset="msrvtt", caption_prompt="vatex") is DEMOS["vatex"]


@pytest.mark.parametrize("beams", [1, 2])
def test_a_batch_of_unequal_prompts_says_what_each_says_alone(model, beams):
    processor = speaking(model, "mc_qa", "mvbench")
    samples = [question("1", "why?", ("a", "b")), question("2", "what is the man in the street doing", ("x",) * 4)]
    items = items_of(processor, samples)
    together = model.generate(processor.collate(items), max_new_tokens=4, num_beams=beams)
    alone = [model.generate(processor.collate([item]), max_new_tokens=4, num_beams=beams)[0] for item in items]
    assert together == alone and all(text.startswith("(") for text in together)


def test_stopping_early_changes_no_caption(model):
    processor = speaking(model, "caption")
    items = items_of(processor, [Sample(uid=str(n), dataset="msrvtt", split="t", task="caption") for n in range(6)])
    batch = processor.collate(items)
    assert batch["uid"] == [str(n) for n in range(6)]
    stopping = model.generate(batch, max_new_tokens=12)
    speaker = model._speaker
    # The same without any stop: what comes after the full stop is cut off from the text.
    endless = dataclasses.replace(batch["demo"], stop=None)
    video = torch.nn.functional.normalize(batch["video"], dim=-1)
    free = speaker.texts(model.video_lm, {**batch, "demo": endless}, video, steps=12, beams=1)
    assert [text.strip().partition(".")[0] for text in free] == stopping


def test_banned_words_and_stop_pieces(model, shared):
    llama2 = Speaker(load_tokenizer(shared / "data" / "tokenizers" / "llama" / "tokenizer.model"))
    assert llama2.banned_ids(DEMOS["msrvtt"]) == [920, 1128]  # the ids of the official notebook
    stops = llama2.stop_ids(DEMOS["vatex"])
    assert 29889 in stops and 2 not in stops and all("." in llama2.tokenizer.decode([piece]) for piece in stops)
    assert llama2.stop_ids(DEMOS["question"])[-1] == 2
    llama3 = Speaker(load_tokenizer(shared / "data" / "tokenizers" / "llama3" / "tokenizer.model"))
    assert [llama3.tokenizer.decode([piece]) for piece in llama3.banned_ids(DEMOS["msrvtt"])] == [" how", " How"]


def test_what_was_said():
    assert spoken("x\nQuestion: Why?\nAnswer: a dog\nQuestion: more", DEMOS["question"]) == "a dog"
    assert spoken("x Answer: The correct choice is (B) it", DEMOS["mvbench"]) == "(B) it"
    assert spoken("It is a video of .", DEMOS["msrvtt"]) == ""


def test_a_prompt_that_is_too_long_fails_its_sample(model):
    processor = speaking(model, "mc_qa", "mvbench")
    with pytest.raises(MediaError, match="max_seq_len"):
        processor(question("q", "why? " * 200, ("a", "b")), torch.zeros(FRAMES, WIDTH))
