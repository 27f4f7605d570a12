"""Textual videos of the drawn world: clips of their own, the questions of shapes/test, features and memory."""

import torch

from vidalign.backbones.tiny_clip import TinyCLIP
from vidalign.data.shapes.builder import Shapes
from vidalign.data.shapes.config import ShapesConfig, ShapesTextConfig
from vidalign.data.shapes.text_videos import ShapesText
from vidalign.media.features import FeatureStore
from vidalign.media.load import MediaLoader
from vidalign.media.spec import MediaSpec
from vidalign.runners.shapes.captions import make_caption_features
from vidalign.runners.shapes.text import base_clips, make_tokenizer


def config(root):
    return ShapesTextConfig(root=str(root), features="features.pth", num_train=6, num_test=8)


def test_the_questions_of_video_and_of_captions_are_the_same(tmp_path):
    text = ShapesText(config(tmp_path)).samples("test")
    video = Shapes(ShapesConfig(root=str(tmp_path / "v"), num_test=8, workers=1)).samples("test")
    assert [s.question for s in text] == [s.question for s in video]
    assert [(s.options, s.answer_idx, s.qtype) for s in text] == [(s.options, s.answer_idx, s.qtype) for s in video]
    assert all(len(s.text_frames) == 10 and s.media.kind == "text_frames" for s in text)


def test_training_clips_are_of_their_own(tmp_path):
    builder = ShapesText(config(tmp_path))
    train = builder.samples("train")
    assert len(train) == 6 and all(
        s.qas and s.texts and s.uid.startswith("shapes_text/train/text_only_") for s in train
    )
    told = {clip.captions for clip in builder.clips("train")}
    assert not told & {clip.captions for clip in builder.clips("test")}


def test_features_are_the_text_towers_and_the_memory_has_unit_rows(tmp_path):
    clips = base_clips(0, 20)
    (tmp_path / "llm").mkdir()
    tokenizer = make_tokenizer(tmp_path / "llm" / "tokenizer.model", clips)
    clip = TinyCLIP(tokenizer.vocab_size, dim=16, generator=torch.Generator().manual_seed(0))
    clip.save(tmp_path / "clip")
    report = make_caption_features(tmp_path / "text", tmp_path / "clip", config(tmp_path / "text"))
    assert make_caption_features(tmp_path / "text", tmp_path / "clip", config(tmp_path / "text")) == report
    builder = ShapesText(config(tmp_path / "text"))
    sample = builder.samples("train")[0]
    store = FeatureStore.open(builder.feature_path)
    loaded = MediaLoader(MediaSpec(kind="features", num_frames=10, feature_dim=16), features=store).load(sample)
    clip.model.eval()
    with torch.no_grad():
        rows = clip.texts([tokenizer.encode(caption) for [caption] in sample.text_frames])
    torch.testing.assert_close(loaded.tensor, torch.nn.functional.normalize(rows, dim=-1), atol=1e-5, rtol=1e-4)
    memory = torch.load(tmp_path / "text" / "memory.pth", weights_only=True)
    torch.testing.assert_close(memory.norm(dim=-1), torch.ones(len(memory)))
    assert len(memory) == report["captions"]
