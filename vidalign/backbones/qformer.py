"""Q-Former: BERT whose learned queries read one picture, with or without the question beside them.

BLIP-2 (arXiv 2301.12597), InstructBLIP (arXiv 2305.06500); spec vila, section 2.3. Parameter names are the released
ones (`Qformer.bert...`). Every frame is a row of its own; frames are folded into the batch.
Shape letters: R rows (samples x frames), Q queries, L text tokens, T = Q + L, D width, N image tokens, C their width,
H heads.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

NORM_EPS = 1e-12
CROSS_ATTENTION_EVERY = 2
# Added to the scores of masked text positions; the official value, not the smallest number.
MASKED_TEXT = -10000.0


class SelfAttention(nn.Module):
    """query/key/value of BERT; keys and values may come from elsewhere."""

    def __init__(self, dim: int, num_heads: int, dropout: float, *, source_dim: int | None, exact: bool) -> None:
        super().__init__()
        self.num_heads, self.exact = num_heads, exact
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(source_dim or dim, dim)
        self.value = nn.Linear(source_dim or dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_RTD: Tensor, source: Tensor, bias_R11T: Tensor | None) -> Tensor:
        """Rows x of queries (R, T, D) look at `source`."""
        q, k, v = (
            rearrange(one, "r t (h e) -> r h t e", h=self.num_heads)
            for one in (self.query(x_RTD), self.key(source), self.value(source))
        )
        if self.exact:
            scores = q @ k.mT / q.shape[-1] ** 0.5
            scores = scores if bias_R11T is None else scores + bias_R11T
            out = self.dropout(scores.softmax(dim=-1)) @ v
        else:
            bias = None if bias_R11T is None else bias_R11T.to(q.dtype)
            drop = self.dropout.p if self.training else 0.0
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=drop)
        return rearrange(out, "r h t e -> r t (h e)")


class AddNorm(nn.Module):
    """Linear, dropout, residual, LayerNorm (post-norm)."""

    def __init__(self, source_dim: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(source_dim, dim)
        self.LayerNorm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """LayerNorm(dense(x) + residual)."""
        return self.LayerNorm(self.dropout(self.dense(x)) + residual)


class Attention(nn.Module):
    """Attention with its output layer."""

    def __init__(self, dim: int, num_heads: int, dropout: float, *, source_dim: int | None, exact: bool) -> None:
        super().__init__()
        self.self = SelfAttention(dim, num_heads, dropout, source_dim=source_dim, exact=exact)
        self.output = AddNorm(dim, dim, dropout)

    def forward(self, x_RTD: Tensor, source: Tensor, bias_R11T: Tensor | None) -> Tensor:
        """(R, T, D) -> (R, T, D)."""
        return self.output(self.self(x_RTD, source, bias_R11T), x_RTD)


class Intermediate(nn.Module):
    """First half of a feed-forward layer, exact GELU."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.dense = nn.Linear(dim, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., hidden)."""
        return F.gelu(self.dense(x))


class QFormerLayer(nn.Module):
    """Joint self-attention; the queries alone read the picture; queries and text have feed-forward layers of their own.

    Without `text` the text's feed-forward layer does not exist, as in BLIP-2 and SeViLA.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        hidden: int,
        *,
        image_dim: int | None,
        dropout: float,
        text: bool,
        exact: bool,
    ) -> None:
        super().__init__()
        self.attention = Attention(dim, num_heads, dropout, source_dim=None, exact=exact)
        if image_dim is not None:
            self.crossattention = Attention(dim, num_heads, dropout, source_dim=image_dim, exact=exact)
        self.reads_image = image_dim is not None
        if text:
            self.intermediate = Intermediate(dim, hidden)
            self.output = AddNorm(hidden, dim, dropout)
        self.intermediate_query = Intermediate(dim, hidden)
        self.output_query = AddNorm(hidden, dim, dropout)

    def forward(
        self,
        x_RTD: Tensor,
        image_RNC: Tensor,
        *,
        num_queries: int,
        self_bias: Tensor | None,
        image_bias: Tensor | None,
        text_unused: bool,
        pictures: int = 1,
    ) -> Tensor:
        """text_unused: nobody reads this layer's text rows; they are neither computed nor in the result.

        pictures: so many neighbouring rows of `image_RNC` belong to each row of x; the result has a row for each.
        """
        has_text = x_RTD.shape[1] > num_queries
        # Kept: officially the text's unread weights get a zero gradient, not none, so that AdamW decays them; an empty
        # slice gives that without the work. [vila_train_loop]
        x_RTD = self.attention(x_RTD[:, :num_queries] if text_unused else x_RTD, x_RTD, self_bias)
        queries, text = x_RTD[:, :num_queries], x_RTD[:, num_queries:]
        queries = _each(queries, pictures)
        if self.reads_image:
            queries = self.crossattention(queries, image_RNC, image_bias)
        queries = self.output_query(self.intermediate_query(queries), queries)
        if not has_text:
            return queries
        return torch.cat([queries, _each(self.output(self.intermediate(text), text), pictures)], dim=1)


class Embeddings(nn.Module):
    """[queries; word + position] -> LayerNorm, dropout. Queries have neither word nor position."""

    def __init__(self, dim: int, vocab_size: int | None, max_positions: int, dropout: float) -> None:
        super().__init__()
        if vocab_size is not None:
            self.word_embeddings = nn.Embedding(vocab_size, dim)
            self.position_embeddings = nn.Embedding(max_positions, dim)
        self.LayerNorm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.dropout = nn.Dropout(dropout)
        # Part of the released layout.
        self.register_buffer("position_ids", torch.arange(max_positions)[None])

    def forward(self, queries_RQD: Tensor, ids_RL: Tensor | None) -> Tensor:
        """(R, Q, D) and ids (R, L) -> (R, T, D)."""
        x = queries_RQD
        if ids_RL is not None:
            words = self.word_embeddings(ids_RL) + self.position_embeddings(self.position_ids[:, : ids_RL.shape[1]])
            x = torch.cat([x, words.to(x.dtype)], dim=1)
        return self.dropout(self.LayerNorm(x))


class _Encoder(nn.Module):
    def __init__(self, layers: list[QFormerLayer]) -> None:
        super().__init__()
        self.layer = nn.ModuleList(layers)


class _Bert(nn.Module):
    def __init__(self, embeddings: Embeddings, encoder: _Encoder) -> None:
        super().__init__()
        self.embeddings, self.encoder = embeddings, encoder


class QFormer(nn.Module):
    """Queries (R, Q, D), text ids (R, L) and image tokens (R, N, C) -> hidden states of queries and text (R, T, D).

    vocab_size None builds it without text, as SeViLA has it.
    """

    def __init__(
        self,
        *,
        dim: int,
        num_heads: int,
        depth: int,
        hidden: int,
        image_dim: int,
        vocab_size: int | None,
        max_positions: int = 512,
        dropout: float = 0.1,
        exact: bool = False,
    ) -> None:
        super().__init__()
        self.exact, self.dropout, self.reads_text = exact, dropout, vocab_size is not None
        layers = [
            QFormerLayer(
                dim,
                num_heads,
                hidden,
                image_dim=image_dim if number % CROSS_ATTENTION_EVERY == 0 else None,
                dropout=dropout,
                text=vocab_size is not None,
                exact=exact,
            )
            for number in range(depth)
        ]
        self.bert = _Bert(Embeddings(dim, vocab_size, max_positions, dropout), _Encoder(layers))
        self.apply(_start)

    def forward(
        self,
        queries_RQD: Tensor,
        image_RNC: Tensor,
        *,
        ids_RL: Tensor | None = None,
        text_mask_RL: Tensor | None = None,
        image_mask_RN: Tensor | None = None,
        queries_only: bool = False,
    ) -> Tensor:
        """queries_only: the result has the queries' rows only, (R, Q, D), and text work that they do not need is left
        out.

        Queries and text may have fewer rows than pictures: each then belongs to so many neighbouring pictures, and what
        comes before the first look at a picture is computed once for all of them (except under dropout).
        """
        num_queries, pictures = queries_RQD.shape[1], len(image_RNC) // len(queries_RQD)
        if pictures > 1 and (self.exact or (self.training and self.dropout > 0)):
            queries_RQD = _each(queries_RQD, pictures)
            ids_RL, text_mask_RL = (None if one is None else _each(one, pictures) for one in (ids_RL, text_mask_RL))
            pictures = 1
        x_RTD = self.bert.embeddings(queries_RQD, ids_RL)
        self_bias = None
        if ids_RL is not None:
            mask = torch.ones_like(ids_RL) if text_mask_RL is None else text_mask_RL
            mask = F.pad(mask, (num_queries, 0), value=1)
            # Kept: -10000 for masked text, the smallest number for masked image tokens. [qformer_text]
            self_bias = ((1.0 - mask.to(queries_RQD.dtype)) * MASKED_TEXT)[:, None, None, :]
        image_bias = None
        if image_mask_RN is not None:
            smallest = torch.finfo(image_RNC.dtype).min
            image_bias = ((1.0 - image_mask_RN.to(image_RNC.dtype)) * smallest)[:, None, None, :]
        last = len(self.bert.encoder.layer) - 1
        for number, layer in enumerate(self.bert.encoder.layer):
            x_RTD = layer(
                x_RTD,
                image_RNC,
                num_queries=num_queries,
                self_bias=self_bias,
                image_bias=image_bias,
                text_unused=queries_only and number == last and ids_RL is not None and not self.exact,
                pictures=pictures,
            )
            if pictures > 1:
                self_bias = None if self_bias is None else _each(self_bias, pictures)
                pictures = 1
        return x_RTD[:, :num_queries] if queries_only else x_RTD


def _each(rows: Tensor, count: int) -> Tensor:
    """Every row `count` times, neighbours."""
    return rows if count == 1 else rows.repeat_interleave(count, dim=0)


def _start(module: nn.Module) -> None:
    """BERT's start values: normal 0.02, biases 0."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
