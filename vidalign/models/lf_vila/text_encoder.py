"""LF-VILA's text side: BERT in three groups of layers (arXiv 2210.06031, section 3.3; specification lf_vila, 2.3).

The first layers see one sentence each, the next ones the whole paragraph, the last ones text and video together.
Legend: B samples, M sentences, L tokens of a sentence, T = 1 + M * L, D width, V vocabulary, R rows (sentences).
"""

from __future__ import annotations

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from vidalign.backbones.bert import BertBody, BertSizes, MaskedLanguageHead, init_bert


class Predictions(nn.Module):
    """The masked-language head under the released name `cls.predictions`."""

    def __init__(self, sizes: BertSizes) -> None:
        super().__init__()
        self.predictions = MaskedLanguageHead(sizes)


class TextEncoder(nn.Module):
    """BERT and the heads that live beside it under `text_encoder.` in released files.

    local_layers: sentences; up to stage1_layers: paragraphs; the rest: cross-modal. `pretraining` adds MLM and VTM
    heads, `answers` a linear answer head, `spans` a head for frames.
    """

    def __init__(
        self,
        sizes: BertSizes,
        *,
        local_layers: int,
        stage1_layers: int,
        num_layers: int,
        mask_rule: str = "uniform",
        pretraining: bool = False,
        answers: int | None = None,
        spans: bool = False,
        exact: bool = False,
    ) -> None:
        super().__init__()
        self.local_layers, self.stage1_layers, self.num_layers = local_layers, stage1_layers, num_layers
        self.exact = exact
        self.bert = BertBody(sizes, num_layers=num_layers, mask_rule=mask_rule, exact=exact)
        width = sizes.hidden_size
        if pretraining:
            self.cls = Predictions(sizes)
            self.seq_relationship = nn.Linear(width, 2)
        if answers is not None:
            self.dropout = nn.Dropout(sizes.hidden_dropout_prob)
            self.classifier = nn.Linear(width, answers)
        if spans:
            self.span_classifier = nn.Linear(width, 2)

    def init_weights(self) -> None:
        """BERT's own start."""
        init_bert(self)

    def sentences(self, ids_BML: Tensor, mask_BML: Tensor) -> Tensor:
        """(B, M, L, D): each sentence on its own, with positions of its own.

        Sentences that are padding throughout have one common result; without dropout it is computed once.
        """
        ids_RL, mask_RL = ids_BML.flatten(0, 1), mask_BML.flatten(0, 1)
        if self.exact or self.training:
            return self._sentence_rows(ids_RL, mask_RL).unflatten(0, ids_BML.shape[:2])
        real_R = mask_RL.any(dim=1)
        # One sentence stands for all that are empty; `used` says for every sentence which row it takes.
        rows = torch.cat([real_R.nonzero()[:, 0], (~real_R).nonzero()[:1, 0]])
        used_R = torch.where(real_R, real_R.cumsum(0) - 1, len(rows) - 1)
        out = self._sentence_rows(ids_RL[rows], mask_RL[rows])
        # Empty sentences need not hold equal ids: what is under a mask still takes part when nothing else is there.
        same = real_R | (ids_RL == ids_RL[rows[-1]]).all(dim=1)
        if not bool(same.all()):
            return self._sentence_rows(ids_RL, mask_RL).unflatten(0, ids_BML.shape[:2])
        return out[used_R].unflatten(0, ids_BML.shape[:2])

    def _sentence_rows(self, ids_RL: Tensor, mask_RL: Tensor) -> Tensor:
        return self.bert.run(self.bert.embeddings(ids_RL), mask_RL, 0, self.local_layers)

    def paragraph(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """The paragraph layers over the pseudo-CLS and all tokens; place 0 is the paragraph's feature."""
        return self.bert.run(x_BTD, mask_BT, self.local_layers, self.stage1_layers)

    def cross_modal(self, x_BTD: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """(tokens, pooled place 0) of the layers over text and video."""
        hidden_BTD = self.bert.run(x_BTD, mask_BT, self.stage1_layers, self.num_layers)
        return hidden_BTD, self.bert.pooler(hidden_BTD)

    def freeze(self, layers: int) -> None:
        """Embeddings and the first layers stop training."""
        for part in [self.bert.embeddings, *self.bert.encoder.layer[:layers]]:
            part.requires_grad_(False)


class SentenceEmbedding(nn.Module):
    """(B, M, L, D) sentences -> (B, M * L, D) tokens of one paragraph, with positions and sentence numbers."""

    def __init__(self, sizes: BertSizes, *, segments: int = 8) -> None:
        super().__init__()
        self.position_embeddings = nn.Embedding(sizes.max_position_embeddings, sizes.hidden_size)
        self.segment_embeddings = nn.Embedding(segments, sizes.hidden_size)
        self.norm = nn.LayerNorm(sizes.hidden_size, eps=sizes.layer_norm_eps)
        self.dropout = nn.Dropout(sizes.hidden_dropout_prob)

    def forward(self, x_BMLD: Tensor) -> Tensor:
        """Positions run over the whole paragraph, padding included."""
        sentences, length = x_BMLD.shape[1:3]
        segment = repeat(self.segment_embeddings.weight[:sentences], "m d -> (m l) d", l=length)
        position = self.position_embeddings.weight[: sentences * length]
        return self.dropout(self.norm(rearrange(x_BMLD, "b m l d -> b (m l) d") + position + segment))


def with_pseudo_cls(x_BSD: Tensor, mask_BML: Tensor) -> tuple[Tensor, Tensor]:
    """Put the mean of all sentences' first tokens in front; returns (tokens (B, T, D), mask (B, T)).

    Kept: sentences that are padding throughout count in the mean. [text_encoder]
    """
    sentences, length = mask_BML.shape[1:]
    cls_B1D = x_BSD[:, : sentences * length : length].mean(dim=1, keepdim=True)
    mask_BS = mask_BML.flatten(1)
    return torch.cat([cls_B1D, x_BSD], dim=1), torch.cat([torch.ones_like(mask_BS[:, :1]), mask_BS], dim=1)
