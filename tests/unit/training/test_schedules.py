"""Learning rates at steps where they are known, and after a restart."""

import math

import pytest
import torch

from speechbrain_lmac.training.schedules import (
    CosineSchedule,
    PlateauSchedule,
    TriangularSchedule,
)


def optimizer(lr=1.0):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def rate_of(optimizer):
    return optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize(
    "epochs, rate",
    [(0, 0), (0.5, 0.75), (1, 1.5), (2, 3), (4, 3 * (1 + math.sqrt(0.5)) / 2), (6, 1.5)]
    + [(10, 0), (11, 0)],
)
def test_cosine_rises_linearly_and_falls_by_half_a_cosine(epochs, rate):
    schedule = CosineSchedule(lr=3.0, warmup_epochs=2, number_of_epochs=10)
    assert schedule.rate(epochs) == pytest.approx(rate, abs=1e-12)


@pytest.mark.parametrize("warmup", [0, 5])
def test_cosine_without_warm_up_or_without_fall(warmup):
    schedule = CosineSchedule(lr=1.0, warmup_epochs=warmup, number_of_epochs=5)
    rates = [schedule.rate(epochs) for epochs in (0, 2.5, 4.99)]
    assert rates == sorted(rates, reverse=warmup == 0)
    assert all(0 <= rate <= 1 for rate in rates)


def test_cosine_sets_every_group_to_the_rate_of_the_steps_middle():
    schedule = CosineSchedule(lr=2.0, warmup_epochs=1, number_of_epochs=3)
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(2)]
    opt = torch.optim.SGD(groups, lr=9.0)
    schedule.on_step(opt, step=1, steps_per_epoch=4)
    assert [group["lr"] for group in opt.param_groups] == [0.75, 0.75]
    schedule.on_epoch(opt, 1, 0.5)
    assert rate_of(opt) == 0.75


def test_the_first_and_the_last_step_of_cosine_move_the_weights():
    schedule = CosineSchedule(lr=1.0, warmup_epochs=2, number_of_epochs=5)
    opt = optimizer()
    for step in (0, 5 * 3 - 1):
        schedule.on_step(opt, step, steps_per_epoch=3)
        assert rate_of(opt) > 0


@pytest.mark.parametrize(
    "step, rate",
    [(0, 0.1), (25, 0.325), (100, 1.0), (150, 0.55), (200, 0.1), (300, 1.0)],
)
def test_triangular_rises_and_falls(step, rate):
    schedule = TriangularSchedule(base_lr=0.1, max_lr=1.0, step_size=100)
    assert schedule.rate(step) == pytest.approx(rate)
    opt = optimizer()
    schedule.on_step(opt, step, steps_per_epoch=7)
    assert rate_of(opt) == pytest.approx(rate)


def test_triangular_of_the_published_classifier_rises_over_the_whole_training():
    # 1200 clips of three folds in batches of 32, 200 epochs: 7600 of 65000 steps.
    schedule = TriangularSchedule(base_lr=1e-8, max_lr=2e-4, step_size=65000)
    assert schedule.rate(7600) == pytest.approx(2.34e-5, rel=0.01)


def rates_over(schedule, opt, losses, first_epoch=1):
    rates = []
    for epoch, loss in enumerate(losses, start=first_epoch):
        schedule.on_step(opt, 0, 10)
        schedule.on_epoch(opt, epoch, loss)
        rates.append(rate_of(opt))
    return rates


def test_plateau_halves_after_patience_epochs_without_improvement():
    schedule = PlateauSchedule(factor=0.5, patience=2, first_epoch=0)
    losses = [5.0, 4.0, 4.5, 4.5, 4.5, 3.0, 3.5]
    rates = rates_over(schedule, optimizer(), losses)
    assert rates == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5]


def test_plateau_leaves_the_rate_alone_at_first():
    schedule = PlateauSchedule(factor=0.5, patience=0, first_epoch=4)
    rates = rates_over(schedule, optimizer(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert rates == [1.0, 1.0, 1.0, 1.0, 0.5, 0.25]


def test_plateau_has_the_published_values_by_default():
    schedule = PlateauSchedule()
    rates = rates_over(schedule, optimizer(2e-4), [1.0] + [2.0] * 104)
    assert rates[:103] == [2e-4] * 103
    # Epoch 100 is the last that sets the mark; it is not undercut by the same loss.
    assert rates == [2e-4] * 105
    assert rates_over(schedule, optimizer(2e-4), [3.0] * 4, 106) == [2e-4] * 3 + [1e-4]


@pytest.mark.parametrize("stop", [1, 3, 4, 6])
def test_plateau_continues_after_a_restart_as_if_there_was_none(stop, tmp_path):
    losses = [5.0, 4.0, 4.5, 4.4, 4.3, 4.2, 4.1, 4.05, 4.01, 4.5]

    def make():
        return PlateauSchedule(factor=0.5, patience=1, first_epoch=1)

    undisturbed = rates_over(make(), optimizer(), losses)
    assert len(set(undisturbed)) > 2
    first, opt = make(), optimizer()
    rates = rates_over(first, opt, losses[:stop])
    first.save(tmp_path / "schedule.ckpt")
    second = make()
    second.load(tmp_path / "schedule.ckpt", end_of_epoch=True)
    # The rate itself is in the optimizer's own checkpoint.
    rates += rates_over(second, opt, losses[stop:], first_epoch=stop + 1)
    assert rates == undisturbed
