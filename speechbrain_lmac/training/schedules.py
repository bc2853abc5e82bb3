"""Learning rates over a training: a warm-up with a cosine, and SpeechBrain's."""

import inspect
import math

from speechbrain_lmac.utils.errors import InputError, check_numbers


def set_rate(optimizer, rate: float) -> None:
    """Set the learning rate without a word (SpeechBrain's own logs every change)."""
    for group in optimizer.param_groups:
        group["lr"] = rate


class CosineSchedule:
    """Linear warm-up, then half a cosine down to zero.

    A function of the epochs that are done, fractions included: nothing to restore
    when a training is resumed.

    Arguments
    ---------
    lr : float
        The highest rate.
    warmup_epochs : float
        Epochs from 0 to `lr`.
    number_of_epochs : int
        Epochs of the whole training.

    Example
    -------
    >>> schedule = CosineSchedule(lr=1.0, warmup_epochs=2, number_of_epochs=6)
    >>> [round(schedule.rate(epochs), 2) for epochs in (0, 1, 2, 4, 6)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """

    def __init__(
        self, lr: float | str | None, warmup_epochs: int, number_of_epochs: float
    ):
        check_numbers(low=0, lr=lr, warmup_epochs=warmup_epochs)
        self.lr = lr
        self.warmup_epochs = warmup_epochs
        self.number_of_epochs = number_of_epochs

    def rate(self, epochs: float) -> float:
        """The rate after so many epochs."""
        if epochs < self.warmup_epochs:
            return self.lr * epochs / self.warmup_epochs
        span = max(self.number_of_epochs - self.warmup_epochs, 1e-9)
        done = min((epochs - self.warmup_epochs) / span, 1.0)
        return self.lr * 0.5 * (1 + math.cos(math.pi * done))

    def on_step(self, optimizer, step: int, steps_per_epoch: int) -> None:
        """Set the rate of the step that comes: that of its middle."""
        set_rate(optimizer, self.rate((step + 0.5) / steps_per_epoch))

    def on_epoch(self, optimizer, epoch: int, valid_loss: float) -> None:
        """Nothing depends on the validation."""


# How SpeechBrain's schedulers are called, by the arguments that they take.
AFTER_STEP = {
    ("opt",): lambda schedule, optimizer, step: schedule(optimizer),
    ("opt", "num_updates"): lambda schedule, optimizer, step: schedule(optimizer, step),
}
AFTER_EPOCH = {
    ("current_epoch",): lambda schedule, optimizer, epoch, loss: schedule(epoch),
    ("metric_value",): lambda schedule, optimizer, epoch, loss: schedule(loss),
    ("optim_list", "current_epoch", "current_loss"): (
        lambda schedule, optimizer, epoch, loss: schedule([optimizer], epoch, loss)
    ),
}


class Annealing:
    """Calls `lr_annealing`, ours or a scheduler of SpeechBrain, when it is due.

    Ours have `on_step` and `on_epoch`, see `CosineSchedule`. SpeechBrain's are called
    as in its recipes: after each step of the optimizer those with `on_batch_end(opt)`
    and those that take `(opt)` or `(opt, num_updates)`; after each validation those
    that take `(current_epoch)`, `(metric_value)` or `(optim_list, current_epoch,
    current_loss)`, the metric being the validation loss.

    Arguments
    ---------
    schedule : object

    Raises
    ------
    InputError
        When it is none of these.

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

    def __init__(self, schedule):
        self.schedule = schedule
        self.ours = hasattr(schedule, "on_step") and hasattr(schedule, "on_epoch")
        self.cyclic = hasattr(schedule, "on_batch_end")
        self.takes = () if self.ours or self.cyclic else _arguments_of(schedule)

    def before_step(self, optimizer, step: int, steps_per_epoch: int) -> None:
        """Set the rate of step number `step`, from 0, where it is a function of it."""
        if self.ours:
            self.schedule.on_step(optimizer, step, steps_per_epoch)
        elif self.cyclic and step and not self.schedule.clr_iterations:
            # Its state is missing in a checkpoint of version 0.3.
            self.schedule.clr_iterations = float(step)
            set_rate(optimizer, self.schedule.clr(self.schedule.clr_iterations))

    def after_step(self, optimizer, n_steps: int) -> None:
        """Tell a schedule of steps that the optimizer has made `n_steps`."""
        if self.cyclic:
            self.schedule.on_batch_end(optimizer)
        elif self.takes in AFTER_STEP:
            AFTER_STEP[self.takes](self.schedule, optimizer, n_steps)

    def after_epoch(self, optimizer, epoch: int, valid_loss: float) -> None:
        """Tell a schedule of epochs the validation loss, and set its rate."""
        if self.ours:
            self.schedule.on_epoch(optimizer, epoch, valid_loss)
        elif self.takes in AFTER_EPOCH:
            call = AFTER_EPOCH[self.takes]
            _, rate = call(self.schedule, optimizer, epoch, valid_loss)
            set_rate(optimizer, rate)


def _arguments_of(schedule) -> tuple[str, ...]:
    """Names of the arguments that a scheduler is called with."""
    known = [*AFTER_STEP, *AFTER_EPOCH]
    if callable(schedule) and not inspect.isclass(schedule):
        taken = tuple(
            name
            for name, parameter in inspect.signature(schedule).parameters.items()
            if parameter.default is parameter.empty
        )
        if taken in known:
            return taken
    told = ", ".join(f"({', '.join(names)})" for names in known)
    raise InputError(
        f"lr_annealing cannot be {type(schedule).__name__}: it must have on_step and "
        f"on_epoch, or on_batch_end, or be called with one of {told}, as the "
        "schedulers of SpeechBrain are"
    )
