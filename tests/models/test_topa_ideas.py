"""TOPA's own ideas: noise and fusion of caption features, projection onto the support memory."""

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vidalign.common.errors import ConfigError, DataError, MediaError
from vidalign.media.text_frames import fuse_captions
from vidalign.models.topa.cross_modal import SupportMemory, project, project_top_k
from vidalign.models.topa.text_prealign import add_noise, draw_mode, single_frame


def unit(rows, width=12, seed=0):
    return F.normalize(torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)), dim=-1)


def naive(frames, memory, temperature=0.01):
    return F.normalize((frames @ memory.T / temperature).softmax(-1) @ memory, dim=-1)


@pytest.mark.parametrize("chunk_rows", [1, 7, 50, 1000])
def test_running_softmax_equals_the_whole_one(chunk_rows):
    frames, memory = unit(5), unit(50, seed=1)
    torch.testing.assert_close(project(frames, memory, chunk_rows=chunk_rows), naive(frames, memory))


def test_projection_of_more_frames_and_rows_than_one_tile():
    frames, memory = unit(1100), unit(4500, seed=1).half()
    torch.testing.assert_close(project(frames, memory), naive(frames, memory.float()))


def test_projection_survives_large_scores():
    frames, memory = unit(3) * 100, unit(20, seed=1)  # scores up to 10 000: a plain exp would overflow
    moved = project(frames, memory, chunk_rows=6)
    assert torch.isfinite(moved).all()
    torch.testing.assert_close(moved, naive(frames, memory))


def test_zero_frame_becomes_the_mean_of_the_memory():
    memory = unit(30)
    moved = project(torch.zeros(1, 12), memory, chunk_rows=8)
    torch.testing.assert_close(moved, F.normalize(memory.mean(0, keepdim=True), dim=-1))


def test_top_k_of_all_rows_is_exact_and_of_one_row_the_nearest():
    frames, memory = unit(4), unit(40, seed=2)
    torch.testing.assert_close(project_top_k(frames, memory, k=40, chunk_rows=9), naive(frames, memory))
    nearest = memory[(frames @ memory.T).argmax(1)]
    torch.testing.assert_close(project_top_k(frames, memory, k=1, chunk_rows=9), nearest)


@pytest.mark.parametrize("kind", ["npy", "pth", "pkl", "numpy.pkl", "safetensors"])
def test_memory_from_every_kind_of_file(tmp_path, kind):
    rows, path = unit(9).half(), tmp_path / f"memory.{kind}"
    if kind == "npy":
        np.save(path, rows.numpy())
    elif kind == "pth":
        torch.save(rows, path)
    elif kind == "safetensors":
        from safetensors.torch import save_file

        save_file({"memory": rows}, path)
    else:
        path.write_bytes(pickle.dumps(rows.numpy() if kind == "numpy.pkl" else rows))
    memory = pickle.loads(pickle.dumps(SupportMemory(path, width=12, rows=7, chunk_rows=4)))
    assert torch.equal(memory.rows, rows[:7])
    frames = unit(6, seed=3).view(2, 3, 12)
    torch.testing.assert_close(memory.project(frames), naive(frames, rows[:7].float()))


def test_memory_of_the_wrong_width_is_refused(tmp_path):
    np.save(tmp_path / "memory.npy", unit(4).numpy())
    with pytest.raises(ConfigError, match=r"memory\.npy has rows of width 12, the model's features have 768"):
        SupportMemory(tmp_path / "memory.npy", width=768).project(torch.zeros(1, 768))


class Evil:
    def __reduce__(self):
        return (print, ("run by the pickle",))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (Evil(), "asks for builtins.print"),
        ([1, 2], "holds a list"),
        (np.zeros(3), r"shape \(3,\)"),
        (np.zeros((2, 2), dtype=int), "torch.int64"),
    ],
)
def test_files_that_are_no_matrix(tmp_path, capsys, content, told):
    path = tmp_path / "memory.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=told):
        _ = SupportMemory(path, width=2).rows
    assert capsys.readouterr().out == ""


def test_missing_and_damaged_memory(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        _ = SupportMemory(tmp_path / "memory.pkl", width=2).rows
    (tmp_path / "memory.pkl").write_bytes(b"not a pickle")
    with pytest.raises(DataError, match="not a matrix that can be read safely"):
        _ = SupportMemory(tmp_path / "memory.pkl", width=2).rows


def test_fused_frames_are_unit_means_of_unit_captions():
    features = unit(6) * torch.tensor([1.0, 5.0, 1.0, 1.0, 2.0, 1.0])[:, None]
    frames = fuse_captions(features, [2, 1, 3])
    torch.testing.assert_close(frames[0], F.normalize(F.normalize(features[:2], dim=-1).mean(0), dim=-1))
    torch.testing.assert_close(frames.norm(dim=-1), torch.ones(3))


@pytest.mark.parametrize("counts", [[2, 1], [3, 3, 1], [6, 0]])
def test_captions_that_do_not_fit_their_features(counts):
    with pytest.raises(MediaError, match="6 caption features"):
        fuse_captions(unit(6), counts)


def test_noise_is_seeded_unit_and_absent_at_variance_zero():
    x = unit(4) * 3
    assert add_noise(x, variance=0.0) is x
    noisy, again = (add_noise(x, variance=0.01, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(noisy, again)
    torch.testing.assert_close(noisy.norm(dim=-1), torch.ones(4))
    assert not torch.allclose(noisy, F.normalize(x, dim=-1), atol=1e-2)


def test_single_frame_shows_every_second_frame_twice():
    assert single_frame(torch.arange(5.0)[:, None])[:, 0].tolist() == [0, 0, 2, 2, 4]


@pytest.mark.parametrize(("uniform", "share", "mode"), [(0.5, 0.5, "vqa"), (0.51, 0.5, "caption"), (0.99, 0.0, "vqa")])
def test_mode_of_a_micro_batch(uniform, share, mode):
    assert draw_mode(uniform, caption_share=share) == mode
    assert draw_mode(0.0, caption_share=1.0) == "caption"
