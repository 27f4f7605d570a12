"""A frozen ViT's outputs from the store: the same as decoding, up to float16; room is asked for before writing."""

import numpy as np
import pytest
import torch

from tests.models.tiny_vila import model_of
from vidalign.common.errors import ConfigError
from vidalign.data.shapes.builder import Shapes
from vidalign.data.shapes.config import ShapesConfig
from vidalign.media.load import MediaLoader
from vidalign.models.vila import tower
from vidalign.models.vila.config import StoreConfig
from vidalign.runners.frame_store import stored_media

FRAMES = 8


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    config = ShapesConfig(root=str(tmp_path_factory.mktemp("shapes")), num_test=3, workers=1, kinds=["moment"])
    builder = Shapes(config)
    return builder, builder.samples("test")


def store_of(clips, cache, *, arch="vila", train=False, **store):
    builder, samples = clips
    frames = 4 if arch == "vila_ori" else FRAMES
    model = model_of(arch, frames=frames, store=StoreConfig(**{"use": "always", **store}))
    made = stored_media(model, samples, builder.media_root, cache, train=train, decoder="pyav", progress=False)
    return model, made


def load(clips, spec, store, *, epoch=0, **more):
    builder, samples = clips
    loader = MediaLoader(spec, features=store, media_root=builder.media_root, decoder="pyav", **more)
    return [loader.load(sample, epoch=epoch) for sample in samples]


def test_stored_rows_are_what_the_vit_makes_of_the_frames(clips, tmp_path):
    model, (spec, store) = store_of(clips, tmp_path)
    stored, decoded = load(clips, spec, store), load(clips, model.media_spec(), None)
    assert [one.kept_frames for one in stored] == [one.kept_frames for one in decoded]
    assert stored[0].kept_frames[1] == {"index": 6, "seconds": 0.6}
    for row, frames in zip(stored, decoded, strict=True):
        seen = tower.look(model.visual_encoder, {"features": row.tensor[None]})
        made = tower.look(model.visual_encoder, {"video": frames.tensor[None]})
        assert seen.shape == (1, FRAMES, model.visual_encoder.num_tokens, model.visual_encoder.dim)
        torch.testing.assert_close(seen, made, rtol=1e-3, atol=1e-3)
        assert not torch.equal(made[:, 0], made[:, 1])


def test_a_second_run_writes_nothing_and_other_weights_have_another_store(clips, tmp_path):
    _, (_, store) = store_of(clips, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in store.path.iterdir()}
    _, (_, again) = store_of(clips, tmp_path, max_gib=0.0)
    assert again.path == store.path and {path: path.stat().st_mtime_ns for path in store.path.iterdir()} == before
    builder, samples = clips
    other = model_of("vila", store=StoreConfig(use="always"))
    torch.nn.init.normal_(other.visual_encoder.cls_token)
    _, third = stored_media(other, samples, builder.media_root, tmp_path, train=False, decoder="pyav", progress=False)
    assert third.path != store.path


def test_training_draws_one_stored_frame_of_each_interval(clips, tmp_path):
    _, (spec, store) = store_of(clips, tmp_path, arch="vila_ori", train=True, frames=16)
    drawn = [load(clips, spec, store, train=True, epoch=epoch)[0] for epoch in range(8)]
    places = np.array([[frame["index"] for frame in one.kept_frames] for one in drawn])
    # 32 frames, stored are the second of each two; four rows to each of the model's four intervals.
    assert (places // 8 == [0, 1, 2, 3]).all() and (places % 2 == 1).all()
    assert len({tuple(row) for row in places}) > 1
    rows = store.rows("test_00000")
    for one, row in zip(drawn, places, strict=True):
        assert torch.equal(one.tensor, rows[row // 2].float())


def test_room_is_asked_for_before_anything_is_written(clips, tmp_path):
    with pytest.raises(ConfigError, match=r"3 clips x 8 frames .* model.store.max_gib="):
        store_of(clips, tmp_path, max_gib=1e-6)
    assert not list(tmp_path.rglob("*.npy"))


def test_only_where_frames_are_the_same_at_every_visit_unless_asked(clips, tmp_path):
    assert store_of(clips, tmp_path, use="never")[1] is None
    assert store_of(clips, tmp_path, use="evaluation", train=True)[1] is None
    assert store_of(clips, tmp_path, use="evaluation")[1] is not None
