"""Learning rates at steps where they are known, and after a restart."""

import copy
import math

import pytest
import torch
from speechbrain.nnet.schedulers import (
    CyclicLRScheduler,
    LinearScheduler,
    NewBobScheduler,
    NoamScheduler,
    ReduceLROnPlateau,
    StepScheduler,
    WarmCoolDecayLRSchedule,
)

from speechbrain_lmac.training.schedules import Annealing, CosineSchedule
from speechbrain_lmac.utils.errors import InputError


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


# --- SpeechBrain's --------------------------------------------------------------------


def triangular(step, base_lr, max_lr, step_size):
    """The published rate of a step, counted from 0 (docs/methods.md, classifier)."""
    place = step / step_size % 2
    return base_lr + (max_lr - base_lr) * (place if place <= 1 else 2 - place)


CYCLE = {"base_lr": 0.1, "max_lr": 1.0, "step_size": 10}


def rates_of_steps(annealing, opt, steps):
    """The rate of each of some steps, counted from 0, as a Brain takes them."""
    rates = []
    for step in steps:
        annealing.before_step(opt, step, steps_per_epoch=7)
        rates.append(rate_of(opt))
        annealing.after_step(opt, step + 1)
    return rates


def test_the_cyclic_scheduler_is_the_triangle_at_every_step():
    rates = rates_of_steps(
        Annealing(CyclicLRScheduler(**CYCLE)), optimizer(0.1), range(45)
    )
    assert rates == pytest.approx([triangular(step, **CYCLE) for step in range(45)])


@pytest.mark.parametrize("stateless", [False, True])
@pytest.mark.parametrize("stop", [1, 9, 25])
def test_the_cyclic_scheduler_goes_on_after_a_restart(stop, stateless, tmp_path):
    first, opt = CyclicLRScheduler(**CYCLE), optimizer(0.1)
    rates = rates_of_steps(Annealing(first), opt, range(stop))
    first.save(tmp_path / "schedule.ckpt")
    second = CyclicLRScheduler(**CYCLE)
    if stateless:  # a checkpoint of version 0.3: there the rate was set before a step
        opt = optimizer(rates[-1])
    else:
        second.load(tmp_path / "schedule.ckpt")
    rates += rates_of_steps(Annealing(second), opt, range(stop, 45))
    assert rates == pytest.approx([triangular(step, **CYCLE) for step in range(45)])


def test_the_published_classifier_sees_a_rise_over_the_whole_training():
    # 1200 clips of three folds in batches of 32, 200 epochs: 7600 of 65000 steps.
    schedule = CyclicLRScheduler(base_lr=1e-8, max_lr=2e-4, step_size=65000)
    assert schedule.clr(7600) == pytest.approx(2.34e-5, rel=0.01)


def rates_over(schedule, opt, losses, first_epoch=1):
    """The rate after each epoch of 10 steps."""
    annealing, rates = Annealing(schedule), []
    for epoch, loss in enumerate(losses, start=first_epoch):
        for step in range(10 * (epoch - 1), 10 * epoch):
            annealing.before_step(opt, step, 10)
            annealing.after_step(opt, step + 1)
        annealing.after_epoch(opt, epoch, loss)
        rates.append(rate_of(opt))
    return rates


LOSSES = [5.0, 4.0, 4.5, 4.5, 4.5]
KINDS = {
    # Once an epoch: (epoch), (loss), ([optimizer], epoch, loss).
    "StepScheduler": (StepScheduler(1.0, 0.5, 2), [0.5, 0.5, 0.25, 0.25, 0.125]),
    "LinearScheduler": (LinearScheduler(1.0, 0.2, 5), [0.8, 0.6, 0.4, 0.2, 0.2]),
    "NewBob": (NewBobScheduler(1.0, 0.5, patient=0), [1.0, 1.0, 0.5, 0.25, 0.125]),
    "Plateau": (ReduceLROnPlateau(1e-8, 0.5, 1, 0), [1.0, 1.0, 1.0, 0.5, 0.5]),
    # After each of 10 steps: (opt), (opt, num_updates), on_batch_end(opt).
    "Noam": (
        NoamScheduler(1.0, 10),
        [1.0, *((10 / n) ** 0.5 for n in (20, 30, 40, 50))],
    ),
    "WarmCool": (
        WarmCoolDecayLRSchedule(1.0, 20, 20, 50, decay_factor=1.0),
        [0.5, 1.0, 1.0, 0.5, 0.0],
    ),
    "Cyclic": (CyclicLRScheduler(0.0, 1.0, 20), [0.5, 1.0, 0.5, 0.0, 0.5]),
}


@pytest.mark.parametrize("name", KINDS)
def test_schedulers_of_speechbrain_are_called_as_in_its_recipes(name, caplog):
    schedule, wanted = copy.deepcopy(KINDS[name])
    assert rates_over(schedule, optimizer(), LOSSES) == pytest.approx(wanted)
    assert not caplog.records  # SpeechBrain's own way to set a rate says it


class TakesAll:
    def __call__(self, everything):
        return 1.0, 1.0


@pytest.mark.parametrize("schedule", [None, 3, TakesAll(), StepScheduler])
def test_what_is_no_schedule_is_refused(schedule):
    with pytest.raises(InputError, match=r"lr_annealing .*\(current_epoch\)"):
        Annealing(schedule)


def plateau(patience, first_epoch):
    return ReduceLROnPlateau(patience=patience, dont_halve_until_epoch=first_epoch)


def test_plateau_halves_after_patience_epochs_without_improvement():
    losses = [5.0, 4.0, 4.5, 4.5, 4.5, 3.0, 3.5]
    rates = rates_over(plateau(2, 0), optimizer(), losses)
    assert rates == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5]


def test_plateau_of_the_published_setting():
    schedule = plateau(3, 100)
    rates = rates_over(schedule, optimizer(2e-4), [1.0] + [2.0] * 104)
    # Epoch 100 is the last that sets the mark; it is not undercut by the same loss.
    assert rates == [2e-4] * 105
    assert rates_over(schedule, optimizer(2e-4), [3.0] * 4, 106) == [2e-4] * 3 + [1e-4]


@pytest.mark.parametrize("stop", [1, 3, 4, 6])
def test_plateau_continues_after_a_restart_as_if_there_was_none(stop, tmp_path):
    losses = [5.0, 4.0, 4.5, 4.4, 4.3, 4.2, 4.1, 4.05, 4.01, 4.5]
    undisturbed = rates_over(plateau(1, 1), optimizer(), losses)
    assert len(set(undisturbed)) > 2
    first, opt = plateau(1, 1), optimizer()
    rates = rates_over(first, opt, losses[:stop])
    first.save(tmp_path / "schedule.ckpt")
    second = plateau(1, 1)
    second.load(tmp_path / "schedule.ckpt", end_of_epoch=True)
    # The rate itself is in the optimizer's own checkpoint.
    rates += rates_over(second, opt, losses[stop:], first_epoch=stop + 1)
    assert rates == undisturbed
