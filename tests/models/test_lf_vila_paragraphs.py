"""Both stages and multiple choice on the drawn paragraphs, a few steps each: the path, not the numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from vidalign.common.errors import ConfigError
from vidalign.config.load import load
from vidalign.data.shapes.paragraph_sets import write_vocabulary
from vidalign.runners.run import Runner

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "lf_vila"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("paragraphs")
    write_vocabulary(place / "cache/shapes_paragraphs/vocab.txt")
    return place


def metrics_of(folder, config, run, *options):
    few = [f"paths.cache={folder / 'cache'}", f"run.output_dir={folder / run}", "run.max_steps=2", "run.device=cpu"]
    few += ["datasets.shapes_paragraphs.num_train=4", "datasets.shapes_paragraphs.num_test=2"]
    few += ["run.batch_size_per_gpu=4", "datasets.shapes_paragraphs.workers=1"]
    Runner(load(CONFIGS / config, [*few, *options], purpose="train")).train()
    return json.loads((folder / run / "metrics.json").read_text())["shapes_paragraphs/test"]


def test_stage_one_then_two_then_multiple_choice(folder):
    first = metrics_of(folder, "shapes_paragraphs_pretrain.yaml", "one")
    assert first["failed"] == 0 and 0 <= first["twin_choice"] <= 1
    lines = (folder / "one/predictions/shapes_paragraphs/test.jsonl").read_text().splitlines()
    shares = [json.loads(line)["pred_value"] for line in lines]
    assert np.isclose(first["clip_sentence_match"], np.mean(shares)) and set(shares) <= {0, 0.25, 0.5, 0.75, 1}
    start = f"model.start.pretrained={folder / 'one/checkpoints/last.pt'}"
    second = metrics_of(folder, "shapes_paragraphs_stage2_pretrain.yaml", "two", start)
    assert (second["R@1"], second["MeanR"]) == (first["R@1"], first["MeanR"]), "stage one is frozen"
    start = f"model.start.pretrained={folder / 'two/checkpoints/last.pt'}"
    asked = metrics_of(folder, "shapes_paragraphs_train.yaml", "order", start)
    assert 0 <= asked["accuracy"] <= 1


def test_a_model_without_features_of_clips_is_told(folder):
    base = [str(CONFIGS.parent / part) for part in ("models/lf_vila_shapes.yaml", "datasets/shapes_paragraphs.yaml")]
    run = {"precision": "fp32", "num_workers": 0, "tensorboard": False, "optimizer": {"lr": 1e-3}}
    whole = {"base": base, "task": {"name": "retrieval", "match_clips": True}, "run": run}
    (folder / "retrieval.yaml").write_text(yaml.safe_dump(whole))
    with pytest.raises(ConfigError, match="embed_clips"):
        metrics_of(folder, folder / "retrieval.yaml", "three", "model.arch=lf_vila_retrieval")
