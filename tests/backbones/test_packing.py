"""Packed rows: the same hidden states and gradients as whole padded rows."""

from __future__ import annotations

import pytest
import torch

from vidalign.backbones.llm import FrozenCausalLM
from vidalign.backbones.llm_sizes import SIZES
from vidalign.backbones.meta_llama import build_llama, llama_config
from vidalign.backbones.packing import Packing, common_head, pack_rows
from vidalign.backbones.video_lm import VideoLM
from vidalign.backbones.video_prompts import VideoPrompts
from vidalign.runners.recompute import checkpoint_activations

DIM = 64


def _video_lm(*, grouped: bool = False) -> VideoLM:
    torch.manual_seed(0)
    size = {**SIZES["tiny"], **({"n_kv_heads": 2} if grouped else {})}
    llm = FrozenCausalLM(build_llama(llama_config(size, vocab_size=64), dtype=torch.float32))
    adapter = VideoPrompts(
        dim=DIM,
        num_heads=llm.num_heads,
        num_layers=2,
        num_prompted=2,
        prompt_length=3,
        num_frames=2,
        visual_dim=4,
        video_bias=1.0,
    )
    for layer in adapter.layers:
        torch.nn.init.constant_(layer.attention["gate1"], 0.7)
    return VideoLM(llm, adapter)


def _both_ways(video_lm, embedded, starts, wanted, **kwargs):
    """States at the wanted positions and gradients of inputs and prompts: packed, and in whole rows."""
    packing = pack_rows(wanted, [x.shape[:2] for x in embedded], **kwargs)
    results = []
    for chosen in (packing, None):
        hidden = video_lm.hidden(embedded, starts, packing=chosen)
        states = [video_lm.at(h, rows_K) for h, rows_K in zip(hidden, wanted, strict=True)]
        trained = [*embedded, *video_lm.adapter.parameters()]
        total = sum((s * torch.linspace(-1, 1, DIM)).square().sum() for s in states)
        results.append((states, torch.autograd.grad(total, trained, allow_unused=True)))
    return results


def _assert_equal(results):
    (states, grads), (want_states, want_grads) = results
    for got, want in zip(states, want_states, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    for got, want in zip(grads, want_grads, strict=True):
        assert (got is None) == (want is None)
        if want is not None:
            torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-5 * float(want.abs().max()) + 1e-7)


def _rows(*shape):
    return torch.randn(*shape, DIM).requires_grad_()


@pytest.mark.parametrize("grouped", [False, True])
def test_streams_of_different_shapes_in_one_pass(grouped):
    video_lm = _video_lm(grouped=grouped)
    embedded = [_rows(3, 12), _rows(2, 7)]
    # Unordered, a position twice, and a row without any.
    wanted = [torch.tensor([11, 3, 24 + 5, 3]), torch.tensor([6, 7 + 1])]
    starts = [torch.tensor([2, -1, 1]), None]
    _assert_equal(_both_ways(video_lm, embedded, starts, wanted))


@pytest.mark.parametrize("shared", [0, 3, 8, 40])
def test_a_common_beginning_is_computed_once(shared):
    """Also where the video block lies behind it, and where the second stream's row ends inside it."""
    video_lm = _video_lm()
    first, second = _rows(2, 12), _rows(2, 12)
    with torch.no_grad():
        second[:, :shared] = first[:, :shared]
    wanted = [torch.tensor([10, 12 + 6]), torch.tensor([9, 12 + 2])]
    start = torch.tensor([0, 4])
    packing = pack_rows(wanted, [(2, 12)] * 2, shared=shared)
    assert len(packing["source_N"]) == 11 + 7 + 10 + 3 - min(shared, 10) - min(shared, 3)
    (states, grads), (want_states, want_grads) = _both_ways(
        video_lm, [first, second], [start, start], wanted, shared=shared
    )
    # The common tokens are one input: their gradient is that of both rows.
    both, want_both = grads[0] + grads[1], want_grads[0] + want_grads[1]
    _assert_equal([(states, (both, *grads[2:])), (want_states, (want_both, *want_grads[2:]))])


@pytest.mark.parametrize("shared", [0, 5, 7])
def test_what_all_rows_of_a_stream_begin_with_is_computed_once(shared):
    """Beside it what a row shares with its twin; also where a row ends inside the common beginning."""
    video_lm, head = _video_lm(), 4
    first, second, other = _rows(3, 12), _rows(3, 12), _rows(2, 9)
    with torch.no_grad():
        first[:, :head] = first[:1, :head]
        second[:, :shared] = first[:, :shared]
        other[:, :head] = other[:1, :head]
    wanted = [torch.tensor([10, 12 + 6, 24 + 2]), torch.tensor([9, 12 + 11, 24 + 8]), torch.tensor([8, 9 + 7])]
    starts = [torch.tensor([4, 6, -1]), torch.tensor([4, 6, -1]), torch.tensor([5, 4])]
    embedded = [first, second, other]
    shapes = [x.shape[:2] for x in embedded]
    packing = pack_rows(wanted[:2], shapes[:2], shared=shared, heads=[head, 0])
    saved = head + 3 + min(shared, 10) + min(shared, 7) + min(shared, 3)
    assert len(packing["source_N"]) == 11 + 7 + 3 + 10 + 12 + 9 - saved
    heads = [head, min(head, shared), head]
    for part, shared_now in ((slice(0, 2), shared), (slice(2, 3), 0)):
        some = embedded[part]
        results = _both_ways(video_lm, some, starts[part], wanted[part], shared=shared_now, heads=heads[part])
        # Tokens in common are one input: their gradients add up, those of other rows stay apart.
        joined = []
        for states, grads in results:
            common = sum(grad[:, :head].sum(0) for grad in grads[: len(some)]) if shared >= head or part.start else None
            joined.append((states, tuple(g for g in (common, *grads[len(some) :]) if g is not None)))
        _assert_equal(joined)


def test_common_head_ends_at_the_first_difference_and_before_the_video():
    ids = torch.tensor([[[1, 5, 6, 0, 0, 7]], [[1, 5, 6, 0, 0, 8]]])
    start = torch.tensor([3, 3])
    assert common_head({"ids": ids, "video_start": start}) == 3
    assert common_head({"ids": ids[:, :, [0, 2, 5]], "video_start": torch.tensor([9, 9])}) == 2
    assert common_head({"ids": ids, "video_start": torch.tensor([-1, -1])}) == 0


def test_rows_and_back():
    packing = Packing(**pack_rows([torch.tensor([2, 3 + 1])], [(2, 3)]))
    x_N = torch.arange(5)
    assert packing.rows(x_N)[0].tolist() == [0, 1, 2] and packing.rows(x_N)[1, :2].tolist() == [3, 4]
    assert torch.equal(packing.packed(packing.rows(x_N)), x_N)
    assert packing.column_N.tolist() == [0, 1, 2, 0, 1]


def test_activation_checkpointing_gives_the_same():
    video_lm = _video_lm()
    embedded, wanted = [_rows(2, 9)], [torch.tensor([8, 9 + 4])]
    plain = _both_ways(video_lm, embedded, [None], wanted)[0]
    checkpoint_activations(video_lm, "torch")
    _assert_equal([_both_ways(video_lm, embedded, [None], wanted)[0], plain])


def test_a_packed_row_may_be_longer_than_a_sliding_window():
    video_lm = _video_lm()
    video_lm.llm.lm.config.sliding_window = 8
    with torch.no_grad():
        packing = pack_rows([torch.tensor([7, 8 + 7])], [(2, 8)])
        [hidden] = video_lm.hidden([_rows(2, 8)], [None], packing=packing)
    assert hidden.shape == (2, DIM)
