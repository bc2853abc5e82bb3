"""Overlapping windows of a long signal, and their weighted overlap-add."""

import math
from collections.abc import Iterable

import torch

# A signal of at most this many window lengths is one window.
LONGEST = 1.5


def window_starts(n_samples: int, length: int, step: int = 1) -> list[int]:
    """Return the first sample of each window of a signal.

    Consecutive windows overlap by half or more if `length` is at least 2 `step`. The
    last one ends with the signal, so every window is full.

    Arguments
    ---------
    n_samples : int
        Length of the signal.
    length : int
        Length of a window, in samples.
    step : int
        All windows but the last begin at a multiple of it, such as the hop of an STFT.

    Returns
    -------
    starts : list of int
        [0] if the signal is not longer than a window.

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


def window_length(
    n_samples: int, seconds: float | None, sample_rate: int, step: int = 1
) -> int:
    """Return the length of the windows of a signal, in samples.

    Arguments
    ---------
    n_samples : int
        Length of the signal.
    seconds : float or None
        Length of a window. A signal of at most `LONGEST` window lengths is one window.
        None: every signal is one window.
    sample_rate : int
        Hz.
    step : int
        Windows shorter than the signal are a multiple of it: the hop of an STFT.

    Returns
    -------
    length : int
        Samples.

    Example
    -------
    >>> [window_length(n, 1.0, 1000, step=30) for n in (700, 1500, 1501)]
    [700, 1500, 990]
    """
    if seconds is None or n_samples <= LONGEST * seconds * sample_rate:
        return n_samples
    return max(step, round(seconds * sample_rate) // step * step)


class Windows:
    """Cut a signal, which is pushed block by block, into overlapping windows.

    Arguments
    ---------
    starts : iterable of int
        First samples, from `window_starts`.
    length : int
        Length of a window, in samples.

    Example
    -------
    >>> windows = Windows([0, 2], 3)
    >>> windows.push(torch.tensor([1, 2]))
    []
    >>> windows.push(torch.tensor([3, 4, 5]))
    [tensor([1, 2, 3]), tensor([3, 4, 5])]
    """

    def __init__(self, starts: Iterable[int], length: int) -> None:
        self.starts = list(starts)
        self.length = length
        self.blocks: list[torch.Tensor] = []  # the signal from sample `first` on
        self.first = 0
        self.received = 0  # samples of the signal so far

    def push(self, wav: torch.Tensor) -> list[torch.Tensor]:
        """Add a block (N,); return the windows (length,) that it completes."""
        self.blocks.append(wav)
        self.received += len(wav)
        whole = []
        while self.starts and self.starts[0] + self.length <= self.received:
            start = self.starts.pop(0)
            signal = torch.cat(self.blocks)[start - self.first :].clone()
            self.blocks, self.first = [signal], start
            whole.append(signal[: self.length])
        return whole


class OverlapAdd:
    """Weighted mean of overlapping windows, without discontinuities at their edges.

    Sample n of a window of L samples has the weight sin(pi (n + 1/2) / L)^2, near 0 at
    both ends. Where all windows agree, values are unchanged. Only samples that are not
    yet taken use memory.

    Arguments
    ---------
    n_samples : int
        Total length: samples, or frames of a map.
    step : int
        Samples per element: 1, or the hop of a map.

    Example
    -------
    >>> overlap_add = OverlapAdd(6)
    >>> overlap_add.add(0, torch.ones(4))
    >>> overlap_add.take(2)
    tensor([1., 1.])
    >>> overlap_add.add(2, torch.tensor([1.0, 1.0, 3.0, 3.0]))
    >>> overlap_add.take()
    tensor([1., 1., 3., 3.])
    """

    def __init__(self, n_samples: int, step: int = 1) -> None:
        self.n_samples = n_samples
        self.step = step
        self.taken = 0
        self.sum: torch.Tensor | None = None  # from `taken` on
        self.weight = torch.zeros(0)

    def add(self, start: int, part: torch.Tensor) -> None:
        """Add a window (L, ...) that begins at sample `start` of the signal.

        A window of the whole signal is unchanged.
        """
        if len(part) == self.n_samples:
            self.sum, self.weight = part.clone(), torch.ones(self.n_samples)
            return
        begin = round(start / self.step) - self.taken
        length = min(len(part), self.n_samples - self.taken - begin)
        weight = (torch.arange(len(part)) + 0.5).mul(math.pi / len(part)).sin().square()
        weight = weight[:length]
        if self.sum is None:
            self.sum = torch.zeros(0, *part.shape[1:])
        missing = max(0, begin + length - len(self.sum))
        self.sum = torch.cat([self.sum, torch.zeros(missing, *part.shape[1:])])
        self.weight = torch.cat([self.weight, torch.zeros(missing)])
        span = slice(begin, begin + length)
        self.sum[span] += _spread(weight, part) * part[:length]
        self.weight[span] += weight

    def take(self, until: int | None = None) -> torch.Tensor:
        """Return the next part of the mean, (N, ...), and free its memory.

        Arguments
        ---------
        until : int, optional
            First sample of the next window, where the part ends; None: to the end.
        """
        if self.sum is None:
            raise ValueError("no window was added: call `add` before `take`")
        end = self.n_samples if until is None else round(until / self.step)
        n = end - self.taken
        mean = self.sum[:n] / _spread(self.weight[:n], self.sum)
        self.sum, self.weight = self.sum[n:].clone(), self.weight[n:].clone()
        self.taken = end
        return mean


def _spread(weight: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return weights (N,) in a shape that broadcasts with values (N, ...)."""
    return weight.reshape(-1, *[1] * (values.dim() - 1))
