"""Score several continuations of one text in a single pass.

The options of a question share everything up to the first token in which they differ. A tree packs each question into
one
row: the shared prefix once, then each option's own tokens, which look at the prefix and at themselves only. Outputs
equal one full row per option.

Shape letters: B questions, O options, T tokens of a row, W nodes of the widest tree, N nodes whose logits are wanted,
K supervised tokens per option.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class OptionTree:
    """ids_BW, positions_BW: tokens and their positions in the unpacked row. mask_B1WW: True where a node may look.

    nodes_N: flat indices (into B*W) of the nodes whose next token is supervised. read_BOK: for each supervised token
    its row in nodes_N; target_BOK: the token; column_BOK: position of the predicting token in the unpacked row;
    valid_BOK: False for padding. shared_B: leading nodes that all options of a question look at, W where none is read.
    """

    ids_BW: Tensor
    positions_BW: Tensor
    mask_B1WW: Tensor
    nodes_N: Tensor
    read_BOK: Tensor
    target_BOK: Tensor
    column_BOK: Tensor
    valid_BOK: Tensor
    shared_B: Tensor

    def to(self, device: torch.device | str) -> OptionTree:
        """The same on another device."""
        return OptionTree(**{name: value.to(device, non_blocking=True) for name, value in vars(self).items()})


def pack_options(ids_BOT: Tensor, labels_BOT: Tensor, lengths_BO: Tensor) -> OptionTree:
    """Rows of token ids (one per option, 0 where padded) -> trees. Options with length 0 do not exist.

    labels_BOT: the ids to be predicted, 0 elsewhere. Runs on the CPU, in loader workers.
    """
    trees = [_pack_one(*rows) for rows in zip(ids_BOT.cpu(), labels_BOT.cpu(), lengths_BO.tolist(), strict=True)]
    num_options, width = ids_BOT.shape[1], max(len(tree.ids) for tree in trees)
    depth = max(1, max(len(option) for tree in trees for option in tree.reads))

    ids = torch.zeros(len(trees), width, dtype=torch.long)
    positions = torch.zeros_like(ids)
    # A padding node looks at itself: a row without any column would be NaN.
    mask = torch.eye(width, dtype=torch.bool).repeat(len(trees), 1, 1)
    node, target, column = (torch.zeros(len(trees), num_options, depth, dtype=torch.long) for _ in range(3))
    valid = torch.zeros_like(node, dtype=torch.bool)
    for b, tree in enumerate(trees):
        size = len(tree.ids)
        ids[b, :size], positions[b, :size], mask[b, :size, :size] = tree.ids, tree.positions, tree.mask
        for o, reads in enumerate(tree.reads):
            for k, (n, t, c) in enumerate(reads):
                node[b, o, k], target[b, o, k], column[b, o, k], valid[b, o, k] = b * width + n, t, c, True
    shared = torch.tensor([tree.shared if any(tree.reads) else width for tree in trees])
    nodes, read = torch.unique(node[valid], return_inverse=True)
    read_BOK = torch.zeros_like(node)
    read_BOK[valid] = read
    return OptionTree(ids, positions, mask[:, None], nodes, read_BOK, target, column, valid, shared)


@dataclass
class _Tree:
    ids: Tensor
    positions: Tensor
    mask: Tensor
    reads: list[list[tuple[int, int, int]]]  # per option: (node, target, column)
    shared: int


def _pack_one(ids_OT: Tensor, labels_OT: Tensor, lengths: list[int]) -> _Tree:
    """One question: the shared prefix, then every option's own tokens up to the last one that predicts something.

    An option in which nothing is supervised has no branch.
    """
    columns = [(labels_OT[o, 1:] != 0).nonzero()[:, 0].tolist() if length else [] for o, length in enumerate(lengths)]
    read = [o for o, own in enumerate(columns) if own]
    if not read:
        one = torch.zeros(1, dtype=torch.long)
        return _Tree(one, one, torch.ones(1, 1, dtype=torch.bool), [[] for _ in lengths], shared=1)
    ends = {o: columns[o][-1] + 1 for o in read}  # tokens needed as input
    shared = _shared_length(ids_OT[read], min(ends.values()))

    ids, positions = [ids_OT[read[0], :shared]], [torch.arange(shared)]
    starts, size = {}, shared
    for o in read:
        starts[o] = size
        ids.append(ids_OT[o, shared : ends[o]])
        positions.append(torch.arange(shared, ends[o]))
        size += ends[o] - shared
    branch = torch.full((size,), -1)
    for o in read:
        branch[starts[o] : starts[o] + ends[o] - shared] = o
    order = torch.arange(size)
    earlier = order[None] <= order[:, None]
    mask = earlier & ((branch[None] == -1) | (branch[None] == branch[:, None]))
    reads = [
        [(c if c < shared else starts[o] + c - shared, int(labels_OT[o, c + 1]), c) for c in own]
        for o, own in enumerate(columns)
    ]
    return _Tree(torch.cat(ids), torch.cat(positions), mask, reads, shared)


def _shared_length(ids_OT: Tensor, limit: int) -> int:
    """Number of leading tokens that all rows have in common, at most `limit`."""
    differs = (ids_OT[:, :limit] != ids_OT[:1, :limit]).any(dim=0)
    return int(differs.float().argmax()) if bool(differs.any()) else limit
