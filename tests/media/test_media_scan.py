"""`vidalign scan`: what is recorded of every file, files that hang or crash, resuming, and the manifest at work."""

import dataclasses
import json
import os
import time

import pytest
from video_files import (
    claim_duration,
    hanging_decoder,  # noqa: F401 -- a fixture
    make_sound,
    make_trimmed,
    make_uneven,
    make_video,
)

from vidalign.cli import main
from vidalign.common.errors import DataError, MediaError
from vidalign.common.sample import Media, Sample
from vidalign.media import probe, video
from vidalign.media import scan as scanning
from vidalign.media.load import MediaLoader, open_known
from vidalign.media.manifest import MANIFEST, Entry, find_manifest, read_manifest, write_manifest
from vidalign.media.mp4_boxes import mp4_facts
from vidalign.media.scan import scan, table, video_files
from vidalign.media.spec import MediaSpec


def run(root, **settings):
    arguments = {"manifest": root / MANIFEST, "workers": 1, "progress": False, **settings}
    return scan(root, **arguments)


def test_what_is_recorded_of_good_files(tmp_path):
    make_video(tmp_path / "plain.mp4", frames=12)
    make_video(tmp_path / "long.mp4", frames=45, options={"g": "20", "bf": "3"})
    make_trimmed(tmp_path / "sub.mkv.mp4", tmp_path / "long.mp4", 0.9)
    (tmp_path / "deep").mkdir()
    make_uneven(tmp_path / "deep" / "uneven.mp4", [0, 100, 200, 700, 720, 1500])
    claim_duration(make_video(tmp_path / "boast.mp4", frames=12), 100)
    make_video(tmp_path / "old.avi", codec="mpeg4", frames=12)
    (tmp_path / "notes.txt").write_text("no video by its name")
    report = run(tmp_path)
    found = report.entries
    assert set(found) == {"plain.mp4", "long.mp4", "sub.mkv.mp4", "deep/uneven.mp4", "boast.mp4", "old.avi"}
    assert {one.status for one in found.values()} == {"ok"} and (report.examined, report.unchanged) == (6, 0)
    plain = found["plain.mp4"]
    assert (plain.container, plain.codec, plain.fps, plain.frames, plain.seconds) == ("mp4", "h264", 10.0, 12, 1.2)
    assert (plain.width, plain.height, plain.rotation, plain.hidden_frames) == (64, 48, 0, 0)
    assert plain.variable_rate is False and plain.first_frame and plain.last_frame and not plain.decoders_differ
    trimmed = found["sub.mkv.mp4"]
    assert (trimmed.frames, trimmed.hidden_frames, trimmed.edits) == (36, 9, 1)
    assert "its edit list hides 9 frames" in trimmed.decoders_differ[0]
    assert found["deep/uneven.mp4"].variable_rate and "variable" in found["deep/uneven.mp4"].warnings[0]
    assert found["boast.mp4"].header_seconds > 10 and "the header claims" in found["boast.mp4"].warnings[0]
    assert found["boast.mp4"].frames == 12 and "MPEG-4 in AVI" in found["old.avi"].decoders_differ[0]
    shown = table(report)
    assert "decoders disagree: 2" in shown and "sub.mkv.mp4: its edit list hides 9 frames" in shown
    assert "odd, but usable: 2" in shown
    assert read_manifest(tmp_path / MANIFEST).entries == found


def test_shared_clips(shared, tmp_path):
    root = shared / "data" / "videos"
    found = scan(root, manifest=tmp_path / "m.jsonl", progress=False).entries
    assert found["corrupted.mp4"].status == "damaged" and found["corrupted.mp4"].last_frame is False
    assert sum(one.status == "ok" for one in found.values()) == 7
    assert found["video_90.mov"].rotation in (90, 270) and found["video_90.mov"].height == 568


def bad_files(root):
    good = make_video(root / "good.mp4", frames=12)
    (root / "cut.mp4").write_bytes(good.read_bytes()[:900])
    (root / "empty.mp4").touch()
    (root / "text.mp4").write_text("hello\n" * 30)
    (root / "noise.mp4").write_bytes(bytes(range(128, 256)) * 64)
    (root / "folder.mp4").mkdir()
    (root / "dangling.mp4").symlink_to(root / "nowhere")
    os.mkfifo(root / "pipe.mp4")
    make_sound(root / "sound.mp4")
    for name in ("endless_1.mp4", "endless_2.mp4", "crash.mp4"):
        (root / name).write_bytes(good.read_bytes())
    (root / "zlast.mp4").write_bytes(good.read_bytes())


def test_every_bad_file_has_its_reason_and_nothing_hangs(tmp_path, hanging_decoder):  # noqa: F811
    bad_files(tmp_path)
    start = time.monotonic()
    report = run(tmp_path, timeout_seconds=1.5)
    assert time.monotonic() - start < 30
    reasons = {name: one.reason for name, one in report.entries.items() if one.status == "bad"}
    late, crash = "decord gave no answer for this file within 1.5 s", "decord crashed on this file (exit code -6)"
    assert reasons == {
        "cut.mp4": "cut.mp4 is damaged: its mp4 container cannot be read",
        "empty.mp4": "empty.mp4 is empty (0 bytes)",
        "text.mp4": "text.mp4 is a text file, not a video",
        "noise.mp4": "noise.mp4 is not a video file (unknown container)",
        "folder.mp4": "folder.mp4 is a folder, not a video file",
        "dangling.mp4": "dangling.mp4: no such file",
        "pipe.mp4": "pipe.mp4 is a pipe or device, not a video file",
        "sound.mp4": "sound.mp4 has no video stream",
        "endless_1.mp4": f"{late}; try decoder: pyav",
        "endless_2.mp4": f"{late}; try decoder: pyav",
        "crash.mp4": f"{crash}; try decoder: pyav",
    }
    # What PyAV said before decord hung is kept; files after a hanging one are examined by a new child.
    assert report.entries["endless_1.mp4"].frames == 12 and report.entries["zlast.mp4"].status == "ok"
    shown = table(report)
    assert "     2  usable\n" in shown and "    11  unusable" in shown
    assert "     2  decord gave no answer for this file within 1.5 s; try decoder: pyav" in shown

    again = run(tmp_path, timeout_seconds=1.5)  # nothing that needs a decoder is examined again
    assert (again.unchanged, again.examined) == (8, 5) and again.entries == report.entries


def test_scan_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    for name in "abcd":
        make_video(tmp_path / f"{name}.mp4", frames=3)
    real, seen = scanning.Examiner.examine, []

    def killed_at_the_third(self, path, name):
        seen.append(name)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return real(self, path, name)

    monkeypatch.setattr(scanning.Examiner, "examine", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    assert set(read_manifest(tmp_path / MANIFEST).entries) == {"a.mp4", "b.mp4"}
    report = run(tmp_path)
    assert (report.examined, report.unchanged) == (2, 2) and seen[3:] == ["c.mp4", "d.mp4"]

    make_video(tmp_path / "a.mp4", frames=5)  # changed
    (tmp_path / "b.mp4").unlink()
    report = run(tmp_path)
    assert (report.examined, report.unchanged, report.gone) == (1, 2, 1) and report.entries["a.mp4"].frames == 5
    assert run(tmp_path, fresh=True).examined == 3
    assert run(tmp_path, decoder="pyav").examined == 3, "another decoder sees other things"


def test_several_workers_and_saving_by_the_clock(tmp_path, monkeypatch):
    for number in range(9):
        make_video(tmp_path / f"{number}.mp4", frames=2)
    monkeypatch.setattr(scanning, "SAVE_SECONDS", 0.0)
    sizes, real = [], scanning.write_manifest
    monkeypatch.setattr(scanning, "write_manifest", lambda *a, **k: (sizes.append(len(a[2])), real(*a, **k)))
    assert len(run(tmp_path, workers=3).entries) == 9 and sizes[:9] == list(range(1, 10))


def test_links_are_followed_once(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.MP4").touch()
    (tmp_path / "real" / ".hidden.mp4").touch()
    (tmp_path / "real" / "up").symlink_to(tmp_path)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "real")
    assert [path.name for path in video_files(tmp_path / "root")] == ["a.MP4"]


def test_without_pyav_less_is_known_and_said(tmp_path, monkeypatch):
    make_video(tmp_path / "long.mp4", frames=20)
    make_trimmed(tmp_path / "cut.mp4", tmp_path / "long.mp4", 0.5)
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "av.py").write_text("raise ImportError('not here')\n")
    monkeypatch.setenv("PYTHONPATH", str(blocked))
    monkeypatch.setattr(scanning, "installed", lambda name: name != "pyav")
    report = run(tmp_path)
    entry = report.entries["cut.mp4"]
    assert (entry.status, entry.codec, entry.hidden_frames, entry.variable_rate) == ("ok", None, None, None)
    assert (entry.frames, entry.fps, entry.width, entry.edits) == (20, 10.0, 64, 1)
    assert "PyAV is not installed: codec, hidden frames" in table(report)


def test_the_command(tmp_path, capsys):
    root = tmp_path / "videos"
    assert main(["scan", str(root)]) == 2 and "does not exist" in capsys.readouterr().err
    root.mkdir()
    make_video(root / "a.mp4", frames=3)
    assert main(["scan", str(root), "--quiet", "--workers", "1"]) == 0
    shown = capsys.readouterr().out
    assert "1 files: 1 examined" in shown and f"written to {root / MANIFEST}" in shown
    elsewhere = tmp_path / "m.jsonl"
    assert main(["scan", str(root), "--quiet", "--manifest", str(elsewhere)]) == 0
    assert read_manifest(elsewhere).root == root
    assert main(["scan", str(tmp_path), "--quiet", "--manifest", str(elsewhere)]) == 2
    assert "describes" in capsys.readouterr().err
    assert main(["scan", str(root), "--quiet", "--manifest", str(root / "a.mp4" / "m")]) == 2
    assert "--manifest" in capsys.readouterr().err
    for wrong in (["--workers", "0"], ["--timeout-seconds", "-1"], ["--workers", "x"]):
        with pytest.raises(SystemExit):
            main(["scan", str(root), *wrong])


# -- the manifest at work --


def manifest_of(root, path, **changes):
    """A manifest in which this file has the given fields."""
    status = path.stat()
    fields = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "decoder": "decord 0.6.0", "first_frame": True}
    entry = Entry(file=path.relative_to(root).as_posix(), **fields | changes)
    write_manifest(root / MANIFEST, root, {entry.file: entry}, decoder="decord 0.6.0")
    return find_manifest(root, None)


@pytest.fixture
def clip(tmp_path):
    (tmp_path / "videos").mkdir()
    return make_video(tmp_path / "videos" / "a.mp4", frames=6)


def test_a_file_known_to_be_bad_is_not_opened(tmp_path, clip, monkeypatch):
    manifest = manifest_of(tmp_path, clip, status="bad", reason="decord gave no answer", first_frame=False)
    opened = []
    monkeypatch.setattr(video, "VideoReader", lambda *a: opened.append(a))
    loader = MediaLoader(MediaSpec(kind="frames", num_frames=2), media_root=clip.parent, manifest=manifest)
    media = Media(kind="video", video_id="a", path="a.mp4")
    with pytest.raises(MediaError, match="^decord gave no answer$"):
        loader.load(Sample(uid="u", dataset="d", split="s", task="mc_qa", media=media))
    assert not opened


@pytest.mark.parametrize(
    ("changes", "in_child"),
    [
        ({}, False),
        ({"status": "damaged"}, False),
        ({"size": 1}, True),  # changed since
        ({"status": "bad", "first_frame": False, "mtime_ns": 1}, True),
        ({"decoder": "pyav 18.1.0", "status": "bad", "first_frame": False}, None),  # says nothing about decord
        ({"status": "bad", "first_frame": None}, None),  # told without a decoder: found again for free
    ],
)
def test_what_the_manifest_asks_for(changes, in_child, tmp_path, clip, monkeypatch):
    manifest = manifest_of(tmp_path, clip, **changes)
    assert manifest.check(clip, decoder="decord") is in_child
    probed = []
    monkeypatch.setattr(probe, "probe_video", lambda path, **_: probed.append(path))
    with open_known(clip, decoder="decord", manifest=manifest) as reader:
        assert reader.num_frames == 6
    assert bool(probed) == bool(in_child)


def test_a_changed_file_that_hangs_is_cut_off(tmp_path, monkeypatch, hanging_decoder):  # noqa: F811
    endless = make_video(tmp_path / "endless.mp4", frames=6)
    manifest = manifest_of(tmp_path, endless, size=1)
    monkeypatch.setitem(probe.probe_video.__kwdefaults__, "timeout_seconds", 1.5)
    with pytest.raises(MediaError, match=r"gave no answer for this file within 1\.5 s"):
        open_known(endless, decoder="decord", manifest=manifest)


def test_where_a_manifest_is_found(tmp_path, clip, monkeypatch):
    assert find_manifest(clip.parent, None) is None
    manifest_of(tmp_path, clip)
    assert find_manifest(clip.parent, None).entry(clip).file == "videos/a.mp4"
    moved = tmp_path / "moved.jsonl"
    (tmp_path / MANIFEST).rename(moved)
    assert find_manifest(clip.parent, None) is None and find_manifest(clip.parent, moved).entry(clip)
    monkeypatch.chdir(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "videos")
    known = read_manifest(moved)
    assert known.entry(link / "a.mp4") and known.entry(clip.relative_to(tmp_path)) and not known.entry(tmp_path / "a")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ":1: not a line of JSON"),
        ('{"format": 9, "root": "."}\n', "format 9, this program reads 1"),
        ('{"format": 1, "root": "."}\n{"file": "a"\n', ":2: not a line of JSON"),
        ('{"format": 1, "root": "."}\n[1]\n', ":2: an object expected"),
        ('{"format": 1, "root": "."}\n{"file": "a"}\n', ":2: not an entry"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_files_that_are_no_manifest(text, says, tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError) as caught:
        read_manifest(path)
    assert says in str(caught.value) and "vidalign scan" in str(caught.value)


def test_a_later_program_may_add_fields(tmp_path, clip):
    manifest_of(tmp_path, clip)
    lines = (tmp_path / MANIFEST).read_text().splitlines()
    entry = json.loads(lines[1]) | {"something_new": 3}
    (tmp_path / MANIFEST).write_text(f"{lines[0]}\n{json.dumps(entry)}\n")
    assert dataclasses.asdict(read_manifest(tmp_path / MANIFEST).entry(clip))["file"] == "videos/a.mp4"


def test_boxes_of_made_up_files_end(tmp_path):
    path = tmp_path / "x.mp4"
    mvhd = b"\0\0\0\x1cmvhd" + bytes(20)  # a time scale of zero
    for data in (
        mvhd,
        b"",
        b"\0\0\0\x08moov" * 50_000,
        b"\0\0\0\0moov" * 1000,
        b"\xff" * 100,
        b"\0\0\0\1moov" + b"\xff" * 8,
    ):
        path.write_bytes(data)
        assert mp4_facts(path) == {"edits": None, "header_seconds": None}
