"""BoViLA and LLaMA-VQA: the fast path against the exact one, scoring, counts, checkpoints."""

from __future__ import annotations

import json

import pytest
import tiny_bovila as tiny
import torch

from vidalign.backbones.llm_sizes import SIZES
from vidalign.backbones.meta_llama import build_llama, llama_config, meta_name, to_meta
from vidalign.backbones.video_lm_config import AdapterConfig, LLMConfig
from vidalign.common.errors import CheckpointError, ConfigError
from vidalign.models.bovila.config import BoViLAConfig
from vidalign.models.bovila.model import BoViLA


def _losses_and_grads(model, batch):
    out = model(tiny.first_option(batch))
    sum(out.losses.values()).backward()
    return out, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("video_bias", [2.0, None], ids=["llama1", "llama3"])
@pytest.mark.parametrize(
    "losses",
    [
        {"uncertainty_gate": True},
        {"uncertainty_gate": False},
        {"answer": "ce", "uncertainty_gate": False},
        {"vaq": 0.0, "aqa": 0.0, "uncertainty_gate": False},
    ],
    ids=["gate", "nogate", "ce", "vqa_only"],
)
def test_fast_equals_exact_in_values_and_gradients(losses, video_bias):
    fast = tiny.bovila(video_bias=video_bias, **losses)
    exact = tiny.twin(fast, "exact")
    batch = tiny.batch()
    got, got_grads = _losses_and_grads(fast, batch)
    want, want_grads = _losses_and_grads(exact, batch)
    assert got.losses.keys() == want.losses.keys()
    for name in want.losses:
        torch.testing.assert_close(got.losses[name], want.losses[name], rtol=2e-5, atol=1e-6)
    assert got_grads.keys() == want_grads.keys()
    gates = [name for name in want_grads if "gate" in name]
    assert len(gates) == (4 if video_bias is not None else 2)
    for name, grad in want_grads.items():
        assert grad.abs().max() > 0, name
        torch.testing.assert_close(got_grads[name], grad, rtol=1e-3, atol=2e-5 * float(grad.abs().max()), msg=name)


def test_llama_vqa_fast_equals_exact():
    fast = tiny.llama_vqa()
    exact = tiny.twin(fast, "exact")
    got, got_grads = _losses_and_grads(fast, tiny.batch())
    want, want_grads = _losses_and_grads(exact, tiny.batch())
    assert list(want.losses) == ["vqa", "vaq", "qav"]
    for name in want.losses:
        torch.testing.assert_close(got.losses[name], want.losses[name], rtol=2e-5, atol=1e-6)
    for name, grad in want_grads.items():
        torch.testing.assert_close(got_grads[name], grad, rtol=1e-3, atol=2e-5 * float(grad.abs().max()), msg=name)


@pytest.mark.parametrize("build", [tiny.bovila, tiny.llama_vqa])
@pytest.mark.parametrize("options", [2, 5])
def test_cached_scoring_equals_one_full_row_per_option(build, options):
    fast = build()
    exact = tiny.twin(fast, "exact")
    batch = tiny.batch(options=options, seed=3)
    got, want = fast.score_options(batch), exact.score_options(batch)
    torch.testing.assert_close(got.scores, want.scores, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got.extras["token_ce"], want.extras["token_ce"], rtol=1e-4, atol=2e-5)
    if want.uncertainty is not None:
        torch.testing.assert_close(got.uncertainty, want.uncertainty, rtol=1e-4, atol=1e-5)
    # Over all rows: normal_ draws differ between AVX2 and AVX-512 machines, and two options of one row may come close.
    assert want.scores.std(dim=1).mean() > 1e-2, "options must differ, or the comparison shows nothing"


@pytest.mark.parametrize("build", [tiny.bovila, tiny.llama_vqa])
@pytest.mark.parametrize(
    "change",
    [
        lambda batch: tiny.without_labels(batch, (1, 0)),
        lambda batch: tiny.without_labels(batch, (0, 1), (0, 2), (2,)),
        lambda batch: tiny.without_labels(batch, (0,), (1,), (2,)),
        tiny.parted_early,
    ],
    ids=["one_option", "options_and_a_question", "nothing", "parted_early"],
)
def test_cached_scoring_equals_full_rows_where_options_share_little(build, change):
    fast = build()
    exact = tiny.twin(fast, "exact")
    batch = change(tiny.batch(seed=3))
    got, want = fast.score_options(batch), exact.score_options(batch)
    torch.testing.assert_close(got.extras["token_ce"], want.extras["token_ce"], rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(got.scores, want.scores, rtol=1e-5, atol=1e-5, equal_nan=True)
    # Kept: a mean over nothing is NaN, which the official arg-min picks.
    assert torch.equal(got.scores.isnan(), (batch["vqa"]["labels"] != 0).sum(-1) == 0)


def test_half_precision_scores_full_rows_in_float32_too():
    """As the tree does; the official order alone takes the loss of half logits."""
    model = tiny.llama_vqa(dtype="bfloat16")
    batch = tiny.batch(seed=3)
    assert model.score_options(tiny.parted_early(batch)).scores.dtype == torch.float32
    assert model.score_options(batch).scores.dtype == torch.float32


def test_missing_options_score_minus_infinity():
    model, batch = tiny.bovila(), tiny.batch(options=4)
    full = model.score_options(batch).scores
    for key in ("ids", "labels", "lengths"):
        batch["vqa"][key][1, 3] = 0
    scores = model.score_options(batch).scores
    assert scores[1, 3] == float("-inf")
    kept = torch.ones_like(scores, dtype=torch.bool)
    kept[1, 3] = False
    torch.testing.assert_close(scores[kept], full[kept], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("attention", ["fast", "exact"])
@pytest.mark.parametrize(("build", "biased"), [(tiny.bovila, False), (tiny.llama_vqa, True)])
def test_a_video_at_the_very_start_has_a_bias_in_llama_vqa_alone(build, biased, attention):
    """In scoring as in training; the official layer is the same one."""
    model, batch = build(attention=attention), tiny.batch()
    for name in ("vqa", "vaq"):
        batch[name]["video_start"] = torch.zeros_like(batch[name]["video_start"])

    def numbers():
        with torch.no_grad():
            loss = model(tiny.first_option(batch)).losses["vaq"]
        return loss, model.score_options(batch).scores

    before = numbers()
    for layer in model.video_lm.adapter.layers:
        layer.attention["gate2"].data += 3.0
    for one, other in zip(before, numbers(), strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-6) != biased


def test_trailing_padding_changes_nothing():
    model, batch = tiny.bovila(), tiny.batch()
    trimmed = {**batch}
    for name in ("vqa", "vaq"):
        width = int(batch[name]["lengths"].max())
        trimmed[name] = {k: v[..., :width] if v.ndim == 3 else v for k, v in batch[name].items()}
    long, short = (model(tiny.first_option(b)).losses for b in (batch, trimmed))
    for name in long:
        torch.testing.assert_close(short[name], long[name], rtol=1e-5, atol=1e-7)


def test_noise_depends_on_the_seed_of_the_sample_alone():
    model, batch = tiny.bovila(uncertainty_gate=False), tiny.first_option(tiny.batch())
    first = model(batch).losses["aqa"]
    assert torch.equal(first, model(batch).losses["aqa"])
    batch["noise_seed"] = batch["noise_seed"] + 1
    assert not torch.equal(first, model(batch).losses["aqa"])


def test_counts_are_known_before_the_forward_pass():
    model, batch = tiny.bovila(), tiny.first_option(tiny.batch(size=3))
    counts = model.supervised_counts(batch)
    assert {name: int(n) for name, n in counts.items()} == {
        "edl_mse": 12,
        "edl_reg": 12,
        "vaq": int(batch["question_len"].sum()),
        "aqa": 12,
    }
    out = model(batch)
    assert out.counts.keys() == counts.keys() == out.losses.keys()
    assert out.sums == {"aqa"}, "the gated term is a sum over samples"


def test_only_the_published_parameters_train():
    model = tiny.bovila()
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert all(any(part in name for part in ("gate", "adapter", "temporal_emb", "visual_proj")) for name in trained)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 2 * 3 * 64 + 12 * 64 + 5 * 64 + 2 * 2 * 4


def test_state_round_trip_and_misfits():
    model, other = tiny.bovila(), tiny.bovila()
    state = {name: torch.randn_like(t) for name, t in model.export_state().items()}
    assert list(state)[:5] == [
        "adapter_query.weight",
        "visual_proj.weight",
        "temporal_emb.weight",
        "layers.0.attention.gate1",
        "layers.0.attention.gate2",
    ]
    other.load_state(state)
    assert all(torch.equal(state[name], t) for name, t in other.export_state().items())
    released = {name: t for name, t in state.items() if not name.startswith("scale_proj")}
    tiny.bovila().load_state(released)

    broken = {**released, "layers.9.attention.gate1": torch.zeros(1), "visual_proj.weight": torch.zeros(3, 3)}
    del broken["temporal_emb.weight"]
    before = other.export_state()["adapter_query.weight"].clone()
    with pytest.raises(CheckpointError) as error:
        other.load_state({**broken, "adapter_query.weight": before + 1})
    text = str(error.value)
    assert "missing: temporal_emb.weight" in text
    assert "surplus: layers.9.attention.gate1" in text
    assert "shape of visual_proj.weight: file (3, 3)" in text
    assert torch.equal(other.export_state()["adapter_query.weight"], before), "nothing may be loaded"


def test_fewer_adapter_layers_must_be_asked_for():
    def config(**adapter):
        return BoViLAConfig(
            size="tiny", llm=LLMConfig(format="random", dtype="float32"), adapter=AdapterConfig(**adapter)
        )

    with pytest.raises(ConfigError, match="skip_lower_layers: true"):
        BoViLA.from_config(config(layers=1))
    model = BoViLA.from_config(config(layers=1, skip_lower_layers=True))
    assert len(model.video_lm.llm.body.layers) == 1
    with pytest.raises(ConfigError, match="only 2 layers"):
        BoViLA.from_config(config(layers=3))


@pytest.mark.parametrize("form", ["meta", "hf"])
def test_weights_of_another_generation_are_told(form, tmp_path, caplog):
    """Llama 2 has LLaMA-1's shapes: its weights load, and train to NaN (spec bovila, trap 19)."""
    for name, change in (("same", {}), ("eps", {"norm_eps": 1e-5}), ("base", {"rope_theta": 500000.0})):
        params = {**SIZES["tiny"], **change}
        lm = build_llama(llama_config(params, vocab_size=params["vocab_size"]), dtype=torch.float32)
        folder = tmp_path / name
        lm.save_pretrained(folder)
        (folder / "params.json").write_text(json.dumps(params))
        state = {
            meta_name(n): to_meta(meta_name(n), t, head_dim=lm.config.head_dim) for n, t in lm.state_dict().items()
        }
        torch.save(state, folder / "consolidated.00.pth")
        caplog.clear()
        llm = LLMConfig(path=str(folder), format=form, dtype="float32")
        BoViLA.from_config(BoViLAConfig(size="tiny", llm=llm, adapter=AdapterConfig(length=3)))
        told = [record.getMessage() for record in caplog.records if record.name.startswith("vidalign")]
        assert len(told) == (0 if name == "same" else 1)
        wanted = {"same": "", "eps": "norm_eps 1e-06 but 1e-05 in the file", "base": "rope_theta 10000 but 500000.0"}
        assert wanted[name] in "".join(told) and all("model.size: 'tiny'" in line for line in told)


def test_half_precision_evidence_stays_finite():
    """The official form is NaN here: sigmoid of 9 rounds to 1 in half precision."""
    model = tiny.bovila(dtype="float16")
    with torch.no_grad():
        model.scale_proj.bias.fill_(30.0)
    out = model(tiny.first_option(tiny.batch()))
    assert all(torch.isfinite(loss) for loss in out.losses.values())


def test_activation_checkpointing_hook_names_the_layers():
    model = tiny.bovila()
    assert len(model.checkpoint_blocks()) == 2
