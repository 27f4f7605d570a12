"""Evidential loss, self-questioning and option trees against their plain formulas."""

from __future__ import annotations

import torch

from vidalign.backbones.option_scores import mean_token_loss
from vidalign.backbones.option_tree import pack_options
from vidalign.models.bovila import evidential
from vidalign.models.bovila.self_questioning import gumbel_noise, sample_embeddings, sample_onehot


def _case(rows=7, classes=11):
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(rows, classes, generator=g, dtype=torch.float64)
    q = torch.rand(rows, 1, generator=g, dtype=torch.float64) * 0.9 + 0.05
    return logits.softmax(-1).requires_grad_(), q.requires_grad_(), torch.randint(0, classes, (rows,), generator=g)


def test_squared_error_is_the_paper_formula():
    e, q, label = _case()
    k, r = e.shape[1], q / (1 - q)
    p = (e * r + 1 / k) / (1 + r)
    y = torch.nn.functional.one_hot(label, k)
    plain = (y - p).square().sum(-1) + (p * (1 - p) / ((1 + r) + 1 / k)).sum(-1) / k
    torch.testing.assert_close(evidential.squared_error(e, q, label), plain)
    torch.testing.assert_close(evidential.uncertainty(q), 1 / (1 + r))


def test_factorised_regularizer_equals_the_mean_of_the_matrix():
    e, q, label = _case()
    matrix = evidential.regularizer_matrix(e, q, label)
    assert matrix.shape == (7, 7)
    fast = evidential.regularizer(e, q, label)
    torch.testing.assert_close(fast, matrix.mean())
    torch.testing.assert_close(evidential.regularizer(e, q, label, all_pairs=False), matrix.diagonal().mean())
    want = torch.autograd.grad(matrix.mean(), [e, q], retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(fast, [e, q]), want)


def test_straight_through_lookup_equals_onehot_times_table():
    g = torch.Generator().manual_seed(1)
    logits = torch.randn(6, 20, generator=g, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(6, 20, generator=g, dtype=torch.float64)
    table, weight = torch.randn(20, 8, generator=g, dtype=torch.float64), torch.randn(6, 8, generator=g)
    plain = sample_onehot(logits, noise) @ table
    fast = sample_embeddings(logits, noise, table)
    torch.testing.assert_close(fast, plain)
    want = torch.autograd.grad((plain * weight).sum(), logits)[0]
    got = torch.autograd.grad((fast * weight).sum(), logits)[0]
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-7)
    assert want.abs().max() > 1e-3


def test_gumbel_noise_is_keyed_by_seed_and_standard():
    one = gumbel_noise([3, 5000], [11, 12], vocab_size=10, device=torch.device("cpu"))
    two = gumbel_noise([5000, 2], [12, 99], vocab_size=10, device=torch.device("cpu"))
    assert torch.equal(one[3:], two[:5000])
    # mean and variance of the standard Gumbel distribution: Euler's constant, pi^2 / 6
    assert abs(one.mean().item() - 0.5772) < 0.02
    assert abs(one.var().item() - 1.6449) < 0.05


def test_tree_shares_the_prefix_and_nothing_else():
    ids = torch.tensor([[[1, 5, 6, 7, 2, 0], [1, 5, 6, 8, 9, 2], [1, 5, 6, 8, 4, 2]]])
    labels = torch.tensor([[[0, 0, 0, 7, 2, 0], [0, 0, 0, 8, 9, 2], [0, 0, 0, 8, 4, 2]]])
    tree = pack_options(ids, labels, torch.tensor([[5, 6, 6]]))
    assert tree.ids_BW.tolist() == [[1, 5, 6, 7, 8, 9, 8, 4]]
    assert tree.positions_BW.tolist() == [[0, 1, 2, 3, 3, 4, 3, 4]]
    looks = tree.mask_B1WW[0, 0].long().tolist()
    assert looks[3] == [1, 1, 1, 1, 0, 0, 0, 0]
    assert looks[5] == [1, 1, 1, 0, 1, 1, 0, 0]
    assert looks[7] == [1, 1, 1, 0, 0, 0, 1, 1]
    assert tree.valid_BOK.sum(-1).tolist() == [[2, 3, 3]]
    nodes = tree.nodes_N[tree.read_BOK[0, 1]].tolist()
    assert nodes == [2, 4, 5], "the token before the branch, then the option's own"
    assert tree.target_BOK[0, 2].tolist() == [8, 4, 2]


def test_equal_options_and_an_absent_option():
    ids = torch.tensor([[[1, 5, 6, 2], [1, 5, 6, 2], [0, 0, 0, 0]]])
    labels = torch.tensor([[[0, 0, 6, 2], [0, 0, 6, 2], [0, 0, 0, 0]]])
    tree = pack_options(ids, labels, torch.tensor([[4, 4, 0]]))
    assert tree.ids_BW.tolist() == [[1, 5, 6]]
    assert tree.valid_BOK.sum(-1).tolist() == [[2, 2, 0]]


def test_an_option_without_labels_has_no_branch():
    ids = torch.tensor([[[1, 5, 6, 7, 2], [1, 5, 6, 8, 2], [1, 9, 9, 9, 9]], [[1, 5, 0, 0, 0]] * 3])
    labels = torch.tensor([[[0, 0, 0, 7, 2], [0, 0, 0, 8, 2], [0] * 5], [[0] * 5] * 3])
    tree = pack_options(ids, labels, torch.tensor([[5, 5, 5], [2, 2, 2]]))
    assert tree.ids_BW[0].tolist() == [1, 5, 6, 7, 8]
    assert tree.shared_B.tolist() == [3, 5], "nobody reads the second question: anything may be written over it"
    assert tree.valid_BOK.sum(-1).tolist() == [[2, 2, 0], [0, 0, 0]]


def test_mean_token_loss_skips_exact_zeros_and_keeps_nan():
    ce = torch.tensor([[[0.0, 2.0, 0.0, 4.0], [0.0, 0.0, 0.0, 0.0]]])
    mean = mean_token_loss(ce)
    assert mean[0, 0] == 3.0
    assert mean[0, 1].isnan()
    assert mean.argmin(-1).item() == 1, "the official arg-min picks the NaN"
