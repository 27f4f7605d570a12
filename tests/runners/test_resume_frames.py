"""Killed and started again with decoded frames: random frames, boxes and frame choices, and gradients carried between
epochs (run.accumulation sum), are those of the undisturbed run."""

import pytest
from resume_runs import Run, same_end, trace
from tiny_nextqa import REPOSITORY, make_nextqa
from video_files import make_video

CONFIG = """base: [{repository}/configs/models/vila_tiny.yaml, {repository}/configs/datasets/nextqa.yaml]
datasets:
  nextqa: {{root: {root}, features: null, train: train, eval: val, expect_counts: false}}
task: {{name: multiple_choice}}
paths: {{cache: {cache}}}
run:
  device: cpu
  precision: fp32
  max_epochs: 2
  batch_size_per_gpu: 2
  accumulate: 3
  accumulation: sum
  save_every_steps: 1
  log_every_steps: 1
  max_failed_share: 0.5
  optimizer: {{name: adamw, lr: 1e-3, no_decay: lavis}}
  schedule: {{name: lavis_warmup_cosine, warmup_steps: 2, warmup_lr: 1e-6, min_lr: 1e-6}}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    root = make_nextqa(folder / "nextqa", rows=16)
    (root / "videos").mkdir()
    for number in range(100, 105):
        make_video(root / "videos" / f"{number}.mp4", frames=20 + number % 7)
    path = folder / "frames.yaml"
    path.write_text(CONFIG.format(repository=REPOSITORY, root=root, cache=folder / "cache"))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("world", [1, 2])
def test_frames_are_drawn_again_the_same(world, made, tmp_path):
    def run(name, workers, kill_at=None):
        options = (f"run.num_workers={workers}", f"run.output_dir={tmp_path / name}")
        own = {} if kill_at is None else {world - 1: {"KILL_AT": kill_at}}
        return Run("train", made, *options, world=world, env={"TRACE": tmp_path / f"{name}.trace"}, own=own)

    straight = run("straight", 0)
    assert straight.wait() == [0] * world, straight.err
    for kill_at, workers in ((4, 0), (5, 2)):
        killed = run("broken", workers, kill_at)
        assert -9 in killed.wait(), killed.err
    last = run("broken", 2)
    assert last.wait() == [0] * world, last.err
    same_end(tmp_path / "straight", tmp_path / "broken")
    assert trace(tmp_path / "broken.trace") == trace(tmp_path / "straight.trace")
