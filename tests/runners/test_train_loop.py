"""The training loop on a small real model: one step of accumulated micro-batches is one step of the big batch."""

from types import SimpleNamespace

import pytest
import torch
from toy_model import ToyModel, toy_loader, toy_samples

from vidalign.common.errors import TrainingError
from vidalign.config.schema import OptimizerConfig
from vidalign.runners.meters import NonFiniteLoss
from vidalign.runners.optim import build_optimizer, trained_parameters
from vidalign.runners.progress import LoopSettings, Progress
from vidalign.runners.train import groups, train


def run(
    loader, *, lr_at=lambda position: 0.05, scaler=None, callbacks=(), optimizer="adamw", progress=None, **settings
):
    model = ToyModel()
    config = OptimizerConfig(name=optimizer, betas=[0.9, 0.95], weight_decay=0.14)
    optimizer = build_optimizer(trained_parameters(model), config, lr=0.0)
    settings = LoopSettings(**{"max_failed_share": 1.0, **settings})
    history = train(
        model,
        loader,
        optimizer,
        lr_at=lr_at,
        settings=settings,
        scaler=scaler,
        callbacks=callbacks,
        progress=progress or Progress(),
    )
    return model, history, optimizer


def parameters_equal(one, other, atol):
    for (name, a), (_, b) in zip(one.named_parameters(), other.named_parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=atol, msg=lambda text, name=name: f"{name}: {text}")


def test_accumulation_in_tokens_mode_is_the_big_batch():
    samples = toy_samples(12)
    small = run(toy_loader(samples, 3), accumulate=2, loss_norm="tokens", max_epochs=3)
    big = run(toy_loader(samples, 6), accumulate=1, loss_norm="tokens", max_epochs=3)
    plain = run(toy_loader(samples, 6), accumulate=1, loss_norm="official", max_epochs=3)
    parameters_equal(small[0], big[0], 1e-6)
    parameters_equal(plain[0], big[0], 1e-6)
    for ours, theirs, third in zip(small[1], big[1], plain[1], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-6)
        assert third == pytest.approx(theirs, rel=1e-6)


def test_official_mode_is_the_mean_of_the_micro_batches_means():
    samples = toy_samples(6)
    model, history, _ = run(toy_loader(samples, 3), accumulate=2, optimizer="sgd", max_epochs=1)
    by_hand = ToyModel()
    losses = [by_hand(entry["batch"]).total for entry in toy_loader(samples, 3)]
    (sum(losses) / 2).backward()
    for (name, a), (_, b) in zip(model.named_parameters(), by_hand.named_parameters(), strict=True):
        if b.requires_grad:
            expected = b.detach() - 0.05 * (b.grad + 0.14 * b.detach())
            torch.testing.assert_close(a, expected, rtol=0, atol=1e-6, msg=name)
    assert history[0]["loss"] == pytest.approx(float(sum(losses).detach()) / 2, rel=1e-6)


def test_left_over_micro_batches_are_seen_but_not_trained_on():
    samples = toy_samples(10)
    loader = toy_loader(samples, 2)  # five micro-batches, accumulation 2
    model, history, _ = run(loader, accumulate=2, lr_at=lambda position: 0.1 * position)
    without, _, _ = run(loader[:4], accumulate=2, lr_at=lambda position: 0.1 * position * 4 / 5)
    parameters_equal(model, without, 1e-7)
    assert history[0]["lr"] == pytest.approx(0.1 * (0 + 0 + 0.4 + 0.4 + 0.8) / 5)


def test_clipping_bounds_the_step():
    samples = toy_samples(4)
    seen = []
    listener = SimpleNamespace(on_step=lambda p: None, on_epoch=lambda p, v: None, on_line=lambda p, v: seen.append(v))
    clipped, _, _ = run(
        toy_loader(samples, 4), optimizer="sgd", clip_grad_norm=1e-3, log_every_steps=1, callbacks=[listener]
    )
    assert seen[0]["grad_norm"] > 1e-3, "the norm before clipping is what is reported"
    start = ToyModel()
    moved = sum(
        (a.detach() - (b.detach() - 0.05 * 0.14 * b.detach())).square().sum()
        for a, b in zip(clipped.parameters(), start.parameters(), strict=True)
        if b.requires_grad
    )
    assert float(moved.sqrt()) == pytest.approx(0.05 * 1e-3, rel=1e-3)


def test_scaler_changes_nothing_in_float32():
    samples = toy_samples(8)
    plain, _, _ = run(toy_loader(samples, 4), max_epochs=2, clip_grad_norm=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=65536.0)
    scaled, _, _ = run(toy_loader(samples, 4), max_epochs=2, clip_grad_norm=0.1, scaler=scaler)
    parameters_equal(plain, scaled, 1e-6)
    assert scaler.get_scale() == 65536.0


def test_non_finite_loss_names_the_batch():
    loader = toy_loader(toy_samples(8), 2)
    loader[2]["batch"]["video"][0, 0] = float("nan")
    with pytest.raises(NonFiniteLoss, match="toy/train/4") as caught:
        run(loader)
    assert caught.value.uids == ["toy/train/4", "toy/train/5"]


def test_max_steps_and_lines():
    lines, epochs = [], []
    listener = SimpleNamespace(
        on_step=lambda p: None,
        on_line=lambda p, v: lines.append((p.step, v)),
        on_epoch=lambda p, v: epochs.append(p.epoch),
    )
    progress = Progress()
    run(
        toy_loader(toy_samples(8), 2),
        max_epochs=5,
        max_steps=6,
        log_every_steps=2,
        callbacks=[listener],
        progress=progress,
    )
    assert [step for step, _ in lines] == [2, 4, 6]
    assert epochs == [0, 1]
    assert (progress.step, progress.iteration, progress.samples) == (6, 2, 12)
    assert set(lines[0][1]) == {"lr", "loss", "answer", "pair"}


def test_failures_are_counted_and_stop_the_run():
    loader = toy_loader(toy_samples(8), 2)
    failure = SimpleNamespace(uid="toy/train/99", reason="no such file: x.mp4")
    loader[1]["failures"] = [failure]
    progress = Progress()
    run(loader, max_failed_share=0.5, progress=progress)
    assert progress.failures == {"toy/train/99": "no such file: x.mp4"}
    loader[3]["batch"] = toy_loader(toy_samples(1), 1)[0]["batch"]
    run(loader, max_failed_share=0.2)  # the last batch is smaller; the share is still one of about nine
    with pytest.raises(TrainingError, match="max_failed_share=0.05") as caught:
        run(loader, max_failed_share=0.05)
    assert "no such file: x.mp4" in str(caught.value)


@pytest.mark.parametrize("loss_norm", ["official", "tokens"])
def test_a_batch_without_usable_samples_adds_nothing(loss_norm):
    samples = toy_samples(6)
    loader = toy_loader(samples, 3)
    failure = SimpleNamespace(uid="x", reason="broken")
    empty = {"batch": None, "failures": [failure], "notes": {}}
    model, history, _ = run([loader[0], empty], accumulate=2, loss_norm=loss_norm, optimizer="sgd")
    by_hand = ToyModel()
    loss = by_hand(loader[0]["batch"]).total
    (loss / (2 if loss_norm == "official" else 1)).backward()
    for a, b in zip(model.parameters(), by_hand.parameters(), strict=True):
        if b.requires_grad:
            torch.testing.assert_close(a, b.detach() - 0.05 * (b.grad + 0.14 * b.detach()), rtol=0, atol=1e-6)
    assert history[0]["loss"] == pytest.approx(float(loss.detach()), rel=1e-6)


def test_too_few_batches_for_one_step():
    with pytest.raises(TrainingError, match="run.accumulate=4"):
        run(toy_loader(toy_samples(4), 2), accumulate=4)


def test_groups():
    assert list(groups(range(5), 2)) == [[0, 1], [2, 3], [4]]
