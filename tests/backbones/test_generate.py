"""Continuation: left padding changes nothing, beams agree with transformers, stops end a row."""

import pytest
import torch

from vidalign.backbones.generate import beam_search, greedy
from vidalign.backbones.llm import FrozenCausalLM
from vidalign.backbones.meta_llama import build_llama, llama_config
from vidalign.backbones.video_prompts import VideoPrompts

DIMS = {"dim": 32, "n_layers": 2, "n_heads": 4, "multiple_of": 8, "norm_eps": 1e-5}


@pytest.fixture(scope="module", params=[False, True], ids=["fast", "exact"])
def llm(request):
    torch.manual_seed(0)
    return FrozenCausalLM(build_llama(llama_config(DIMS, vocab_size=50), dtype=torch.float32), exact=request.param)


@pytest.fixture(scope="module")
def adapter():
    torch.manual_seed(1)
    made = VideoPrompts(
        dim=32, num_heads=4, num_layers=2, num_prompted=2, prompt_length=3, num_frames=2, visual_dim=8, video_bias=1.0
    )
    for layer in made.layers:
        layer.attention["gate1"].data.normal_()
    return made


def prompts_of(adapter, starts):
    return adapter.prompts(dtype=torch.float32, video_start_R=torch.tensor(starts))


@torch.no_grad()
def test_padding_at_the_left_changes_nothing(llm, adapter):
    torch.manual_seed(2)
    ids = [torch.randint(3, 50, (length,)) for length in (5, 9, 7)]
    starts = [1, 3, 2]
    longest = max(map(len, ids))
    padded = torch.stack([torch.cat([torch.zeros(longest - len(row), dtype=torch.long), row]) for row in ids])
    padding = torch.tensor([longest - len(row) for row in ids])
    moved = (torch.tensor(starts) + padding).tolist()
    together = {"prompts": prompts_of(adapter, moved), "padding_R": padding}
    tokens, logits = greedy(llm, llm.embed(padded), steps=4, **together)
    beams = beam_search(llm, llm.embed(padded), steps=4, beams=3, **together)
    for number, row in enumerate(ids):
        alone = {"prompts": prompts_of(adapter, starts[number : number + 1])}
        own_tokens, own_logits = greedy(llm, llm.embed(row[None]), steps=4, **alone)
        assert torch.equal(tokens[number], own_tokens[0])
        torch.testing.assert_close(logits[number], own_logits[0], atol=1e-5, rtol=1e-5)
        assert beams[number] == beam_search(llm, llm.embed(row[None]), steps=4, beams=3, **alone)[0]


@torch.no_grad()
@pytest.mark.parametrize(("beams", "penalty"), [(2, 1.0), (4, 0.0), (3, 2.0)])
def test_beams_agree_with_transformers(beams, penalty):
    torch.manual_seed(3)
    lm = build_llama(llama_config(DIMS, vocab_size=12), dtype=torch.float32)
    # Sharper than a random model, so that ends are found at different lengths; a quarter of the ids ends a row.
    lm.lm_head.weight.mul_(10)
    llm = FrozenCausalLM(lm)
    ids = torch.randint(3, 12, (5, 4))
    mine = beam_search(llm, llm.embed(ids), prompts=None, steps=6, beams=beams, stop=[2, 3, 4], length_penalty=penalty)
    theirs = lm.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, num_beams=beams, do_sample=False, pad_token_id=0,
        eos_token_id=[2, 3, 4], length_penalty=penalty,
    )[:, 4:]  # fmt: skip
    for own, row in zip(mine, theirs.tolist(), strict=True):
        assert own == row[: len(own)] and set(row[len(own) :]) <= {0, 2, 3, 4}
    assert (
        beam_search(llm, llm.embed(ids), prompts=None, steps=3, beams=1)
        == greedy(llm, llm.embed(ids), prompts=None, steps=3)[0].tolist()
    )


@torch.no_grad()
def test_stops_and_bans(llm):
    x = llm.embed(torch.tensor([[3, 4, 5], [6, 7, 8]]))
    free, logits = greedy(llm, x, prompts=None, steps=5)
    assert free.shape == (2, 5) and logits.shape == (2, 5, 50)
    first = set(free[:, 0].tolist())
    ended, _ = greedy(llm, x, prompts=None, steps=5, stop=sorted(first))
    assert ended.shape[1] == 1
    other, _ = greedy(llm, x, prompts=None, steps=1, banned=sorted(first))
    assert not first & set(other[:, 0].tolist())
