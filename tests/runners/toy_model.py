"""A small real model that follows models/base.py: scores options by a bilinear form of video and option vectors.

Batch: "uid", "video" (B, D), "options" (B, O, D), "answer_idx" (B,), "num_tokens" (B,) = supervised tokens per sample.
Losses: "answer" is a mean over the batch's tokens, "pair" a sum over samples.
"""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from vidalign.common.output import Output
from vidalign.models.base import OptionScores


class ToyModel(nn.Module):
    abilities = frozenset({"score_options"})

    def __init__(self, dim=6, hidden=8, seed=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.frozen = nn.Linear(dim, hidden)
            self.query = nn.Linear(hidden, hidden, bias=False)
            self.gate = nn.Parameter(torch.ones(1, hidden))
        self.frozen.requires_grad_(False)

    def _scores(self, batch):
        video = torch.tanh(self.query(torch.tanh(self.frozen(batch["video"])))) * self.gate
        return torch.einsum("bd,bod->bo", video, torch.tanh(self.frozen(batch["options"])))

    def forward(self, batch):
        scores = self._scores(batch)
        each = cross_entropy(scores, batch["answer_idx"], reduction="none")
        tokens = batch["num_tokens"]
        losses = {"answer": (each * tokens).sum() / tokens.sum(), "pair": 0.1 * scores.square().mean(dim=1).sum()}
        return Output(losses, counts=self.supervised_counts(batch), sums=frozenset({"pair"}))

    def supervised_counts(self, batch):
        return {"answer": batch["num_tokens"].sum(), "pair": torch.tensor(len(batch["uid"]))}

    def score_options(self, batch):
        scores = self._scores(batch)
        return OptionScores(scores=scores, uncertainty=torch.sigmoid(scores))

    def export_state(self):
        return {name: p.detach().clone() for name, p in self.named_parameters() if p.requires_grad}


def toy_samples(count, dim=6, options=4, seed=1):
    """One dict per sample, drawn from a fixed seed."""
    generator = torch.Generator().manual_seed(seed)
    return [
        {
            "uid": f"toy/train/{index}",
            "video": torch.randn(dim, generator=generator),
            "options": torch.randn(options, dim, generator=generator),
            "answer_idx": torch.randint(options, (), generator=generator),
            "num_tokens": torch.randint(1, 9, (), generator=generator),
        }
        for index in range(count)
    ]


def toy_batch(samples):
    batch = {key: torch.stack([s[key] for s in samples]) for key in samples[0] if key != "uid"}
    return {"uid": [s["uid"] for s in samples], **batch}


def toy_loader(samples, batch_size):
    """What make_loader yields, as a list."""
    return [
        {"batch": toy_batch(samples[i : i + batch_size]), "failures": [], "notes": {}}
        for i in range(0, len(samples), batch_size)
    ]
