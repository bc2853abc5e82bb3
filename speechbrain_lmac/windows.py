"""A long signal in overlapping windows, and back without a seam."""

import math

import torch


def window_starts(n_samples, length, step=1):
    """Where the windows of a signal begin.

    Each window overlaps the next by half or more. The last one ends with the signal,
    so that every window is full.

    Arguments
    ---------
    n_samples : int
        Of the signal.
    length : int
        Of a window, in samples.
    step : int
        All windows but the last begin at a multiple of it: the hop of a spectrogram.

    Returns
    -------
    starts : list
        Of int. One window, of the signal as it is, where it is not longer than one.

    Example
    -------
    >>> window_starts(25, 10)
    [0, 5, 10, 15]
    >>> window_starts(26, 10, step=4)
    [0, 4, 8, 12, 16]
    >>> window_starts(7, 10)
    [0]
    """
    if n_samples <= length:
        return [0]
    hop = max(step, length // 2 // step * step)
    last = n_samples - length
    return [*range(0, last, hop), last]


class Faded:
    """What is put together from overlapping windows: a weighted mean where they meet.

    The weight of sample n of a window of L is sin(pi (n + 1/2) / L)^2, which is next to
    nothing where a window begins and ends: the sum of the parts has no step there. What
    all windows agree upon stays as it is.

    Arguments
    ---------
    n_samples : int
        Length of the whole: samples, or frames of a map.
    step : int
        Samples from one of them to the next.

    Example
    -------
    >>> faded = Faded(6)
    >>> faded.add(0, torch.ones(4))
    >>> faded.add(2, torch.tensor([1.0, 1.0, 3.0, 3.0]))
    >>> faded.whole()
    tensor([1., 1., 1., 1., 3., 3.])
    """

    def __init__(self, n_samples, step=1):
        self.n_samples = n_samples
        self.step = step
        self.sum = None
        self.weight = torch.zeros(n_samples)

    def add(self, start, part):
        """Add a window (L, ...) that begins at a sample of the signal.

        One that is the whole stays as it is.
        """
        start = round(start / self.step)
        length = min(len(part), self.n_samples - start)
        if len(part) == self.n_samples:
            self.sum, self.weight = part.clone(), torch.ones(self.n_samples)
            return
        weight = (torch.arange(len(part)) + 0.5).mul(math.pi / len(part)).sin().square()
        weight = weight[:length]
        if self.sum is None:
            self.sum = torch.zeros(self.n_samples, *part.shape[1:])
        spread = weight.reshape(-1, *[1] * (part.dim() - 1))
        self.sum[start : start + length] += spread * part[:length]
        self.weight[start : start + length] += weight

    def whole(self):
        """The mean of what was added, (n_samples, ...); asked for once, at the end."""
        spread = self.weight.reshape(-1, *[1] * (self.sum.dim() - 1))
        return self.sum.div_(spread)
