"""TOPA as a model: losses, option scores and generation of the fast path against the exact one."""

import pytest
import tiny_bovila
import torch

from vidalign.backbones.video_lm_config import AdapterConfig, LLMConfig
from vidalign.models.topa.config import TOPAConfig, TOPALosses
from vidalign.models.topa.model import TOPA


def topa(**values):
    config = TOPAConfig(
        size="tiny",
        llm=LLMConfig(format="random", dtype="float32", attention=values.pop("attention", "fast")),
        adapter=AdapterConfig(length=3, video_bias=2.0),
        num_frames=tiny_bovila.FRAMES,
        visual_dim=tiny_bovila.VISUAL_DIM,
        max_seq_len=tiny_bovila.MAX_SEQ_LEN,
        **values,
    )
    return tiny_bovila.loud(TOPA.from_config(config))


def batch(**values):
    out = tiny_bovila.batch(streams=("vqa", "vaq"), **values)
    out["caption"] = out.pop("vaq")
    return out


def test_one_loss_at_a_time_and_its_count():
    model = topa(losses=TOPALosses(caption=0.5))
    rows = tiny_bovila.first_option(batch())
    choice, caption = model({**rows, "mode": "vqa"}), model({**rows, "mode": "caption"})
    assert choice.losses["caption"] == 0 < choice.losses["vqa"]
    assert caption.losses["vqa"] == 0 < caption.losses["caption"]
    torch.testing.assert_close(caption.losses["caption"], 0.5 * caption.logs["caption_unweighted"])
    assert choice.counts["vqa"] == (rows["vqa"]["labels"] != 0).sum() and choice.counts["caption"] == 0
    assert model.supervised_counts({**rows, "mode": "vqa"}) == choice.counts


def test_fast_path_equals_the_exact_one():
    fast = topa()
    exact = tiny_bovila.twin(fast, "exact")
    rows = batch()
    torch.testing.assert_close(fast.score_options(rows).scores, exact.score_options(rows).scores, atol=1e-4, rtol=1e-4)
    one = {**tiny_bovila.first_option(rows), "mode": "vqa"}
    torch.testing.assert_close(fast(one).total, exact(one).total, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("change", [lambda b: tiny_bovila.without_labels(b, (1, 0)), tiny_bovila.parted_early])
def test_fast_scores_equal_the_exact_ones_where_options_share_little(change):
    fast = topa()
    rows = change(batch())
    got, want = fast.score_options(rows).scores, tiny_bovila.twin(fast, "exact").score_options(rows).scores
    torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4, equal_nan=True)


def test_scores_where_nothing_is_supervised_are_nan():
    rows = tiny_bovila.without_labels(batch(), (0,), (1,), (2,))
    assert topa().score_options(rows).scores.isnan().all()


def test_memory_acts_at_inference_only(tmp_path):
    model, rows = topa(), batch()
    before, loss = model.score_options(rows).scores, model({**tiny_bovila.first_option(rows), "mode": "vqa"}).total
    torch.save(torch.randn(20, tiny_bovila.VISUAL_DIM), tmp_path / "memory.pth")
    model.config.memory.path = str(tmp_path / "memory.pth")
    model = tiny_bovila.twin(model, "fast")
    assert not torch.allclose(model.score_options(rows).scores, before)
    torch.testing.assert_close(model({**tiny_bovila.first_option(rows), "mode": "vqa"}).total, loss)


def test_blind_sees_nothing():
    model, rows = topa(blind=True), batch()
    other = {**rows, "video": rows["video"] + 1}
    torch.testing.assert_close(model.score_options(rows).scores, model.score_options(other).scores)


def test_first_video_start_is_taken_for_all():
    model = topa(video_start="first")
    rows = {**tiny_bovila.first_option(batch()), "mode": "caption"}
    moved = {**rows, "caption": {**rows["caption"], "video_start": torch.tensor([6, 8, 9])}}
    torch.testing.assert_close(model(moved).total, model(rows).total)
    model.config.video_start = "sample"
    assert not torch.allclose(model(moved).total, model(rows).total)


def test_cached_generation_equals_running_everything_again():
    model = topa()
    g = torch.Generator().manual_seed(3)
    video = torch.randn(2, tiny_bovila.FRAMES, tiny_bovila.VISUAL_DIM, generator=g)
    before, after = (torch.randint(3, 200, (2, n), generator=g) for n in (4, 7))
    made, logits = model.continue_greedily(video, before, after, steps=5)
    for step in range(5):
        longer = torch.cat([after, made[:, :step]], dim=1)
        _, again = model.continue_greedily(video, before, longer, steps=1)
        torch.testing.assert_close(logits[:, step], again[:, 0], atol=1e-4, rtol=1e-4)
    first = int(made[0, 0])
    banned, _ = model.continue_greedily(video, before, after, steps=2, banned=[first])
    assert first not in banned[0].tolist()
    stopped, _ = model.continue_greedily(video[:1], before[:1], after[:1], steps=5, stop=[first])
    assert stopped.tolist() == [[first]]


def test_released_layout_round_trip():
    model = topa()
    other = topa()
    other.load_state(model.export_state())
    assert {"adapter_query.weight", "visual_proj.weight", "layers.0.attention.gate2"} <= set(model.export_state())
    torch.testing.assert_close(other.export_state(), model.export_state())
