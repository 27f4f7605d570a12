"""ViLA and its variants: fast against exact, documented options, what trains, what files hold."""

import dataclasses

import pytest
import torch
from tiny_vila import BATCH, FRAMES, KEPT, batch_of, config_of, model_of, same_weights

from vidalign.backbones.flan_t5 import is_tied
from vidalign.common.errors import CheckpointError
from vidalign.models.vila.frame_prompter import FramePrompter
from vidalign.models.vila.keys import load_start
from vidalign.models.vila.merge import merge_teacher
from vidalign.models.vila.sizes import SIZES

archs = pytest.mark.parametrize("arch", ["vila", "vila_ori", "vila_lora", "sevila"])
vilas = pytest.mark.parametrize("arch", ["vila", "vila_ori", "vila_lora"])


@archs
def test_fast_equals_exact(arch):
    fast = model_of(arch)
    exact = same_weights(fast, model_of(arch, attention="exact"))
    batch = batch_of()
    losses = [model.train()(batch).losses for model in (fast, exact)]
    assert losses[0].keys() == losses[1].keys()
    for name in losses[0]:
        torch.testing.assert_close(losses[0][name], losses[1][name], rtol=2e-5, atol=2e-5)
    exact.max_new_tokens = 3
    results = [model.eval().score_options(batch) for model in (fast, exact)]
    torch.testing.assert_close(results[0].scores, results[1].scores, rtol=2e-4, atol=2e-4)
    if results[0].kept_positions is not None:
        assert torch.equal(results[0].kept_positions, results[1].kept_positions)


@pytest.mark.parametrize("attention", ["fast", "exact"])
def test_the_localizer_has_scores_where_all_frames_are_kept(attention):
    """Officially it always looks; whoever needs the answer alone is spared that."""
    few = model_of("sevila", attention=attention).eval()
    every = same_weights(few, model_of("sevila", attention=attention, kept=FRAMES)).eval()
    few.max_new_tokens = every.max_new_tokens = 3
    batch, yes = batch_of(kept=FRAMES), few.answer(batch_of()).yes_BT
    answers = every.answer(batch)
    assert answers.positions_BK.tolist() == [list(range(FRAMES))] * BATCH
    torch.testing.assert_close(answers.yes_BT, yes)

    def refuse(*_):
        raise AssertionError("the localizer looked")

    every.frame_logits = refuse
    assert every.score_options(batch).kept_positions.tolist() == answers.positions_BK.tolist()
    assert torch.isfinite(every.train()(batch).losses["answer"])


@vilas
def test_gradients_fast_equal_exact(arch):
    fast = model_of(arch)
    exact = same_weights(fast, model_of(arch, attention="exact"))
    for model in (fast, exact):
        model.train()(batch_of()).total.backward()
    for (name, one), (_, other) in zip(fast.named_parameters(), exact.named_parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None), name
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=2e-5, msg=name)


@vilas
def test_a_qformer_without_words_takes_no_notice_of_the_question(arch, monkeypatch):
    wordless = dataclasses.replace(SIZES["tiny"], qformer_vocab=None)
    monkeypatch.setitem(SIZES, "tiny", wordless)
    fast = model_of(arch)
    exact = same_weights(fast, model_of(arch, attention="exact"))
    batch = batch_of()
    without = {name: value for name, value in batch.items() if not name.startswith("question_")}
    losses = [model.train()(given).total for model, given in ((fast, batch), (fast, without), (exact, batch))]
    torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=0)
    torch.testing.assert_close(losses[0], losses[2], rtol=2e-5, atol=2e-5)
    fast.eval()
    torch.testing.assert_close(fast.score_options(batch).scores, fast.score_options(without).scores, rtol=0, atol=0)


@archs
def test_head_is_not_tied_and_survives_saving(arch):
    model = model_of(arch)
    assert not is_tied(model.t5_model)
    again = same_weights(model, model_of(arch))
    assert not is_tied(again.t5_model)
    t5 = model.t5_model.get_base_model() if arch == "vila_lora" else model.t5_model
    head = t5.lm_head.weight.clone()
    t5.tie_weights()
    assert torch.equal(t5.lm_head.weight, head) and not torch.equal(t5.lm_head.weight, t5.shared.weight)
    # The two stacks read the shared table; transformers unties them together with the head.
    assert t5.encoder.embed_tokens.weight is t5.shared.weight and t5.decoder.embed_tokens.weight is t5.shared.weight


def test_segment_gradient_reaches_every_gate_and_changes_no_value():
    torch.manual_seed(0)
    x = torch.randn(2, 8, 5, 6)
    uniform = torch.rand(2, 2, 4)
    chosen = FramePrompter(num_frames=8, num_kept=2, num_tokens=5)
    segment = FramePrompter(num_frames=8, num_kept=2, num_tokens=5, gradient="segment")
    segment.load_state_dict(chosen.state_dict())
    picked = [one(x, temperature=0.5, uniform_BSK=uniform) for one in (chosen, segment)]
    torch.testing.assert_close(picked[0].tokens_BSNC, picked[1].tokens_BSNC)
    weight = torch.randn_like(picked[1].tokens_BSNC)
    # The gradient of sum_j gate_j x_j by hand.
    mask = picked[1].mask_BSK
    by_hand = torch.einsum("bsk,bsknc->bsnc", mask, x.reshape(2, 2, 4, 5, 6))
    wanted = torch.autograd.grad((by_hand * weight).sum(), segment.conv_gs.weight, retain_graph=True)[0]
    got = torch.autograd.grad((picked[1].tokens_BSNC * weight).sum(), segment.conv_gs.weight)[0]
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-6)
    official = torch.autograd.grad((picked[0].tokens_BSNC * weight).sum(), chosen.conv_gs.weight)[0]
    assert (official - wanted).abs().max() > 1e-3 * wanted.abs().max()


def test_argmax_selection_is_the_largest_logit_and_draws_differ():
    model = model_of("vila").eval()
    batch = batch_of(noise=False)
    picked = model.answer(batch).selection
    first = torch.arange(KEPT) * (FRAMES // KEPT)
    assert torch.equal(picked.positions_BS, picked.logits_BSK.argmax(-1) + first)
    drawn = {tuple(model.answer(batch_of(seed=seed)).selection.positions_BS.flatten().tolist()) for seed in range(4)}
    assert len(drawn) > 1


def test_restricted_options():
    batch = batch_of(noise=False)
    free, bound = model_of("vila_ori").eval(), model_of("vila_ori", restrict_options=True).eval()
    assert torch.isfinite(free.score_options(batch).scores).all()
    scores = bound.score_options(batch).scores
    assert torch.isfinite(scores).sum(dim=1).tolist() == [5, 4, 2]


def test_separate_teacher_does_not_follow_the_student():
    batch = batch_of()
    for kind, follows in (("shared", True), ("separate", False)):
        model = model_of("vila", distill={"teacher_qformer": kind}).train()
        before = model.training_pass(batch).teacher_BMD
        with torch.no_grad():
            model.Qformer.bert.encoder.layer[0].attention.self.query.weight.add_(0.5)
        assert (not torch.equal(model.training_pass(batch).teacher_BMD, before)) == follows
        assert not model.Qformer_T.training


@pytest.mark.parametrize(
    ("distill", "losses"),
    [
        ({"target": "mean", "weight": 0.5}, {"answer", "distill"}),
        ({"teacher": "trained", "weight": 0.001}, {"answer", "teacher", "distill"}),
        ({"target": "none"}, {"answer"}),
    ],
)
def test_loss_variants(distill, losses):
    model = model_of("vila", distill=distill).train()
    out = model(batch_of())
    assert set(out.losses) == losses and set(out.counts) == losses
    out.total.backward()
    assert (model.t5_proj_T.weight.grad is not None) == ("teacher" in losses)


def test_random_selection_takes_the_middle_at_evaluation():
    model = model_of("vila", selector={"kind": "random"})
    batch = batch_of(noise=False)
    positions = model.eval().answer(batch).selection.positions_BS
    assert positions.tolist() == [[1, 3, 5, 7]] * BATCH
    assert model.train().training_pass(batch).selection.positions_BS.shape == (BATCH, KEPT)


def test_frame_prompter_and_decoder_have_rates_of_their_own():
    factors = model_of("vila", selector={"rate": 3.0}, distill={"rate": 5.0}).learning_rate_factors()
    rates = {name.split(".")[0]: factor for name, factor in factors.items()}
    assert rates["fs"] == 3.0 and rates["dist_fc_bn"] == 5.0 and rates["Qformer"] == rates["ln_vision"] == 1.0
    assert set(model_of("vila_ori").learning_rate_factors().values()) == {1.0}


def test_only_what_the_paper_trains_trains():
    model = model_of("vila")
    trained = {name.split(".")[0] for name, one in model.named_parameters() if one.requires_grad}
    assert trained == {"ln_vision", "Qformer", "query_tokens", "t5_proj", "fs", "dist_fc_bn"}
    lora = {name for name, one in model_of("vila_lora").named_parameters() if one.requires_grad and "t5_model" in name}
    assert lora and all("lora_" in name for name in lora)


@archs
def test_checkpoint_round_trip_is_complete_or_error(arch):
    model = model_of(arch)
    other = model_of(arch)
    with torch.no_grad():
        for one in other.parameters():
            if one.requires_grad:
                one.add_(1.0)
    other.load_state(model.export_state())
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    state = model.export_state()
    name = next(name for name in state if "encoder.layer.0.attention.self.query.weight" in name)
    del state[name]
    with pytest.raises(CheckpointError, match=f"missing: {name}"):
        other.load_state(state)


def test_stages_merge_into_the_student():
    student, teacher = model_of("vila_ori"), model_of("vila_ori")
    with torch.no_grad():
        teacher.t5_proj.bias.fill_(7.0)
    merged, report = merge_teacher(student.export_state(), teacher.export_state())
    model = model_of("vila")
    notes = load_start(model, merged, where="merged.pth")
    assert torch.equal(model.t5_proj_T.bias, teacher.t5_proj.bias)
    assert torch.equal(model.t5_proj.bias, student.t5_proj.bias)
    assert any("fs: not in merged.pth, random" in note for note in notes) and "-> t5_proj_T.bias" in " ".join(report)
    notes = load_start(model, student.export_state(), where="stage1.pth")
    assert any("copied from the student" in note for note in notes)
    assert torch.equal(model.t5_proj_T.bias, student.t5_proj.bias)
    with pytest.raises(CheckpointError, match=r"missing: Qformer"):
        load_start(model, {"query_tokens": student.query_tokens.detach()}, where="x")


def test_wrong_number_of_segments_is_told():
    assert config_of("vila", frames=8, kept=3).problems()[0][0] == "frames_kept"
    assert config_of("vila", frames=8, kept=2).problems() == []
