"""Feature extraction: resumable, shared between processes, and a broken video only costs itself."""

import importlib.util
import json
import os
import shutil
import sys

import pytest
import torch
from video_files import make_video

from vidalign.backbones.clip import tiny_clip_vision
from vidalign.common.errors import ConfigError, DataError
from vidalign.common.sample import Media, Sample
from vidalign.data.sets.config import DatasetConfig, ExtractConfig
from vidalign.media.features import FeatureStore
from vidalign.media.transforms import clip_eval
from vidalign.media.video import open_video
from vidalign.runners import extract
from vidalign.runners.extract import extract_features, features_for, write_official

DIM = 8


@pytest.fixture(scope="module")
def encoder():
    return tiny_clip_vision(DIM)


@pytest.fixture
def videos(tmp_path):
    """Five good clips, one of them shorter than a row, and three that are none."""
    folder = tmp_path / "videos"
    folder.mkdir()
    made = {
        "a": make_video(folder / "a.mp4", frames=35, fps=10),
        "b": make_video(folder / "b.mkv", frames=40, fps=15, size=(66, 50)),
        "c": make_video(folder / "c.avi", frames=31, fps=10, codec="mpeg4"),
        "d": make_video(folder / "d.mp4", frames=60, fps=30000 / 1001),
        "short": make_video(folder / "short.mp4", frames=3, fps=30),
        "text": folder / "text.mp4",
        "empty": folder / "empty.mp4",
        "gone": folder / "gone.mp4",
    }
    made["text"].write_text("not a video\n")
    made["empty"].touch()
    return made


FAILURES = {
    "text": "text.mp4 is a text file, not a video",
    "empty": "empty.mp4 is empty (0 bytes)",
    "gone": "gone.mp4: no such file",
}


def run(videos, store, encoder, **settings):
    return extract_features(videos, encoder=encoder, store=store, progress=False, **settings)


def content(store):
    opened = FeatureStore.open(store)
    return {key: opened.rows(key) for key in opened}, opened.failures()


def same(one, other):
    rows, others = one[0], other[0]
    assert rows.keys() == others.keys() and one[1] == other[1]
    for key in rows:
        torch.testing.assert_close(rows[key], others[key], atol=2e-3, rtol=2e-3, msg=key)


def test_rows_are_the_encoded_frames_and_failures_have_reasons(videos, encoder, tmp_path):
    report = run(videos, tmp_path / "s", encoder, batch_frames=5)
    rows, failures = content(tmp_path / "s")
    assert failures == report.failed == FAILURES
    assert {key: len(value) for key, value in rows.items()} == {"a": 4, "b": 3, "c": 3, "d": 2, "short": 1}
    assert (report.done, report.rows, report.skipped) == (5, 13, 0)
    with open_video(videos["a"]) as clip:
        frames = clip_eval(clip.frames([4, 14, 24, 34]), image_px=encoder.image_px)
    torch.testing.assert_close(rows["a"].float(), encoder(frames), atol=2e-3, rtol=2e-3)
    assert rows["a"].dtype == torch.float16
    assert FeatureStore.open(tmp_path / "s").info["decoder"] == "decord 0.6.0"


def test_second_run_does_nothing_and_a_changed_file_is_made_anew(videos, encoder, tmp_path):
    run(videos, tmp_path / "s", encoder)
    before = content(tmp_path / "s")
    again = run(videos, tmp_path / "s", encoder)
    assert (again.done, again.skipped, again.failed) == (0, 8, FAILURES)
    make_video(videos["a"], frames=20, fps=10)
    make_video(videos["gone"], frames=20, fps=10)
    third = run(videos, tmp_path / "s", encoder)
    assert (third.done, third.skipped) == (2, 6)
    rows, failures = content(tmp_path / "s")
    assert len(rows["a"]) == len(rows["gone"]) == 2 and failures.keys() == {"text", "empty"}
    assert torch.equal(rows["b"], before[0]["b"])
    assert run(videos, tmp_path / "s", encoder, retry_failed=True).skipped == 6


class _Killed(BaseException):
    pass


def test_killed_between_shards_then_resumed_equals_one_run(videos, encoder, tmp_path, monkeypatch):
    run(videos, tmp_path / "whole", encoder, batch_frames=2)
    calls = []
    real = extract._encode_videos

    def dies_at_the_third(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise _Killed
        real(*arguments)

    monkeypatch.setattr(extract, "_encode_videos", dies_at_the_third)
    with pytest.raises(_Killed):
        run(videos, tmp_path / "parts", encoder, batch_frames=2, shard_videos=1)
    monkeypatch.undo()
    kept = len(FeatureStore.open(tmp_path / "parts"))
    assert 0 < kept < 5
    report = run(videos, tmp_path / "parts", encoder, batch_frames=2)
    assert report.skipped >= kept and report.done == 5 - kept
    same(content(tmp_path / "whole"), content(tmp_path / "parts"))


def test_ranks_share_the_work(videos, encoder, tmp_path):
    run(videos, tmp_path / "one", encoder)
    reports = [run(videos, tmp_path / "two", encoder, rank=rank, world=2) for rank in (0, 1)]
    assert sum(report.done for report in reports) == 5 and all(report.done for report in reports)
    assert sum(report.skipped for report in reports) == 0
    same(content(tmp_path / "one"), content(tmp_path / "two"))


def test_batches_and_threads_do_not_change_the_rows(videos, encoder, tmp_path):
    run(videos, tmp_path / "one", encoder, batch_frames=1, decode_threads=1)
    run(videos, tmp_path / "many", encoder, batch_frames=100, decode_threads=4)
    same(content(tmp_path / "one"), content(tmp_path / "many"))


def test_rows_that_are_not_finite_are_a_failure(videos, encoder, tmp_path):
    import dataclasses

    class Blind(torch.nn.Linear):
        def forward(self, pixel_values):
            from types import SimpleNamespace

            return SimpleNamespace(image_embeds=pixel_values.new_full((len(pixel_values), DIM), float("nan")))

    blind = dataclasses.replace(encoder, model=Blind(1, 1))
    report = run({"a": videos["a"]}, tmp_path / "s", blind)
    assert report.failed == {"a": "features of 'a' hold NaN or values too large for float16"}


def test_official_dictionary(videos, encoder, tmp_path):
    run(videos, tmp_path / "s", encoder)
    assert write_official(tmp_path / "s", tmp_path / "clipvitl14.pth") == 5
    # 13 rows of 8 halves and a little pickle, not five copies of a shard
    assert (tmp_path / "clipvitl14.pth").stat().st_size < 6000
    official = FeatureStore.open(tmp_path / "clipvitl14.pth")
    for key, rows in content(tmp_path / "s")[0].items():
        assert torch.equal(official.rows(key), rows)


def config(**fields):
    return DatasetConfig(root="x", extract=ExtractConfig(encoder="tiny", fps=2.0, batch_frames=4), **fields)


def samples_of(videos):
    media = [Media(kind="video", video_id=key, path=path.name) for key, path in videos.items()]
    media.append(Media(kind="video", video_id="scene", parts=("a", "d")))
    return [
        Sample(uid=f"x/val/{i}", dataset="x", split="val", task="mc_qa", media=m) for i, m in enumerate(media + media)
    ]


def test_features_for_a_dataset(videos, tmp_path):
    root = tmp_path / "videos"
    store = features_for(config(), samples_of(videos), root, tmp_path / "cache", dim=DIM, progress=False)
    opened = FeatureStore.open(store)
    assert sorted(opened) == ["a", "b", "c", "d", "short"] and opened.failures() == FAILURES
    assert (opened.fps, opened.dim, len(opened.rows("a"))) == (2.0, DIM, 7)
    assert store.is_relative_to(tmp_path / "cache")
    assert features_for(config(), samples_of(videos), root, tmp_path / "cache", dim=DIM, progress=False) == store
    for other in (config(decoder="pyav"), DatasetConfig(root="x", extract=ExtractConfig(encoder="tiny", fps=1.0))):
        assert features_for(other, samples_of(videos)[:1], root, tmp_path / "cache", dim=DIM, progress=False) != store


def test_encoder_of_another_width_is_refused(videos, encoder, tmp_path):
    encoder.model.save_pretrained(tmp_path / "clip")
    wide = DatasetConfig(root="x", extract=ExtractConfig(encoder=str(tmp_path / "clip")))
    with pytest.raises(ConfigError, match=r"gives 8 numbers per frame, but model\.visual_dim is 768"):
        features_for(wide, samples_of(videos), tmp_path, tmp_path / "cache", dim=768)


def test_shared_clips(shared, encoder, tmp_path):
    """The clips of the issue: mkv and mp4, odd sizes, 15 to 30 fps, rotated, broken."""
    where = shared / "data/videos"
    clips = {path.stem: path for path in sorted(where.iterdir())}
    report = run(clips, tmp_path / "s", encoder)
    rows, failures = content(tmp_path / "s")
    assert failures == {"corrupted": "frame 34 of 50 cannot be decoded (decord)"} == report.failed
    counts = {key: len(value) for key, value in rows.items()}
    assert counts == {
        "flipping_a_pancake": 10,
        "sample_demo_1": 10,
        "sevila_demo1": 31,
        "unordered": 1,
        "video7010": 18,
        "video7013": 14,
        "video_90": 1,
    }


@pytest.fixture(scope="module")
def command(repository):
    path = repository / "data_prep/extract_features.py"
    spec = importlib.util.spec_from_file_location("extract_features_command", path)
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


def test_command(command, videos, tmp_path, capsys):
    common = ["--videos", str(tmp_path / "videos"), "--encoder", "tiny", "--tiny-dim", "8", "--device", "cpu"]
    official = tmp_path / "clipvitl14.pth"
    store = tmp_path / "store"
    assert command.main([*common, "--output", str(store), "--official", str(official)]) == 0
    out = capsys.readouterr().out
    assert "7 videos" in out and "about " in out and "made     5 videos, 13 rows" in out
    assert "  text   text.mp4 is a text file, not a video" in out and official.exists()
    table = tmp_path / "table.json"
    table.write_text(json.dumps({"one": "videos/a.mp4", "gone": "videos/gone.mp4"}))
    assert command.main(["--videos", str(table), *common[2:], "--output", str(tmp_path / "second")]) == 0
    assert "failed   1\n  gone  gone.mp4: no such file" in capsys.readouterr().out
    listed = tmp_path / "list.txt"
    listed.write_text("a.mp4\n\nb.mkv\n")
    assert set(command.find_videos(listed, tmp_path / "videos")) == {"a", "b"}


def test_command_tells_mistakes_without_a_traceback(command, videos, tmp_path, capsys, monkeypatch):
    base = ["--encoder", "tiny", "--output", str(tmp_path / "s"), "--device", "cpu"]
    assert command.main(["--videos", str(tmp_path / "nowhere"), *base]) == 2
    assert "no such folder or file" in capsys.readouterr().err
    (tmp_path / "bad.json").write_text("{")
    assert command.main(["--videos", str(tmp_path / "bad.json"), *base]) == 2
    assert "bad.json:1: not JSON" in capsys.readouterr().err
    (tmp_path / "videos/sub").mkdir()
    shutil.copy(videos["a"], tmp_path / "videos/sub/a.mp4")
    with pytest.raises(DataError, match="have the same id 'a'"):
        command.find_videos(tmp_path / "videos")
    monkeypatch.setitem(os.environ, "WORLD_SIZE", "2")
    assert command.main(["--videos", "x", *base, "--official", "x.pth"]) == 2
    assert "--official needs one process" in capsys.readouterr().err
