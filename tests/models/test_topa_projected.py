"""The cache of projected videos: once per video, on disk for later runs, never for another memory or setting."""

import torch
import torch.nn.functional as F

from vidalign.models.topa.cross_modal import SupportMemory
from vidalign.models.topa.projected import ProjectedVideos


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


class Counting:
    """A memory that counts the videos it is asked for."""

    def __init__(self, memory):
        self.memory, self.key, self.videos = memory, memory.key, 0

    def project(self, video_BFE):
        self.videos += len(video_BFE)
        return self.memory.project(video_BFE)


def memory(path, seed=1, **settings):
    torch.save(unit(60, 8, seed=seed), path)
    return SupportMemory(path, width=8, chunk_rows=16, **settings)


def test_each_video_is_projected_once(tmp_path):
    plain = memory(tmp_path / "memory.pth")
    asked = Counting(plain)
    projected = ProjectedVideos(asked)
    videos = unit(3, 4, 8)[[0, 1, 0, 2]]
    torch.testing.assert_close(projected.project(videos), plain.project(videos))
    assert asked.videos == 3, "the repeated video counts once"
    assert torch.equal(projected.project(videos[:2]), projected.project(videos)[:2]) and asked.videos == 3


def test_a_later_run_finds_them_and_another_memory_does_not(tmp_path):
    first = Counting(memory(tmp_path / "memory.pth"))
    videos = unit(2, 4, 8)
    expected = ProjectedVideos(first, tmp_path / "cache").project(videos)
    later = Counting(first.memory)
    assert torch.equal(ProjectedVideos(later, tmp_path / "cache").project(videos), expected) and later.videos == 0
    for number, other in enumerate(
        (
            memory(tmp_path / "other.pth", seed=2),
            memory(tmp_path / "memory.pth", top_k=3),
            memory(tmp_path / "m", rows=9),
        )
    ):
        asked = Counting(other)
        ProjectedVideos(asked, tmp_path / "cache").project(videos)
        assert asked.videos == 2, f"case {number}"


def test_a_damaged_part_is_computed_again(tmp_path, caplog):
    asked = Counting(memory(tmp_path / "memory.pth"))
    videos = unit(2, 4, 8)
    expected = ProjectedVideos(asked, tmp_path).project(videos)
    [part] = tmp_path.rglob("part-*.safetensors")
    part.write_bytes(part.read_bytes()[:20])
    assert torch.equal(ProjectedVideos(asked, tmp_path).project(videos), expected) and asked.videos == 4
    assert "left aside" in caplog.text
