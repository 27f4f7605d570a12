"""BERT in pieces: embeddings, a run of layers, pooler, masked-language head, from transformers' modules.

Keys are those of the original BERT files below `bert.` and `cls.`: embeddings, encoder.layer.<i>, pooler.
Legend: B rows, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import BertConfig
from transformers.models.bert.modeling_bert import (
    BertEmbeddings,
    BertLayer,
    BertPooler,
    BertPredictionHeadTransform,
)

# "uniform": a row whose keys are all padding attends to all of them alike. -10000 is what transformers 4.15 added.
MASK_RULES = ("uniform", "minus_10000")


@dataclass(frozen=True)
class BertSizes:
    """What decides BERT's shapes, and its dropout."""

    hidden_size: int
    num_attention_heads: int
    intermediate_size: int
    num_hidden_layers: int
    vocab_size: int = 30522
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1

    def config(self, *, exact: bool) -> BertConfig:
        """transformers' own configuration; exact: attention with materialised scores."""
        config = BertConfig(**self.__dict__)
        config._attn_implementation = "eager" if exact else "sdpa"
        return config


def additive_mask(mask_BT: Tensor, *, rule: str, dtype: torch.dtype) -> Tensor:
    """1/0 per key -> (B, 1, 1, T) to add to scores of `dtype`."""
    assert rule in MASK_RULES, f"mask rule {rule!r}"
    low = torch.finfo(dtype).min if rule == "uniform" else -10000.0
    return (1.0 - mask_BT[:, None, None].to(dtype)) * low


def score_dtype(x: Tensor) -> torch.dtype:
    """The type that attention scores of `x` will have."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


class BertLayers(nn.Module):
    """The layers under the key `layer.<i>`."""

    def __init__(self, config: BertConfig, count: int) -> None:
        super().__init__()
        self.layer = nn.ModuleList(BertLayer(config, layer_idx=i) for i in range(count))


class BertBody(nn.Module):
    """Embeddings, `num_layers` layers and a pooler; callers run any group of layers on embeddings of their own."""

    def __init__(
        self, sizes: BertSizes, *, num_layers: int | None = None, mask_rule: str = "uniform", exact: bool = False
    ) -> None:
        super().__init__()
        config = sizes.config(exact=exact)
        self.sizes, self.mask_rule = sizes, mask_rule
        self.embeddings = BertEmbeddings(config)
        self.encoder = BertLayers(config, sizes.num_hidden_layers if num_layers is None else num_layers)
        self.pooler = BertPooler(config)

    def run(self, x_BTD: Tensor, mask_BT: Tensor, first: int, last: int) -> Tensor:
        """Layers first..last-1; nothing is normalised before or after."""
        if first == last:
            return x_BTD
        mask = additive_mask(mask_BT, rule=self.mask_rule, dtype=score_dtype(x_BTD))
        for layer in self.encoder.layer[first:last]:
            x_BTD = layer(x_BTD, mask)
        return x_BTD


class MaskedLanguageHead(nn.Module):
    """(..., D) -> (..., V). decoder.bias and bias are one tensor under two names; the weight is not tied."""

    def __init__(self, sizes: BertSizes) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(sizes.vocab_size))
        self.transform = BertPredictionHeadTransform(sizes.config(exact=False))
        self.decoder = nn.Linear(sizes.hidden_size, sizes.vocab_size)
        self.decoder.bias = self.bias

    def forward(self, x: Tensor) -> Tensor:
        """Logits over the vocabulary."""
        return self.decoder(self.transform(x))


def init_bert(module: nn.Module, *, std: float = 0.02) -> None:
    """BERT's own start: normal weights, zero biases, norms at 1 and 0."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=std)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
