"""--dry-run: the model on the meta device, weights by their headers, features by the store's index."""

import json

import pytest
import torch
from tiny_nextqa import make_nextqa, write_config

from vidalign.backbones.meta_llama import build_llama, llama_config, meta_name, to_meta
from vidalign.common.errors import CheckpointError, ConfigError
from vidalign.config.load import load
from vidalign.registry import RUNNERS
from vidalign.runners.dry_run import dry_run
from vidalign.text.tokenizers import tiny_tokenizer

PARAMS = {"dim": 64, "n_layers": 2, "n_heads": 4, "multiple_of": 16, "vocab_size": -1, "norm_eps": 1e-6}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder in Meta's layout, and a config that names it."""
    folder = tmp_path_factory.mktemp("weights")
    state = build_llama(llama_config(PARAMS, vocab_size=1024), dtype=torch.float16).state_dict()
    (folder / "params.json").write_text(json.dumps(PARAMS))
    torch.save({meta_name(n): to_meta(n, t, head_dim=16) for n, t in state.items()}, folder / "consolidated.00.pth")
    config = write_config(folder / "tiny.yaml", make_nextqa(folder / "nextqa"), cache=folder / "cache")
    tokenizer = tiny_tokenizer(folder / "cache").path
    return folder, config, ["model.llm.format=meta", f"model.llm.path={folder}", f"model.llm.tokenizer={tokenizer}"]


def test_weights_are_read_by_their_headers(weights, monkeypatch):
    folder, config, options = weights
    built = []
    monkeypatch.setattr("vidalign.runners.dry_run.trained_parameters", lambda model: built.append(model) or {})
    report = dry_run(load(config, options))
    assert all(parameter.is_meta for parameter in built[0].parameters())
    assert "238,801 parameters" in report
    assert "nextqa/train: 16 samples, 5 of 5 videos have features" in report
    assert "peak learning rate 0.01" in report


def test_missing_weight_is_found(weights, tmp_path):
    folder, config, options = weights
    state = torch.load(folder / "consolidated.00.pth", weights_only=True)
    del state["layers.1.ffn_norm.weight"]
    torch.save(state, tmp_path / "consolidated.00.pth")
    (tmp_path / "params.json").write_text(json.dumps(PARAMS))
    with pytest.raises(CheckpointError, match=r"missing: layers\.1\.ffn_norm\.weight"):
        dry_run(load(config, [*options, f"model.llm.path={tmp_path}"]))


def test_hugging_face_folder(weights, tmp_path):
    _, config, options = weights
    build_llama(llama_config(PARAMS, vocab_size=1024), dtype=torch.float32).save_pretrained(tmp_path)
    report = dry_run(load(config, [*options, "model.llm.format=hf", f"model.llm.path={tmp_path}"]))
    assert "238,801 parameters, 6,032 trained" in report


def test_checkpoint_is_compared(weights, tmp_path):
    _, config, _ = weights
    torch.save({"model": {"adapter_query.weight": torch.zeros(1)}}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"x\.pt.*\n.*missing: visual_proj\.weight"):
        dry_run(load(config, [f"run.checkpoint={tmp_path / 'x.pt'}"]))


def test_features_must_be_named(weights):
    _, config, _ = weights
    with pytest.raises(ConfigError, match=r"datasets\.nextqa\.features"):
        dry_run(load(config, ["datasets.nextqa.features=null"]))


def test_registry_names_the_runner(weights):
    _, config, _ = weights
    experiment = load(config)
    assert RUNNERS.load(experiment.run.runner)(experiment).run.max_epochs == 2
