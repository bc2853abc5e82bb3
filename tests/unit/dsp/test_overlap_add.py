"""Windows cover a long signal, and their weighted sum is the signal."""

import math

import pytest
import torch

from speechbrain_lmac.dsp.overlap_add import OverlapAdd, window_starts


@pytest.mark.parametrize("n_samples", [1, 9, 10, 11, 15, 16, 99, 1000, 1003])
@pytest.mark.parametrize("step", [1, 3])
def test_windows_cover_everything_and_are_full(n_samples, step):
    length = 9
    starts = window_starts(n_samples, length, step)
    covered = torch.zeros(n_samples)
    for start in starts:
        assert start + length <= n_samples or starts == [0]
        covered[start : start + length] += 1
    assert covered.min() >= 1
    assert starts == sorted(set(starts))
    assert all(start % step == 0 for start in starts[:-1])
    hops = [b - a for a, b in zip(starts, starts[1:], strict=False)]
    assert all(hop <= max(step, length // 2) for hop in hops)


@pytest.mark.parametrize("n_samples", [50, 101, 333])
def test_windows_of_a_signal_are_the_signal(n_samples):
    signal = torch.randn(n_samples, 3, generator=torch.Generator().manual_seed(0))
    overlap_add = OverlapAdd(n_samples)
    for start in window_starts(n_samples, 50):
        overlap_add.add(start, signal[start : start + 50])
    torch.testing.assert_close(overlap_add.take(), signal, rtol=1e-5, atol=1e-6)


def test_windows_that_differ_meet_without_a_step():
    # Every second window is 1, the others 0: the steepest that a Hann fade over half a
    # window can be is pi / L per sample, not a step of 1.
    n_samples, length = 1000, 100
    overlap_add = OverlapAdd(n_samples)
    for index, start in enumerate(window_starts(n_samples, length)):
        overlap_add.add(start, torch.full((length,), float(index % 2)))
    whole = overlap_add.take()
    assert whole.min() >= 0 and whole.max() <= 1 and whole.max() > 0.99
    assert whole.diff().abs().max() <= math.pi / length * 1.05


def test_frames_lie_where_their_samples_do():
    # A map of 10 samples a frame: its value is the time of its frame.
    n_samples, length, hop = 1005, 200, 10
    times = torch.arange(n_samples // hop + 1.0)
    overlap_add = OverlapAdd(len(times), hop)
    for start in window_starts(n_samples, length, hop):
        first = start / hop
        overlap_add.add(start, first + torch.arange(length // hop + 1.0))
    assert (overlap_add.take() - times).abs().max() <= 0.5
