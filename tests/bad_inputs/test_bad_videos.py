"""One unusable video among usable ones: a counted failure with a plain reason, and nothing else is lost."""

import os
import time

import pytest
import torch
from video_files import (
    claim_duration,
    hanging_decoder,  # noqa: F401 -- a fixture
    make_sound,
    make_video,
)

from vidalign.common.sample import Media, Sample
from vidalign.config.load import check_files, load
from vidalign.data.dataset import Failure, Loaded, SampleDataset
from vidalign.data.loader import make_loader
from vidalign.data.sampler import EvalSampler
from vidalign.media import load as media_load
from vidalign.media import probe
from vidalign.media.load import MediaLoader, resolve_video
from vidalign.media.manifest import MANIFEST, find_manifest
from vidalign.media.scan import scan
from vidalign.media.spec import MediaSpec
from vidalign.runners.build import DataRoom, build_model


class Plain:
    """A processor that passes the frames on."""

    def __call__(self, sample, media, *, epoch=0):
        return {"frames": media}

    def collate(self, items):
        return items


def whole(root):
    return make_video(root / "whole.mp4", frames=40, options={"g": "10"}).read_bytes()


def truncated(root):
    (root / "bad.mp4").write_bytes(whole(root)[:1500])


def truncated_behind_the_index(root):
    """The index stands in front, so the file opens; the pictures at its end are cut off."""
    settings = {"frames": 60, "size": (320, 240), "options": {"g": "6"}}
    data = make_video(root / "bad.mp4", muxer={"movflags": "faststart"}, **settings).read_bytes()
    (root / "bad.mp4").write_bytes(data[: len(data) * 6 // 10])


def header_only(root):
    (root / "bad.mp4").write_bytes(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0" * 500)


def pipe(root):
    os.mkfifo(root / "bad.mp4")


def loop(root):
    (root / "bad.mp4").symlink_to(root / "bad.mp4")


CASES = {
    "missing": (lambda root: None, "bad.mp4: no such file"),
    "truncated": (truncated, "bad.mp4 is damaged: its mp4 container cannot be read"),
    "truncated behind the index": (
        truncated_behind_the_index,
        "bad.mp4 is damaged: decord cannot open it (mp4, codec h264)",
    ),
    "zero bytes": (lambda root: (root / "bad.mp4").touch(), "bad.mp4 is empty (0 bytes)"),
    "header only": (header_only, "bad.mp4"),
    "zeros": (lambda root: (root / "bad.mp4").write_bytes(bytes(5000)), "bad.mp4 is not a video file"),
    "noise": (lambda root: (root / "bad.mp4").write_bytes(bytes(range(128, 256)) * 64), "bad.mp4 is not a video file"),
    "text": (lambda root: (root / "bad.mp4").write_text("no video\n" * 50), "bad.mp4 is a text file, not a video"),
    "web page": (lambda root: (root / "bad.mp4").write_text("<html>404</html>"), "bad.mp4 is a text file"),
    "audio only": (lambda root: make_sound(root / "bad.mp4"), "bad.mp4 has no video stream"),
    "folder": (lambda root: (root / "bad.mp4").mkdir(), "bad.mp4 is a folder, not a video file"),
    "pipe": (pipe, "bad.mp4 is a pipe or device, not a video file"),
    "link to itself": (loop, "bad.mp4 cannot be read: Too many levels of symbolic links"),
    "broken link": (lambda root: (root / "bad.mp4").symlink_to(root / "nowhere"), "bad.mp4: no such file"),
}


def samples(*names):
    media = [Media(kind="video", video_id=name, path=f"{name}.mp4") for name in names]
    return [
        Sample(uid=f"clips/val/{i}_{one.video_id}", dataset="clips", split="val", task="mc_qa", media=one)
        for i, one in enumerate(media)
    ]


def entries(root, names=("good", "bad", "good"), *, manifest=None):
    spec = MediaSpec(kind="frames", num_frames=4, index_rule="segment_middle", image_px=32, transform="clip_eval")
    loader = MediaLoader(spec, media_root=root, manifest=manifest)
    dataset = SampleDataset(samples(*names), Plain(), loader)
    return [dataset[index, 0] for index in range(len(dataset))]


@pytest.mark.parametrize(("make", "reason"), CASES.values(), ids=CASES)
def test_counted_with_its_reason_and_the_others_are_there(make, reason, tmp_path):
    make_video(tmp_path / "good.mp4", frames=12)
    make(tmp_path)
    first, failed, last = entries(tmp_path)
    assert isinstance(first, Loaded) and isinstance(last, Loaded)
    assert isinstance(failed, Failure) and failed.uid == "clips/val/1_bad" and reason in failed.reason
    assert "\n" not in failed.reason and str(tmp_path) not in failed.reason

    found = scan(tmp_path, manifest=tmp_path / MANIFEST, workers=1, progress=False).entries
    assert "bad.mp4" not in found or found["bad.mp4"].reason == failed.reason
    again = entries(tmp_path, manifest=find_manifest(tmp_path, None))
    assert [type(one) for one in again] == [Loaded, Failure, Loaded] and again[1].reason == failed.reason


def test_endless_decoding_is_cut_off(tmp_path, monkeypatch, hanging_decoder):  # noqa: F811
    make_video(tmp_path / "good.mp4", frames=12)
    make_video(tmp_path / "endless.ts", frames=10).rename(tmp_path / "endless.mp4")
    monkeypatch.setitem(probe.probe_video.__kwdefaults__, "timeout_seconds", 1.5)
    start = time.monotonic()
    first, failed, last = entries(tmp_path, ("good", "endless", "good"))
    assert isinstance(first, Loaded) and isinstance(last, Loaded) and time.monotonic() - start < 15
    assert failed.reason == "decord gave no answer for this file within 1.5 s; try decoder: pyav"


def test_an_endless_mp4_is_known_from_the_scan(tmp_path, hanging_decoder):  # noqa: F811
    """An ordinary mp4 is opened without a child, so only a scan can protect from one that hangs."""
    make_video(tmp_path / "good.mp4", frames=12)
    make_video(tmp_path / "endless.mp4", frames=12)
    scan(tmp_path, manifest=tmp_path / MANIFEST, workers=1, timeout_seconds=1.5, progress=False)
    first, failed, last = entries(tmp_path, ("good", "endless", "good"), manifest=find_manifest(tmp_path, None))
    assert isinstance(first, Loaded) and isinstance(last, Loaded)
    assert failed.reason == "decord gave no answer for this file within 1.5 s; try decoder: pyav"


def test_a_wrong_duration_in_the_header_changes_nothing(tmp_path):
    make_video(tmp_path / "good.mp4", frames=12)
    right = entries(tmp_path, ("good",))[0]
    claim_duration(make_video(tmp_path / "bad.mp4", frames=12), 1000)
    wrong = entries(tmp_path, ("bad",))[0]
    assert isinstance(wrong, Loaded) and wrong.kept_frames == right.kept_frames
    assert wrong.item["frames"].equal(right.item["frames"])
    found = scan(tmp_path, manifest=tmp_path / MANIFEST, workers=1, progress=False).entries["bad.mp4"]
    assert "the header claims 1200 s, its frames last 1.2 s" in found.warnings


@pytest.mark.parametrize("locked", ["file", "folder"])
def test_permissions_are_missing(nobody, locked):
    root, become = nobody
    (root / "in").mkdir()
    make_video(root / "good.mp4", frames=12)
    make_video(root / "in" / "bad.mp4", frames=12)
    entries(root, ("good",))  # imports everything that is needed while that is still allowed
    (root / "in" / "bad.mp4" if locked == "file" else root / "in").chmod(0)
    become()
    first, failed, last = entries(root, ("good", "in/bad", "good"))
    assert isinstance(first, Loaded) and isinstance(last, Loaded)
    assert failed.reason == "bad.mp4 cannot be read: Permission denied"
    if os.getuid() == 0:
        os.seteuid(0)
    (root / "in").chmod(0o755)


def test_odd_names(tmp_path):
    make_video(tmp_path / "good.mp4", frames=12)
    reasons = [one.reason for one in entries(tmp_path, ("x" * 300, "zero\0byte", "../../etc/passwd", ""))]
    assert all(reasons) and "cannot be read: File name too long" in reasons[0]
    assert resolve_video(tmp_path, Media(kind="video", video_id="good")) == tmp_path / "good.mp4"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_whole_evaluation_over_good_and_bad(tmp_path, workers):
    """Every Sample ends exactly once as loaded or failed, whatever lies in the folder."""
    make_video(tmp_path / "good.mp4", frames=12)
    names = ["good"]
    for number, (make, _) in enumerate(CASES.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        make(folder)
        names += [f"{number}/bad", "good"]
    spec = MediaSpec(kind="frames", num_frames=2, index_rule="segment_middle", image_px=32, transform="clip_eval")
    dataset = SampleDataset(samples(*names), Plain(), MediaLoader(spec, media_root=tmp_path))
    loader = make_loader(dataset, EvalSampler(len(dataset), batch_size=3), num_workers=workers)
    seen, failed = [], []
    for batch in loader:
        seen += batch["uids"]
        failed += [failure.uid for failure in batch["failures"]]
    assert seen == [sample.uid for sample in dataset.samples]
    assert len(failed) >= len(CASES) - 1 and all("bad" in uid for uid in failed)


def test_pictures_of_a_file_that_is_replaced_while_in_use(tmp_path):
    """A changed file is read as it is now; nothing of the old one is kept."""
    make_video(tmp_path / "good.mp4", frames=12)
    scan(tmp_path, manifest=tmp_path / MANIFEST, workers=1, progress=False)
    make_video(tmp_path / "good.mp4", frames=24)
    [entry] = entries(tmp_path, ("good",), manifest=find_manifest(tmp_path, None))
    assert [kept["index"] for kept in entry.kept_frames] == [3, 9, 15, 21]


def test_a_run_that_makes_features_reads_the_manifest(tmp_path, hanging_decoder, monkeypatch, repository):  # noqa: F811
    """From the config to the store: the endless file fails with the scan's reason and is not opened."""
    videos = tmp_path / "videos"
    (tmp_path / "clips").mkdir()
    videos.mkdir()
    lines = [f"{name},1,1,1,q,1,{name},CW,a,b,c,d,e" for name in ("good", "endless")]
    head = "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4"
    (tmp_path / "clips" / "val.csv").write_text("\n".join([head, *lines]) + "\n")
    make_video(videos / "good.mp4", frames=12)
    make_video(videos / "endless.mp4", frames=12)
    scan(videos, manifest=tmp_path / "m.jsonl", workers=1, timeout_seconds=1.5, progress=False)
    opened, real = [], media_load.open_video
    monkeypatch.setattr(media_load, "open_video", lambda path, **k: (opened.append(path.name), real(path, **k))[1])

    paths = {"datasets.clips.root": tmp_path, "datasets.clips.manifest": "m.jsonl", "paths.cache": tmp_path / "cache"}
    experiment = load(repository / "configs/bovila/clips_eval.yaml", [f"{key}={value}" for key, value in paths.items()])
    check_files(experiment)
    device = torch.device("cpu")
    dataset, _ = DataRoom(experiment, build_model(experiment, device=device), device=device).dataset(
        "clips", "val", train=False
    )
    good, failed = dataset[0, 0], dataset[1, 0]
    assert isinstance(good, Loaded) and set(opened) == {"good.mp4"}
    assert failed.reason == "decord gave no answer for this file within 1.5 s; try decoder: pyav"
