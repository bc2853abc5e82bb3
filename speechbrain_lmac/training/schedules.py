"""Learning rate schedules: a warm-up with a cosine, and SpeechBrain's."""

import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from speechbrain_lmac.utils.errors import InputError, check_numbers

if TYPE_CHECKING:
    from torch.optim import Optimizer


def set_rate(optimizer: "Optimizer", rate: float) -> None:
    """Set the learning rate (SpeechBrain's own function logs every change)."""
    for group in optimizer.param_groups:
        group["lr"] = rate


class CosineSchedule:
    """Linear warm-up, then half a cosine down to zero.

    A function of the finished epochs, fractions included: it has no state to restore.

    Arguments
    ---------
    lr : float
        The highest rate, 0 or more.
    warmup_epochs : float
        Epochs from 0 to `lr`, 0 or more.
    number_of_epochs : float
        Epochs of the whole training.

    Example
    -------
    >>> schedule = CosineSchedule(lr=1.0, warmup_epochs=2, number_of_epochs=6)
    >>> [round(schedule.rate(epochs), 2) for epochs in (0, 1, 2, 4, 6)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """

    def __init__(
        self, lr: float, warmup_epochs: float, number_of_epochs: float
    ) -> None:
        check_numbers(low=0, lr=lr, warmup_epochs=warmup_epochs)
        self.lr = lr
        self.warmup_epochs = warmup_epochs
        self.number_of_epochs = number_of_epochs

    def rate(self, epochs: float) -> float:
        """Return the rate after a number of epochs."""
        if epochs < self.warmup_epochs:
            return self.lr * epochs / self.warmup_epochs
        span = max(self.number_of_epochs - self.warmup_epochs, 1e-9)
        done = min((epochs - self.warmup_epochs) / span, 1.0)
        return self.lr * 0.5 * (1 + math.cos(math.pi * done))

    def on_step(self, optimizer: "Optimizer", step: int, steps_per_epoch: int) -> None:
        """Set the rate of the next step: the schedule at its middle.

        Arguments
        ---------
        optimizer : torch.optim.Optimizer
        step : int
            Steps so far.
        steps_per_epoch : int
        """
        set_rate(optimizer, self.rate((step + 0.5) / steps_per_epoch))

    def on_epoch(self, optimizer: "Optimizer", epoch: int, valid_loss: float) -> None:
        """Do nothing: the rate does not depend on the validation.

        Arguments
        ---------
        optimizer : torch.optim.Optimizer
        epoch : int
        valid_loss : float
        """


# How SpeechBrain's schedulers are called, by the names of their arguments.
AFTER_STEP: dict[tuple[str, ...], Callable[..., Any]] = {
    ("opt",): lambda schedule, optimizer, step: schedule(optimizer),
    ("opt", "num_updates"): lambda schedule, optimizer, step: schedule(optimizer, step),
}
AFTER_EPOCH: dict[tuple[str, ...], Callable[..., Any]] = {
    ("current_epoch",): lambda schedule, optimizer, epoch, loss: schedule(epoch),
    ("metric_value",): lambda schedule, optimizer, epoch, loss: schedule(loss),
    ("optim_list", "current_epoch", "current_loss"): (
        lambda schedule, optimizer, epoch, loss: schedule([optimizer], epoch, loss)
    ),
}


class Annealing:
    """Calls `lr_annealing`, a schedule of ours or a scheduler of SpeechBrain.

    Ours have `on_step` and `on_epoch`, see `CosineSchedule`. SpeechBrain's are called
    as in its recipes: after each step of the optimizer those with `on_batch_end(opt)`
    and those with arguments `(opt)` or `(opt, num_updates)`; after each validation
    those with `(current_epoch)`, `(metric_value)` or `(optim_list, current_epoch,
    current_loss)`, where the metric is the validation loss.

    Arguments
    ---------
    schedule : object
        One of these.

    Raises
    ------
    InputError
        For another object.

    Example
    -------
    >>> import torch
    >>> from speechbrain.nnet.schedulers import StepScheduler
    >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    >>> annealing = Annealing(StepScheduler(1.0, decay_factor=0.5, decay_drop=2))
    >>> for epoch in (1, 2, 3):
    ...     annealing.after_epoch(optimizer, epoch, 0.1)
    ...     print(optimizer.param_groups[0]["lr"])
    0.5
    0.5
    0.25
    """

    def __init__(self, schedule: Any) -> None:
        self.schedule = schedule
        self.ours = hasattr(schedule, "on_step") and hasattr(schedule, "on_epoch")
        self.cyclic = hasattr(schedule, "on_batch_end")
        self.takes = () if self.ours or self.cyclic else _arguments_of(schedule)

    def before_step(
        self, optimizer: "Optimizer", step: int, steps_per_epoch: int
    ) -> None:
        """Set the rate of a step, if it is a function of the step.

        Arguments
        ---------
        optimizer : torch.optim.Optimizer
        step : int
            From 0.
        steps_per_epoch : int
        """
        if self.ours:
            self.schedule.on_step(optimizer, step, steps_per_epoch)
        elif self.cyclic and step and not self.schedule.clr_iterations:
            # Its state is missing in a checkpoint of version 0.3.
            self.schedule.clr_iterations = float(step)
            set_rate(optimizer, self.schedule.clr(self.schedule.clr_iterations))

    def after_step(self, optimizer: "Optimizer", n_steps: int) -> None:
        """Update a schedule of steps, after `n_steps` steps in all."""
        if self.cyclic:
            self.schedule.on_batch_end(optimizer)
        elif self.takes in AFTER_STEP:
            AFTER_STEP[self.takes](self.schedule, optimizer, n_steps)

    def after_epoch(
        self, optimizer: "Optimizer", epoch: int, valid_loss: float
    ) -> None:
        """Update a schedule of epochs, and set its rate.

        Arguments
        ---------
        optimizer : torch.optim.Optimizer
        epoch : int
            From 1.
        valid_loss : float
        """
        if self.ours:
            self.schedule.on_epoch(optimizer, epoch, valid_loss)
        elif self.takes in AFTER_EPOCH:
            call = AFTER_EPOCH[self.takes]
            _, rate = call(self.schedule, optimizer, epoch, valid_loss)
            set_rate(optimizer, rate)


def _arguments_of(schedule: Any) -> tuple[str, ...]:
    """Return the names of a scheduler's arguments."""
    known = [*AFTER_STEP, *AFTER_EPOCH]
    if callable(schedule) and not inspect.isclass(schedule):
        taken = tuple(
            name
            for name, parameter in inspect.signature(schedule).parameters.items()
            if parameter.default is parameter.empty
        )
        if taken in known:
            return taken
    calls = ", ".join(f"({', '.join(names)})" for names in known)
    raise InputError(
        "lr_annealing must have on_step and on_epoch, or on_batch_end, or be called "
        f"with one of {calls} as SpeechBrain's schedulers; got "
        f"{type(schedule).__name__}"
    )
