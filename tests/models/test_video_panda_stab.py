"""STAB: the fast path is the official order of operations; several videos are as one at a time; ablations; sizes."""

import copy

import pytest
import torch

from vidalign.models.video_panda.boxes import Box, boxes_of, empty_box
from vidalign.models.video_panda.keys import official_name
from vidalign.models.video_panda.stab import PARTS, Stab, frame_offsets, project_tokens, projector
from vidalign.models.video_panda.stab_exact import exact_tokens
from vidalign.runners.optim import count_parameters

SIDE, PATCH, DIM, LM = 16, 4, 32, 24
SQUARE, LAND, PORT = Box(0, 0, 16, 16), Box(2, 0, 12, 16), Box(0, 4, 16, 10)


def stab(parts=PARTS, seed=0):
    torch.manual_seed(seed)
    tower, mlp = Stab(dim=DIM, patch_px=PATCH, gstra_heads=4, parts=parts, dropout=0.0), projector(DIM, LM)
    with torch.no_grad():
        for parameter in tower.parameters():  # no zeros left: a missing branch must show
            parameter.add_(0.1 * torch.randn_like(parameter))
    return tower, mlp


def clips(*kinds, seed=1):
    """Frames, boxes and clip lengths of (box, frames, how many of them empty)."""
    torch.manual_seed(seed)
    boxes = [
        empty_box(SIDE) if number >= frames - empty else box for box, frames, empty in kinds for number in range(frames)
    ]
    frames = torch.randn(len(boxes), 3, SIDE * PATCH, SIDE * PATCH)
    real = torch.tensor([not box.empty for box in boxes])
    return frames * real[:, None, None, None], boxes, [frames for _, frames, _ in kinds]


MIXED = ((LAND, 8, 0), (PORT, 8, 3), (SQUARE, 1, 0), (SQUARE, 8, 0), (LAND, 1, 0))


@pytest.mark.parametrize("kinds", [MIXED, MIXED[:2], ((SQUARE, 1, 0),), ((LAND, 4, 1), (LAND, 8, 0))])
@pytest.mark.parametrize("training", [False, True])
def test_fast_is_exact(kinds, training):
    tower, mlp = stab()
    frames, boxes, lengths = clips(*kinds)
    found = {}
    for name, run in (("fast", project_tokens), ("exact", exact_tokens)):
        own, head = copy.deepcopy(tower).train(training), copy.deepcopy(mlp)
        tokens = run(own, head, frames, boxes, clips=lengths)
        torch.manual_seed(3)
        (tokens * torch.randn_like(tokens)).sum().backward()
        grads = {n: p.grad for n, p in [*own.named_parameters(), *head.named_parameters()]}
        found[name] = tokens, grads, dict(own.named_buffers())
    torch.testing.assert_close(found["fast"][0], found["exact"][0], rtol=1e-4, atol=1e-4)
    for part in (1, 2):
        for name, value in found["exact"][part].items():
            other = found["fast"][part][name]
            assert (value is None) == (other is None), name
            if value is not None:
                torch.testing.assert_close(other, value, rtol=2e-3, atol=2e-4, msg=lambda text, n=name: f"{n}: {text}")


def test_several_videos_are_as_one_at_a_time():
    tower, mlp = stab()
    tower.eval()
    frames, boxes, lengths = clips(*MIXED)
    together = project_tokens(tower, mlp, frames, boxes, clips=lengths)
    ends = frame_offsets(tower, boxes)
    start = 0
    for length in lengths:
        alone = project_tokens(
            tower, mlp, frames[start : start + length], boxes[start : start + length], clips=[length]
        )
        torch.testing.assert_close(together[ends[start] : ends[start + length]], alone, rtol=1e-5, atol=1e-5)
        start += length


def test_training_statistics_are_one_videos_own():
    tower, mlp = stab()
    frames, boxes, lengths = clips((SQUARE, 4, 0), (SQUARE, 4, 0))
    tokens = project_tokens(tower.train(), mlp, frames, boxes, clips=lengths)
    changed = project_tokens(tower, mlp, torch.cat([frames[:4], 5 * frames[4:]]), boxes, clips=lengths)
    first = frame_offsets(tower, boxes)[4]
    torch.testing.assert_close(tokens[:first], changed[:first])
    assert not torch.allclose(tokens[first:], changed[first:])
    assert int(tower.lmhra1.pos_embed[0].num_batches_tracked) == 4


@pytest.mark.parametrize("left_out", [("fsra",), ("gstra",), ("lste",), ("row_tokens",), ("lsd",), ("fsra", "gstra")])
def test_ablations_drop_their_part_only(left_out):
    tower, mlp = stab(parts=[part for part in PARTS if part not in left_out])
    tower.eval()
    frames, boxes, lengths = clips((LAND, 4, 1), (SQUARE, 1, 0))
    tokens = project_tokens(tower, mlp, frames, boxes, clips=lengths)
    torch.testing.assert_close(tokens, exact_tokens(tower, mlp, frames, boxes, clips=lengths), rtol=1e-4, atol=1e-4)
    height, width = LAND.grid
    wanted = int(left_out != ("fsra", "gstra")) + height * (width + int("row_tokens" not in left_out))
    assert tower.count(LAND) == wanted and len(tokens) == frame_offsets(tower, boxes)[-1]
    tokens.sum().backward()
    unused = {"fsra": "global_attention", "gstra": "dec.", "lste": "lmhra1", "lsd": "local_attention"}
    for part, prefix in unused.items():
        grads = [p.grad for name, p in tower.named_parameters() if name.startswith(prefix)]
        assert all(grad is None for grad in grads) == (part in left_out), part


def test_boxes_come_from_the_first_and_last_marked_patch():
    mask = torch.zeros(3, SIDE * PATCH, SIDE * PATCH)
    mask[0, 8:48, :] = 1
    mask[1, :, 16:40] = 1
    assert boxes_of(mask, patch_px=PATCH) == [LAND, PORT, empty_box(SIDE)]


def test_an_empty_frame_keeps_a_corner_of_16_patches():
    assert empty_box(32).grid == (8, 8) and empty_box(32).empty


def test_real_size_has_the_published_number_of_parameters():
    with torch.device("meta"):
        tower, mlp = Stab(), projector(1024, 4096)
    unused = count_parameters(tower.lmhra2.parameters())
    assert count_parameters(tower.parameters()) == 25_490_084 and unused == 1_403_218
    assert count_parameters([*tower.parameters(), *mlp.parameters()]) - unused == 45_066_578
    assert official_name("video_tower.dpe.weight") == "model.video_tower.dpe.weight"
