"""LF-VILA: sizes of the published models, fast against exact, weights, a tiny run from videos to metrics."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from adapters.lf_vila_inputs import run_stage1_to_stage2
from refcases.case import Case
from video_files import make_video

from vidalign.common.errors import CheckpointError, ConfigError, DataError
from vidalign.common.sample import Sample
from vidalign.config.load import load
from vidalign.models.lf_vila.base import Architecture
from vidalign.models.lf_vila.config import (
    LFVilaAnswersConfig,
    LFVilaConfig,
    LFVilaMultipleChoiceConfig,
    LFVilaPretrainConfig,
    LFVilaRetrievalConfig,
    LFVilaVideoConfig,
    StartWeights,
)
from vidalign.models.lf_vila.heads import LFVilaAnswers, LFVilaMultipleChoice, LFVilaVideo
from vidalign.models.lf_vila.htwa import HTWASizes, VideoEncoder
from vidalign.models.lf_vila.keys import load_pretrained
from vidalign.models.lf_vila.pretrain import LFVilaPretrain, mismatch_half
from vidalign.models.lf_vila.processor import AnswersContent, ChoiceContent, TextRules, VideoContent
from vidalign.models.lf_vila.retrieval import LFVilaRetrieval
from vidalign.models.lf_vila.sizes import SIZES
from vidalign.runners.run import Runner
from vidalign.text.wordpiece import merge_neighbours, open_wordpiece

REPOSITORY = Path(__file__).resolve().parents[2]
# (model class, config, millions of parameters): specification lf_vila, section 1
PUBLISHED = [
    (LFVilaPretrain, LFVilaPretrainConfig(), 310.29),
    (LFVilaPretrain, LFVilaPretrainConfig(stage=2), 461.48),
    (LFVilaRetrieval, LFVilaRetrievalConfig(), 308.19),
    (LFVilaAnswers, LFVilaAnswersConfig(), 426.64),
    (LFVilaMultipleChoice, LFVilaMultipleChoiceConfig(), 424.95),
    (LFVilaVideo, LFVilaVideoConfig(num_classes=1654), 93.02),
]


def millions(parameters):
    return round(sum(parameter.numel() for parameter in parameters) / 1e6, 2)


@pytest.mark.parametrize(("cls", "config", "expected"), PUBLISHED, ids=lambda value: getattr(value, "__name__", None))
def test_parameters_at_the_published_size(cls, config, expected):
    with torch.device("meta"):
        model = cls.build(config)
    assert millions(model.parameters()) == expected


def test_stage_two_trains_what_is_published_and_keys_are_the_released_ones():
    with torch.device("meta"):
        model = LFVilaPretrain.build(LFVilaPretrainConfig(stage=2))
    assert millions(p for p in model.parameters() if p.requires_grad) == 184.58
    assert millions(model.video_encoder.parameters()) == 89.23
    state = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    rows = [(135, 4), (315, 8), (675, 16), (1395, 16), (1395, 16), (2835, 32)]
    for stage, shape in enumerate(rows):
        assert state[f"video_encoder.layers.{stage}.blocks.1.attn.relative_position_bias_table"] == shape
    assert state["video_encoder.patch_embed.proj.weight"] == (128, 3, 1, 8, 8)
    assert state["video_encoder.local_feat_proj.reduction.weight"] == (1024, 2048)
    assert state["text_encoder.bert.encoder.layer.23.output.dense.weight"] == (1024, 4096)
    assert state["text_encoder.cls.predictions.decoder.weight"] == (30522, 1024)
    assert state["video_token_pos.s_pos_embed"] == (1, 1, 6, 1024)
    assert state["video_token_pos.t_pos_embed"] == (1, 32, 1, 1024)
    assert state["sent_embedding.segment_embeddings.weight"] == (8, 1024)


@pytest.mark.parametrize("size", [(8, 64, 96), (5, 60, 100)], ids=["whole", "ragged"])
def test_fast_video_encoder_equals_the_exact_one(size):
    sizes = HTWASizes(**SIZES["tiny"]["video"])
    fast, exact = VideoEncoder(sizes, drop_path_rate=0.0), VideoEncoder(sizes, drop_path_rate=0.0, exact=True)
    fast.init_weights()
    exact.load_state_dict(fast.state_dict())
    video = torch.randn(2, 3, *size)
    outputs = [encoder(video) for encoder in (fast, exact)]
    torch.testing.assert_close(*outputs, atol=1e-5, rtol=1e-4)
    weight = torch.randn_like(outputs[0])
    grads = [
        torch.autograd.grad((output * weight).sum(), list(encoder.parameters()), allow_unused=True)
        for output, encoder in zip(outputs, (fast, exact), strict=True)
    ]
    for one, two in zip(*grads, strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            torch.testing.assert_close(one, two, atol=1e-4 * float(two.abs().max()) + 1e-6, rtol=1e-3)


def tiny(cls=LFVilaRetrieval, config=None, **changes):
    return cls.from_config((config or LFVilaRetrievalConfig)(size="tiny", max_tokens=8, **changes))


def test_empty_sentences_are_encoded_once_with_the_same_result():
    fast = tiny(dropout=0.0)
    exact = tiny(dropout=0.0, exact=True)
    exact.load_state(fast.export_state())
    ids = torch.randint(5, 100, (3, 4, 8))
    mask = torch.ones_like(ids)
    ids[0, 2:], mask[0, 2:], ids[1, 1:], mask[1, 1:] = 0, 0, 0, 0
    batch = {"text_ids": ids, "text_mask": mask}
    torch.testing.assert_close(fast.eval().embed_text(batch), exact.eval().embed_text(batch), atol=1e-5, rtol=1e-4)


def test_a_stage_one_file_starts_any_model_and_a_wrong_one_is_told():
    stage_one = tiny(LFVilaPretrain, LFVilaPretrainConfig).export_state()
    for cls, config in ((LFVilaRetrieval, LFVilaRetrievalConfig), (LFVilaVideo, LFVilaVideoConfig)):
        model = tiny(cls, config)
        load_pretrained(model, stage_one, where="x")
        name = "video_encoder.layers.2.blocks.1.mlp.fc1.weight"
        assert torch.equal(model.state_dict()[name], stage_one[name])
    with torch.device("meta"):  # a dry run
        load_pretrained(tiny(segments=9), stage_one, where="x")
    broken = {name: value for name, value in stage_one.items() if "layers.3." not in name}
    with pytest.raises(CheckpointError, match=r"missing: video_encoder\.layers\.3"):
        load_pretrained(tiny(), broken, where="x")


def test_what_fits_of_an_odd_file_is_loaded_on_request_alone(tmp_path, caplog):
    file = tiny(LFVilaPretrain, LFVilaPretrainConfig, segments=10).export_state() | {"odd.weight": torch.zeros(2)}
    lacking = "text_encoder.bert.encoder.layer.0.attention.self.query.weight"
    taken = file.pop(lacking)
    torch.save(file, tmp_path / "odd.pt")
    own = tiny()
    before = {name: value.clone() for name, value in own.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"(?s)missing: text_enc.*surplus: odd.*shape of sent_embedding\.segment"):
        load_pretrained(own, file, where="x")
    assert all(torch.equal(value, before[name]) for name, value in own.state_dict().items())
    report = load_pretrained(own, file, where="x", partly=True)
    assert lacking in report.left and "odd.weight" in report.surplus
    assert report.misshapen == ["sent_embedding.segment_embeddings.weight"]
    for name, value in own.state_dict().items():
        assert torch.equal(value, file[name] if name in report.loaded else before[name]), name
    model = tiny(start=StartWeights(pretrained=str(tmp_path / "odd.pt"), partly=True))
    assert not torch.equal(model.state_dict()[lacking], taken)
    assert f"not in the file (1): {lacking}" in caplog.text and "of another shape (1): sent_embedding" in caplog.text


def test_an_odd_stage_one_file_ends_as_officially():
    case = Case(REPOSITORY / "tests" / "golden" / "lf_vila" / "weights_stage1_to_stage2.json")
    facts = case.json["facts"]
    names = {"stage1": "sent_embedding.norm.weight", "bert": "bert.encoder.layer.13.output.dense.weight"}
    facts["stage1_file_keys"] = [*facts["stage1_file_keys"], "odd.weight"]
    facts["stage1_file_keys"].remove(names["stage1"])
    facts["bert_file_keys"] = [*facts["bert_file_keys"], "odd.weight"]
    facts["bert_file_keys"].remove(names["bert"])
    made = run_stage1_to_stage2(case)
    left = {*facts["left_at_init"], names["stage1"], f"text_encoder.{names['bert']}"}
    assert set(made["json:facts/left_at_init"]) == left
    assert set(made["json:facts/equal_to_stage1_file"]) == {*facts["equal_to_stage1_file"]} - {names["stage1"]}


def test_a_file_starts_a_model_with_other_temporal_windows(tmp_path):
    torch.save(tiny(LFVilaPretrain, LFVilaPretrainConfig).export_state(), tmp_path / "stage1.pt")
    longer = {"num_frames": 16, "start": StartWeights(pretrained=str(tmp_path / "stage1.pt"))}
    model = tiny(temporal_windows=[1, 2, 2, 4, 8, 16], **longer)
    old = torch.load(tmp_path / "stage1.pt")["video_encoder.layers.5.blocks.0.attn.relative_position_bias_table"]
    new = model.video_encoder.layers[5].blocks[0].attn.relative_position_bias_table
    assert len(old) == 15 * 15 and len(new) == 31 * 15
    # The ends and the middle of time are the same distances relative to the window: bicubic keeps them near.
    torch.testing.assert_close(new[15 * 15 : 16 * 15], old[7 * 15 : 8 * 15], atol=2e-3, rtol=0.01)
    assert model.global_video(torch.randn(1, 3, 16, 64, 96)).shape == (1, model.architecture.video.out_dim)
    with pytest.raises(CheckpointError, match=r"shape of video_encoder\.layers\.4.*bias_table"):
        load_pretrained(tiny(temporal_windows=[1, 2, 2, 4, 8, 16]), torch.load(tmp_path / "stage1.pt"), where="x")
    assert any(key == "temporal_windows" for key, _ in LFVilaConfig(size="tiny", temporal_windows=[1]).problems())


def test_more_than_stage_one_can_be_frozen():
    architecture = Architecture.from_config(LFVilaPretrainConfig(size="tiny"))

    def layers(**settings):
        model = LFVilaPretrain(architecture, **settings)
        trains = [[p.requires_grad for p in layer.parameters()] for layer in model.text_encoder.bert.encoder.layer]
        assert all(len(set(layer)) == 1 for layer in trains)
        words = model.text_encoder.bert.embeddings.word_embeddings.weight
        return words.requires_grad, [layer[0] for layer in trains]

    # Four layers belong to stage one, of six.
    assert layers(stage=2) == layers(stage=2, frozen_layers=2) == (False, [False] * 4 + [True] * 2)
    assert layers(stage=2, frozen_layers=5) == (False, [False] * 5 + [True])
    assert layers(stage=1) == (True, [True] * 4) and layers(stage=1, frozen_layers=1) == (False, [False] + [True] * 3)
    quiet = LFVilaPretrain(architecture, stage=2, frozen_layers=5, frozen_dropout=False).train()
    assert [layer.training for layer in quiet.text_encoder.bert.encoder.layer] == [False] * 5 + [True]
    first = LFVilaPretrain(architecture, stage=1, frozen_stages=2).train().video_encoder
    assert [(stage.training, next(stage.parameters()).requires_grad) for stage in first.layers][1:3] == [
        (False, False),
        (True, True),
    ]


def test_a_batch_without_wrong_pairs_is_told_once(caplog):
    model = tiny(LFVilaPretrain, LFVilaPretrainConfig, stage=2)
    ids = torch.randint(5, 100, (4, 4, 8))
    labels = torch.full((4, 32), -100).index_fill(1, torch.tensor([3]), 7)
    batch = {"uid": list("abcd"), "video": torch.randn(4, 3, 8, 64, 96), "text_ids": ids, "mlm_labels": labels}
    batch["text_mask"] = torch.ones_like(ids)
    for count, told in ((4, 0), (3, 1), (2, 1)):
        model({name: value[:count] for name, value in batch.items()})
        assert caplog.text.count("run.batch_size_per_gpu to 4 or more") == told


def test_first_half_sees_the_video_before():
    tokens, labels = mismatch_half(torch.arange(5.0)[:, None, None])
    assert tokens.flatten().tolist() == [1, 0, 2, 3, 4] and labels.tolist() == [0, 0, 1, 1, 1]


def test_options_that_only_fill_up_a_row_change_no_loss():
    model = tiny(LFVilaMultipleChoice, LFVilaMultipleChoiceConfig, max_subtitles=0).eval()
    ids = torch.randint(5, 100, (2, 3, 2, 8))
    batch = {"uid": ["a", "b"], "video": torch.randn(2, 3, 8, 64, 96), "text_ids": ids, "label": torch.tensor([2, 0])}
    batch |= {"text_mask": torch.ones_like(ids), "span_labels": torch.tensor([[0, 0, 1, 1, 1, 0, 0, 0]] * 2)}
    batch |= {"span_weights": torch.ones(2, 8), "num_options": torch.tensor([3, 3])}
    whole = model({name: value for name, value in batch.items() if name != "num_options"})
    equal = model(batch)
    filled = {
        name: torch.cat([batch[name], torch.zeros(2, 2, 2, 8).long()], dim=1) for name in ("text_ids", "text_mask")
    }
    more = model(batch | filled)
    for name in ("answer", "span"):
        assert torch.equal(whole.losses[name], equal.losses[name]), "nothing is missing, nothing changes"
        torch.testing.assert_close(more.losses[name], whole.losses[name], rtol=1e-5, atol=1e-5)
    grads = [torch.autograd.grad(one.total, model.video_token_pos.t_pos_embed)[0] for one in (whole, more)]
    torch.testing.assert_close(*grads, rtol=1e-3, atol=1e-5)
    assert model.score_options(batch | filled).scores.isinf().tolist() == [[False] * 3 + [True] * 2] * 2


def test_without_a_longer_window_there_are_no_local_features():
    sizes = HTWASizes(**SIZES["tiny"]["video"])
    video = torch.randn(1, 3, 8, 64, 96)
    assert VideoEncoder(sizes).local_features(video).shape == VideoEncoder(sizes)(video).shape
    for window in (8, 1):  # none is longer; the first that is longer belongs to a stage too narrow
        encoder = VideoEncoder(replace(sizes, local_window=window))
        assert torch.isfinite(encoder(video)).all()
        with pytest.raises(ConfigError, match=f"no local features.*local_window {window}"):
            encoder.local_features(video)


def test_frames_that_do_not_fit_the_patch_are_told():
    with pytest.raises(ConfigError, match="multiples of the patch"):
        tiny().video_encoder(torch.zeros(1, 3, 8, 64, 98))
    assert any(key == "clips" for key, _ in LFVilaConfig(size="tiny", num_frames=7).problems())
    assert Architecture.from_config(LFVilaRetrievalConfig()).patches == 6


def test_a_paragraph_may_be_one_string(tmp_path):
    rules = TextRules(open_wordpiece(None, cache_dir=tmp_path, pieces=2048), length=8, clips=4)
    for ways in (rules.paragraph, rules.clip_sentences, partial(rules.paragraph, split=False)):
        assert torch.equal(ways("the man runs.")[0], ways(["the man runs."])[0])


def test_neighbours_are_merged_by_their_characters():
    assert merge_neighbours(["aaaa", "b", "c", "dddd"], 3) == ["aaaa", "b c", "dddd"]


def contents(*, train):
    """task -> (what makes its targets, the field that holds the truth)."""
    tokens = torch.zeros(1, 4, dtype=torch.long), torch.ones(1, 4, dtype=torch.long)
    rules = SimpleNamespace(question=lambda *_: tokens, options=lambda *_: tokens)
    return {
        "classification": (VideoContent(regression=False, num_classes=3, train=train), "label"),
        "regression": (VideoContent(regression=True, num_classes=1, train=train), "label"),
        "entailment": (AnswersContent(rules, None, num_answers=3, train=train), "label"),
        "open_qa": (AnswersContent(rules, ("a", "b"), num_answers=2, train=train), "answer"),
        "mc_qa": (ChoiceContent(rules, num_frames=4, train=train), "answer_idx"),
    }


@pytest.mark.parametrize("task", contents(train=True))
def test_a_row_without_its_truth_is_evaluated_and_never_trained_on(task):
    sample = Sample(uid="own/x/1", dataset="own", split="x", task=task, question="q", options=("a", "b"))
    content, field = contents(train=True)[task]
    with pytest.raises(DataError, match=f"own/x/1: no {field}, so it cannot be trained on; give its `{field}`, or"):
        content(sample, 0, 1.0)
    item = contents(train=False)[task][0](sample, 0, 1.0)
    assert np.isnan(item["target"]) if task == "regression" else item["label"] == -1
    known = replace(sample, **{field: "b" if field == "answer" else 1})
    item = content(known, 0, 1.0)
    assert item["target" if task == "regression" else "label"] == 1


def test_targets_that_the_model_has_no_place_for_are_told():
    row = Sample(uid="own/x/1", dataset="own", split="x", task="entailment", question="q", label=7.0)
    for task, key in (("classification", "num_classes"), ("entailment", "num_answers")):
        with pytest.raises(DataError, match=f"own/x/1: class 7, but model.{key} is 3; raise it"):
            contents(train=True)[task][0](row, 0, 1.0)
    with pytest.raises(DataError, match="own/x/1: no label"):
        contents(train=True)["classification"][0](replace(row, label=-1.0), 0, 1.0)
    # LF-VILA's own file of ActivityNet-QA: -1 is an answer outside the vocabulary, which the loss leaves out.
    assert contents(train=True)["entailment"][0](replace(row, label=-1.0), 0, 1.0)["label"] == -1
    with pytest.raises(DataError, match="own/x/1: no options"):
        contents(train=False)["mc_qa"][0](row, 0, 1.0)


def test_a_tiny_run_from_videos_to_metrics(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "clips").mkdir()
    lines = []
    for number in range(3):
        make_video(tmp_path / "videos" / f"v{number}.mp4", frames=12 + number)
        lines.append({"clip_id": f"v{number}", "file": f"v{number}.mp4", "text": ["the man runs.", f"a {number}"]})
    lines.append({"clip_id": "gone", "file": "gone.mp4", "text": ["no video"]})
    (tmp_path / "clips" / "paragraphs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    options = [f"datasets.clips_paragraphs.root={tmp_path}", f"run.output_dir={tmp_path / 'run'}"]
    options += [f"paths.cache={tmp_path / 'cache'}", "run.num_workers=0", "run.max_epochs=1", "run.tensorboard=false"]
    config = REPOSITORY / "configs" / "lf_vila" / "clips_paragraphs_train.yaml"
    Runner(load(config, options, purpose="train")).train()
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())["clips_paragraphs/val"]
    assert metrics["failed"] == 1 and metrics["tie_rule"] == "official" and metrics["MeanR"] >= 1.0
    folder = tmp_path / "run" / "predictions" / "clips_paragraphs"
    records = [json.loads(line) for line in (folder / "val.jsonl").read_text().splitlines()]
    assert [record.get("embedding_row") for record in records] == [0, 1, 2, None]
    with np.load(folder / "val.embeddings.npz") as tables:
        assert tables["text"].shape == tables["video"].shape == (4, 128)
        assert np.allclose(np.linalg.norm(tables["text"][:3], axis=1), 1.0, atol=1e-4)
