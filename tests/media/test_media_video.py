"""Decoders: the same picture per index whichever is chosen, and plain reasons for files that cannot be used."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from video_files import make_video, number_of

from vidalign.common.errors import ConfigError, MediaError
from vidalign.media import probe, video
from vidalign.media.containers import container_kind
from vidalign.media.video import BACKENDS, decoder_version, open_video, require_decoder

SHARED_CLIPS = (
    "flipping_a_pancake.mkv",  # matroska, time stamps in milliseconds
    "sample_demo_1.mp4",
    "sevila_demo1.mp4",  # 29.97 fps, starts at 0.033 s
    "unordered.mov",  # four frames, stored out of showing order
    "video7010.mp4",
    "video7013.mp4",
    "video_90.mov",  # three frames, rotation mark
)


@pytest.fixture(params=BACKENDS)
def decoder(request):
    try:
        require_decoder(request.param)
    except ConfigError as error:
        pytest.skip(str(error))
    return request.param


@pytest.fixture(scope="module")
def long_gop(tmp_path_factory):
    """45 frames, B-frames, a key frame every 20."""
    path = tmp_path_factory.mktemp("gop") / "gop.mp4"
    return make_video(path, frames=45, options={"g": "20", "bf": "3", "sc_threshold": "0"})


@pytest.mark.parametrize("name", SHARED_CLIPS)
def test_decoders_agree_on_the_shared_clips(shared, decoder, name):
    path = shared / "data/videos" / name
    with open_video(path, decoder="decord") as first, open_video(path, decoder=decoder) as second:
        n = first.num_frames
        assert (second.num_frames, second.width, second.height) == (n, first.width, first.height)
        assert second.fps == pytest.approx(first.fps, abs=1e-3)
        wanted = sorted({i * (n - 1) // 11 for i in range(12)})
        for index, a, b in zip(wanted, first.frames(wanted), second.frames(wanted), strict=True):
            assert (a.float() - b.float()).abs().mean() < 2, index


def test_rotated_clip_stands_upright(shared, decoder):
    with open_video(shared / "data/videos/video_90.mov", decoder=decoder) as clip:
        assert (clip.num_frames, clip.width, clip.height) == (3, 320, 568)
        assert clip.frames([2]).shape == (1, 568, 320, 3)


def test_index_means_showing_order(decoder, long_gop):
    with open_video(long_gop, decoder=decoder) as clip:
        assert (clip.num_frames, clip.fps, clip.duration_seconds) == (45, 10.0, 4.5)
        for wanted in ([0], [44], [19, 20, 21], [3, 41, 7, 7, 22], list(range(45))):
            assert [number_of(frame) for frame in clip.frames(wanted)] == wanted


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("odd.mkv", {"size": (66, 50), "fps": 15}),
        ("ntsc.mp4", {"fps": 30000 / 1001}),
        ("old.avi", {"codec": "mpeg4"}),
        ("one.mp4", {"frames": 1}),
    ],
)
def test_other_containers_rates_sizes(decoder, tmp_path, name, settings):
    path = make_video(tmp_path / name, **{"frames": 12, **settings})
    with open_video(path, decoder=decoder) as clip:
        assert clip.num_frames == settings.get("frames", 12)
        assert clip.fps == pytest.approx(settings.get("fps", 10), abs=0.01)
        assert (clip.width, clip.height) == settings.get("size", (64, 48))
        last = clip.num_frames - 1
        frames = clip.frames([last, 0])
        assert frames.dtype == torch.uint8
        assert [number_of(frame) for frame in frames] == [last, 0]


@pytest.mark.parametrize("index", [-1, 45, 1000])
def test_index_outside_is_an_error(decoder, long_gop, index):
    with open_video(long_gop, decoder=decoder) as clip, pytest.raises(IndexError, match=f"frame {index} of 45"):
        clip.frames([0, index])


def test_broken_frames_are_named_and_good_ones_still_read(shared, decoder):
    path = shared / "data/videos/corrupted.mp4"
    for _ in range(2):
        with open_video(path, decoder=decoder) as clip:
            assert clip.frames([0, 10, 20]).shape == (3, 720, 1280, 3)
            with pytest.raises(MediaError, match=r"^frame 30 of 50 cannot be decoded"):
                clip.frames([10, 20, 30, 40])


def test_reason_does_not_depend_on_busy_threads(shared):
    """decord reads ahead in a thread: beside busy threads it fails frames long before the broken one."""
    from concurrent.futures import ThreadPoolExecutor

    def reason(_):
        with open_video(shared / "data/videos/corrupted.mp4") as clip:
            try:
                clip.frames([4, 14, 24, 34, 44])
            except MediaError as error:
                return str(error)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(reason, range(4))) == {"frame 34 of 50 cannot be decoded (decord)"}


def bad_files(folder):
    (folder / "empty.mp4").touch()
    (folder / "notes.mp4").write_text("this is not a video\n" * 40)
    (folder / "noise.mp4").write_bytes(bytes(range(128, 256)) * 64)
    (folder / "folder.mp4").mkdir()
    (folder / "header.mp4").write_bytes(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0" * 500)
    return {
        "missing.mp4": "missing.mp4: no such file",
        "empty.mp4": "empty.mp4 is empty (0 bytes)",
        "notes.mp4": "notes.mp4 is a text file, not a video",
        "noise.mp4": "noise.mp4 is not a video file (unknown container)",
        "folder.mp4": "folder.mp4 is a folder, not a video file",
        "header.mp4": "header.mp4",
    }


def test_unusable_files_give_plain_reasons(decoder, tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "_probe", lambda *_: None)  # the child process has its own test
    for name, reason in bad_files(tmp_path).items():
        with pytest.raises(MediaError) as caught:
            open_video(tmp_path / name, decoder=decoder)
        assert str(caught.value).startswith(reason), name
        assert "\n" not in str(caught.value)


def test_file_without_pictures(decoder, tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.sample_rate = 16000
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(MediaError, match=r"sound\.mp4 has no video stream"):
        open_video(path, decoder=decoder)


def test_codec_that_decord_does_not_know(tmp_path):
    path = tmp_path / "new.mp4"
    # In a process of its own: this encoder gives its process real-time threads, which upsets every later test.
    code = f"from video_files import make_video as m; m({str(path)!r}, codec='libsvtav1', frames=4, size=(64, 64))"
    where = {**os.environ, "PYTHONPATH": str(Path(make_video.__code__.co_filename).parent)}
    subprocess.run([sys.executable, "-c", code], env=where, capture_output=True, check=False)
    if not path.exists():
        pytest.skip("PyAV cannot write AV1 here")
    with pytest.raises(MediaError, match=r"decord cannot open new\.mp4 \(mp4, codec av1\); try another decoder"):
        open_video(path)
    with open_video(path, decoder="pyav") as clip:
        assert [number_of(frame) for frame in clip.frames([0, 3])] == [0, 3]


def test_transport_stream_is_first_opened_in_a_child(tmp_path, monkeypatch):
    path = make_video(tmp_path / "a.ts", frames=12)
    assert container_kind(path) == "mpeg-ts"
    asked = []
    monkeypatch.setattr(probe, "_probe", lambda *arguments: asked.append(arguments[1]) or "too slow")
    with pytest.raises(MediaError, match="too slow"):
        open_video(path)
    assert asked == ["decord"]
    with open_video(path, decoder="pyav") as clip:  # not known to hang
        assert [number_of(frame) for frame in clip.frames([3, 9])] == [3, 9]


def test_probe_answers_within_its_time(tmp_path):
    path = make_video(tmp_path / "good.mp4", frames=5)
    with pytest.raises(MediaError, match=r"decord gave no answer for this file within 0\.01 s; try decoder: pyav"):
        probe.probe_video(path, timeout_seconds=0.01)
    probe.probe_video(path, timeout_seconds=60)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(path.read_bytes()[:200])
    with pytest.raises(MediaError, match=r"broken\.mp4"):
        probe.probe_video(broken, timeout_seconds=60)


def test_unknown_decoder_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'torchcodec'"):
        require_decoder("torchcodek")


def test_decoder_that_is_not_installed_gives_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "av", None)
    video._import_problem.cache_clear()
    try:
        with pytest.raises(ConfigError, match=r"decoder 'pyav' cannot be imported.*Remedy: pip install av"):
            open_video(tmp_path / "x.mp4", decoder="pyav")
    finally:
        monkeypatch.undo()
        video._import_problem.cache_clear()


def test_torchcodec_without_ffmpeg_is_told_before_any_video(monkeypatch, tmp_path):
    monkeypatch.setattr(pytest.importorskip("torchcodec"), "ffmpeg_major_version", None, raising=False)
    video._import_problem.cache_clear()
    try:
        with pytest.raises(ConfigError, match=r"FFmpeg .* were not found. Remedy: .*ffmpeg"):
            require_decoder("torchcodec")
    finally:
        monkeypatch.undo()
        video._import_problem.cache_clear()


def test_decoder_version_is_for_the_record(decoder):
    name, _, number = decoder_version(decoder).partition(" ")
    assert name == decoder and number[0].isdigit()


def test_closed_reader_frees_the_file(long_gop):
    with open_video(long_gop) as clip:
        clip.frames([0])
    assert clip._open is None
