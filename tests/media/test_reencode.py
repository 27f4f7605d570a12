"""Low frame rates: which frames are kept, clips cut by span, what is there is left alone, broken videos are told."""

import importlib.util
import json
from pathlib import Path

import pytest
from video_files import make_video, number_of

from vidalign.media.reencode import Job, frames_at_rate, reencode_all
from vidalign.media.video import open_video

REPOSITORY = Path(__file__).resolve().parents[2]


def numbers(path):
    with open_video(path, decoder="pyav") as video:
        return video.fps, [number_of(frame) for frame in video.frames(range(video.num_frames))]


def test_the_frame_shown_at_each_time():
    assert frames_at_rate(30, 10.0, 3.0, None) == [0, 3, 6, 10, 13, 16, 20, 23, 26]
    assert frames_at_rate(30, 10.0, 3.0, (1.0, 2.0)) == [10, 13, 16]
    assert frames_at_rate(30, 10.0, 3.0, (2.9, 9.0)) == [29]
    assert frames_at_rate(30, 10.0, 3.0, (3.0, 9.0)) == []
    assert frames_at_rate(6, 3.0, 3.0, None) == list(range(6))


def test_whole_folders_in_parallel_and_again(tmp_path):
    (tmp_path / "raw/sub").mkdir(parents=True)
    make_video(tmp_path / "raw/a.mp4", frames=30, fps=10)
    make_video(tmp_path / "raw/sub/b.mp4", frames=40, fps=10, size=(96, 64))
    (tmp_path / "raw/broken.mp4").write_text("no video")
    script = prep("low_fps_videos")
    jobs = list(script.whole(tmp_path / "raw", tmp_path / "out"))
    done = reencode_all(jobs, fps=3.0, short_side_px=32, workers=2)
    assert (done.written, done.found, [target.name for target, _ in done.failed]) == (2, 0, ["broken.mp4"])
    assert numbers(tmp_path / "out/a.mp4") == (3.0, [0, 3, 6, 10, 13, 16, 20, 23, 26])
    with open_video(tmp_path / "out/sub/b.mp4", decoder="pyav") as video:
        assert (video.num_frames, video.width, video.height) == (12, 48, 32)
    before = (tmp_path / "out/a.mp4").stat().st_mtime_ns
    (tmp_path / "out/sub/b.mp4").unlink()
    again = reencode_all(jobs, fps=3.0, short_side_px=32, workers=1)
    assert (again.written, again.found, len(again.failed)) == (1, 1, 1)
    assert (tmp_path / "out/a.mp4").stat().st_mtime_ns == before
    assert not list((tmp_path / "out").rglob("*.part"))


def test_clips_are_cut_by_their_spans(tmp_path, capsys):
    (tmp_path / "raw").mkdir()
    make_video(tmp_path / "raw/v.mp4", frames=30, fps=10)
    spans = [["00:00:00.000", "00:00:01.000"], ["00:00:01.000", "00:00:02.000"], ["00:00:07.000", "00:00:08.000"]]
    row = {"video_id": "v", "clip": [{"clip_id": f"v.{k}.mp4", "span": span} for k, span in enumerate(spans)]}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row) + "\n")
    arguments = [str(tmp_path / "raw"), str(tmp_path / "out"), "--metadata", str(tmp_path / "metadata.jsonl")]
    prep("low_fps_videos").main([*arguments, "--workers", "1"])
    assert numbers(tmp_path / "out/v/v.1.mp4")[1] == [10, 13, 16]
    told = capsys.readouterr().out
    assert "2 written, 0 found, 1 cannot be used" in told and "v.2.mp4: v.mp4 ends after 3.0 s" in told


def prep(name):
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "data_prep" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_missing_source_fails_alone(tmp_path):
    done = reencode_all([Job(tmp_path / "no.mp4", tmp_path / "out.mp4")], fps=3.0, workers=1)
    assert done.written == 0 and "no such file" in done.failed[0][1]
    with pytest.raises(SystemExit):
        prep("low_fps_videos").main([])
