"""Checkpoints and weight folders that do not fit or are not safe: one CheckpointError, nothing loaded, nothing run."""

import json

import hostile
import pytest
import torch
from safetensors.torch import save_file
from tiny_nextqa import make_nextqa, run_script, write_config

from vidalign.backbones.llm import load_hf
from vidalign.backbones.meta_llama import build_llama, llama_config, load_meta, meta_name, to_meta
from vidalign.checkpoint.load import read_checkpoint
from vidalign.checkpoint.save import save_checkpoint
from vidalign.cli import main
from vidalign.common.errors import CheckpointError
from vidalign.config.load import load
from vidalign.runners.build import build_model, load_weights

PARAMS = {"dim": 64, "n_layers": 2, "n_heads": 4, "multiple_of": 16, "vocab_size": -1, "norm_eps": 1e-6}


def made(folder, arch):
    config = write_config(folder / f"{arch}.yaml", folder, cache=folder / "cache", arch=arch)
    return build_model(load(config), device=torch.device("cpu"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    return made(folder, "bovila")


def edited(model, change):
    state = {name: tensor.clone() for name, tensor in model.export_state().items()}
    change(state)
    return {"model": state}


def first(state):
    return next(iter(state))


def wrong_shape(state):
    state[first(state)] = torch.zeros(3, 3, 3)


CONTENTS = {
    "missing key": (lambda m: edited(m, lambda s: s.pop(first(s))), ["missing: "]),
    "surplus key": (lambda m: edited(m, lambda s: s.update(extra=torch.zeros(1))), ["surplus: extra"]),
    "wrong shape": (lambda m: edited(m, wrong_shape), ["shape of ", "file (3, 3, 3)"]),
    "another model": (lambda m: {"model": {"conv1.weight": torch.zeros(64, 3, 7, 7)}}, ["surplus: conv1.weight"]),
    "no weights": (lambda m: {"model": {}}, ["missing: "]),
    "model is a list": (lambda m: {"model": [torch.zeros(2)]}, ["is a list, not a dictionary of weights"]),
    "entries are no tensors": (lambda m: {"model": {"a": 3, 7: "x"}}, ["entries are not tensors (a, 7)"]),
    "only an optimizer": (lambda m: {"optimizer": {"state": {}}}, ["not a model checkpoint"]),
    "a list": (lambda m: [1, 2], ["holds a list, not a dictionary"]),
}


@pytest.mark.parametrize(("content", "says"), CONTENTS.values(), ids=CONTENTS)
def test_contents_that_do_not_fit(content, says, model, tmp_path):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.save(content(model), tmp_path / "x.pt")
    with pytest.raises(CheckpointError) as caught:
        load_weights(model, tmp_path / "x.pt")
    assert "x.pt" in str(caught.value) and all(part in str(caught.value) for part in says), caught.value
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items()), "nothing was loaded"


BYTES = {
    "empty": (lambda data: b"", "damaged or cut off|not a checkpoint"),
    "half": (lambda data: data[: len(data) // 2], "damaged or cut off"),
    "without its last bytes": (lambda data: data[:-40], "damaged or cut off"),
    "a text": (lambda data: b"version https://git-lfs.github.com/spec/v1\n", "not a checkpoint|damaged"),
    "a web page": (lambda data: b"<!DOCTYPE html><html>", "not a checkpoint|damaged"),
    "zeros": (lambda data: bytes(4096), "not a checkpoint|damaged"),
}


@pytest.mark.parametrize(("change", "says"), BYTES.values(), ids=BYTES)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_damaged_files(change, says, suffix, model, tmp_path):
    path = tmp_path / f"x{suffix}"
    if suffix == ".pt":
        save_checkpoint(path, {"model": model.export_state()})
    else:
        save_file({name: tensor.contiguous() for name, tensor in model.export_state().items()}, path)
        says = "damaged or not a safetensors file"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(CheckpointError, match=says) as caught:
        load_weights(model, path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", hostile.KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", ["x.pt", "x.pth", "x.safetensors", "x.bin"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_hostile_pickles_do_not_run(kind, name, tmp_path, capsys):
    mark = tmp_path / "was_run"
    (tmp_path / name).write_bytes(kind(mark))
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(tmp_path / name)
    assert name in str(caught.value) and not mark.exists()
    assert main(["inspect", str(tmp_path / name)]) == 2 and name in capsys.readouterr().err
    assert not mark.exists()


def test_the_mark_would_be_made(tmp_path):
    """The payload works: the tests above can fail."""
    path = tmp_path / "x.pt"
    path.write_bytes(hostile.zipped(tmp_path / "was_run"))
    torch.load(path, weights_only=False)
    assert (tmp_path / "was_run").is_dir()


@pytest.fixture
def meta(tmp_path):
    """A Meta folder of two shards' layout with one shard, and its tensors."""
    state = build_llama(llama_config(PARAMS, vocab_size=512), dtype=torch.float16).state_dict()
    tensors = {meta_name(name): to_meta(name, tensor, head_dim=16) for name, tensor in state.items()}
    (tmp_path / "params.json").write_text(json.dumps(PARAMS))
    torch.save(tensors, tmp_path / "consolidated.00.pth")
    return tmp_path, tensors


def refused(folder, says):
    with pytest.raises(CheckpointError, match=says):
        load_meta(folder, dtype=torch.float32)


@pytest.mark.parametrize("kind", hostile.KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_hostile_meta_shards_do_not_run(kind, meta):
    folder, _ = meta
    load_meta(folder, dtype=torch.float32)
    (folder / "consolidated.01.pth").write_bytes(kind(folder / "was_run"))
    refused(folder, r"consolidated\.01\.pth")
    assert not (folder / "was_run").exists()


def test_damaged_meta_folders(meta):
    folder, tensors = meta
    shard = folder / "consolidated.01.pth"
    data = (folder / "consolidated.00.pth").read_bytes()
    shard.write_bytes(data[: len(data) // 2])
    refused(folder, r"01\.pth is damaged or cut off")
    torch.save({name: tensor for name, tensor in tensors.items() if "norm" in name}, shard)
    refused(folder, r"01\.pth: .* is no tensor, or not as in consolidated\.00\.pth")
    torch.save(tensors | {"norm.weight": torch.zeros(3)}, shard)
    refused(folder, r"01\.pth: 'norm\.weight' is no tensor, or not as in")
    shard.unlink()
    for text, says in (("{", "not a JSON file"), ("[]", "no whole number for dim"), ('{"dim": "64"}', "dim, n_layers")):
        (folder / "params.json").write_text(text)
        refused(folder, says)


@pytest.fixture
def hugging_face(tmp_path):
    build_llama(llama_config(PARAMS, vocab_size=512), dtype=torch.float32).save_pretrained(tmp_path)
    return tmp_path


def test_code_beside_hugging_face_weights_does_not_run(hugging_face):
    (hugging_face / "modeling_evil.py").write_text(f"import os\nos.mkdir({str(hugging_face / 'was_run')!r})\n")
    config = json.loads((hugging_face / "config.json").read_text())
    classes = {"AutoConfig": "modeling_evil.Evil", "AutoModelForCausalLM": "modeling_evil.Evil"}
    config |= {"model_type": "evil", "architectures": ["Evil"], "auto_map": classes}
    (hugging_face / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="no Hugging Face causal LM that can be loaded safely"):
        load_hf(hugging_face, dtype=torch.float32)
    with torch.device("meta"), pytest.raises(CheckpointError):
        load_hf(hugging_face, dtype=torch.float32)
    assert not (hugging_face / "was_run").exists()


@pytest.mark.parametrize("kind", [hostile.zipped, hostile.plain_pickle], ids=lambda kind: kind.__name__)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_hostile_hugging_face_weights_do_not_run(kind, hugging_face):
    (hugging_face / "model.safetensors").unlink()
    (hugging_face / "pytorch_model.bin").write_bytes(kind(hugging_face / "was_run"))
    with pytest.raises(CheckpointError):
        load_hf(hugging_face, dtype=torch.float32)
    assert not (hugging_face / "was_run").exists()


def test_damaged_hugging_face_weights(hugging_face):
    weights = hugging_face / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match=str(hugging_face)):
        load_hf(hugging_face, dtype=torch.float32)


def test_a_run_with_a_hostile_checkpoint_ends_before_it_starts(tmp_path):
    config = write_config(tmp_path / "c.yaml", make_nextqa(tmp_path / "data"), cache=tmp_path / "cache")
    (tmp_path / "x.pt").write_bytes(hostile.zipped(tmp_path / "was_run"))
    options = [f"run.checkpoint={tmp_path / 'x.pt'}", f"run.output_dir={tmp_path / 'out'}"]
    done = run_script("evaluate.py", config, *options, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr and "x.pt asks for" in done.stderr
    assert not (tmp_path / "was_run").exists() and not (tmp_path / "out" / "metrics.json").exists()
