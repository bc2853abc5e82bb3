"""Learning rates over a training. Each is told of every step and every epoch."""

import math

from speechbrain.nnet.schedulers import ReduceLROnPlateau
from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)

from speechbrain_lmac.utils.errors import check_counts, check_numbers


def set_rate(optimizer, rate):
    """Set the learning rate without a word (SpeechBrain's own logs every change)."""
    for group in optimizer.param_groups:
        group["lr"] = rate


@register_checkpoint_hooks
class PlateauSchedule:
    """Multiply the rate when the validation loss no longer falls.

    SpeechBrain's `ReduceLROnPlateau` with the published values of L-MAC as defaults:
    factor 0.5, patience 3, not before epoch 100 (docs/methods.md, schedule and
    selection).

    Arguments
    ---------
    factor : float
        What the rate is multiplied by.
    patience : int
        Epochs without improvement before that.
    first_epoch : int
        The rate is left alone up to this epoch.
    """

    def __init__(self, factor=0.5, patience=3, first_epoch=100):
        check_numbers(0, 1, factor=factor)
        check_counts(low=0, patience=patience, first_epoch=first_epoch)
        self.plateau = ReduceLROnPlateau(
            factor=factor, patience=patience, dont_halve_until_epoch=first_epoch
        )

    def on_step(self, optimizer, step, steps_per_epoch):
        """Nothing changes within an epoch."""

    def on_epoch(self, optimizer, epoch, valid_loss):
        """Look at the validation loss, and set the rate."""
        _, rate = self.plateau([optimizer], epoch, valid_loss)
        set_rate(optimizer, rate)

    @mark_as_saver
    def save(self, path):
        """For the checkpoint."""
        self.plateau.save(path)

    @mark_as_loader
    def load(self, path, end_of_epoch=False):
        """From the checkpoint."""
        self.plateau.load(path, end_of_epoch)


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

    def __init__(self, lr, warmup_epochs, number_of_epochs):
        check_numbers(low=0, lr=lr, warmup_epochs=warmup_epochs)
        self.lr = lr
        self.warmup_epochs = warmup_epochs
        self.number_of_epochs = number_of_epochs

    def rate(self, epochs):
        """The rate after so many epochs."""
        if epochs < self.warmup_epochs:
            return self.lr * epochs / self.warmup_epochs
        span = max(self.number_of_epochs - self.warmup_epochs, 1e-9)
        done = min((epochs - self.warmup_epochs) / span, 1.0)
        return self.lr * 0.5 * (1 + math.cos(math.pi * done))

    def on_step(self, optimizer, step, steps_per_epoch):
        """Set the rate of the step that comes: that of its middle."""
        set_rate(optimizer, self.rate((step + 0.5) / steps_per_epoch))

    def on_epoch(self, optimizer, epoch, valid_loss):
        """Nothing depends on the validation."""


class TriangularSchedule:
    """A rate that rises and falls linearly between two values.

    The published schedule of CNN14 on ESC-50 (docs/methods.md, classifier): 1e-8 to
    2e-4 in 65,000 steps, of which 200 epochs see only the rise.

    Arguments
    ---------
    base_lr, max_lr : float
        Lowest and highest rate.
    step_size : int
        Steps from one to the other.

    Example
    -------
    >>> schedule = TriangularSchedule(base_lr=0.0, max_lr=1.0, step_size=4)
    >>> [schedule.rate(step) for step in (0, 1, 4, 5, 8)]
    [0.0, 0.25, 1.0, 0.75, 0.0]
    """

    def __init__(self, base_lr, max_lr, step_size):
        check_numbers(low=0, base_lr=base_lr, max_lr=max_lr)
        check_counts(step_size=step_size)
        self.base_lr = base_lr
        self.max_lr = max_lr
        self.step_size = step_size

    def rate(self, step):
        """The rate of a step, counted from 0."""
        place = step / self.step_size % 2
        share = place if place <= 1 else 2 - place
        return self.base_lr + (self.max_lr - self.base_lr) * share

    def on_step(self, optimizer, step, steps_per_epoch):
        """Set the rate of the step that comes."""
        set_rate(optimizer, self.rate(step))

    def on_epoch(self, optimizer, epoch, valid_loss):
        """Nothing depends on the validation."""
