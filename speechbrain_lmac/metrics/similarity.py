"""Similarity of maps: rank correlation, SSIM, distances.

One score per clip, in float64; NaN if a map has a NaN. `spearman` and `ssim` are
undefined, NaN, for constant maps.
"""

import math

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.stats import spearmanr

from speechbrain_lmac.metrics.faithfulness import check_same_shape

# Wang et al. 2004: a Gaussian window of 11 cells with standard deviation 1.5, and the
# two stabilising constants.
WINDOW = 11
WINDOW_SIGMA = 1.5
K1, K2 = 0.01, 0.03
MAP_RANGE = 1.0  # the dynamic range L, for maps in 0..1


def spearman(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return Spearman's rank correlation of the cells of two maps.

    Arguments
    ---------
    first, second : torch.Tensor
        Shape (B, T, F).

    Returns
    -------
    correlation : torch.Tensor
        Shape (B,), -1 to 1; NaN where a map is constant or not finite.

    Example
    -------
    >>> spearman(torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[[1.0, 9.0, 4.0]]]))
    tensor([0.5000], dtype=torch.float64)
    """
    check_same_shape("second", second, "first", first)
    cells = (maps.detach().flatten(1).cpu().numpy() for maps in (first, second))
    scores = [rank_correlation(a, b) for a, b in zip(*cells, strict=True)]
    return torch.tensor(scores, dtype=torch.float64, device=first.device)


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Return Spearman's rank correlation of two series of N numbers, shape (N,) each.

    NaN where one of them is constant or not finite.

    Example
    -------
    >>> round(rank_correlation([1, 2, 3], [10, 30, 20]), 6)
    0.5
    >>> rank_correlation([1, 2, 3], [5, 5, 5])
    nan
    """
    pair = np.array([first, second], dtype=float)
    if not np.isfinite(pair).all() or (np.ptp(pair, axis=1) == 0).any():
        return math.nan
    return float(spearmanr(*pair).statistic)


def ssim(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the mean structural similarity of two maps in 0..1 (Wang et al. 2004).

    (2 m n + c1)(2 cov + c2) / ((m^2 + n^2 + c1)(var_m + var_n + c2)) averaged over all
    Gaussian windows inside the map, with means m, n, c1 = 0.01^2 and c2 = 0.03^2.

    Arguments
    ---------
    first, second : torch.Tensor
        Shape (B, T, F), in 0..1, T and F at least 11.

    Returns
    -------
    similarity : torch.Tensor
        Shape (B,), -1 to 1; NaN where a map is constant or has a NaN.

    Raises
    ------
    ValueError
        When the maps differ in shape or are smaller than the window.

    Example
    -------
    >>> stripes = torch.tensor([0.0, 1.0]).repeat(1, 11, 6)
    >>> ssim(stripes, stripes)
    tensor([1.], dtype=torch.float64)
    """
    check_same_shape("second", second, "first", first)
    if min(first.shape[1:]) < WINDOW:
        raise ValueError(
            f"maps must have at least {WINDOW} frames and bins, "
            f"got {tuple(first.shape[1:])}"
        )
    x, y = first.double(), second.double()
    mean_x, mean_y = _windowed(x), _windowed(y)
    var_x = _windowed(x * x) - mean_x * mean_x
    var_y = _windowed(y * y) - mean_y * mean_y
    covariance = _windowed(x * y) - mean_x * mean_y
    c1, c2 = (K1 * MAP_RANGE) ** 2, (K2 * MAP_RANGE) ** 2
    alike = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    size = (mean_x * mean_x + mean_y * mean_y + c1) * (var_x + var_y + c2)
    similarity = (alike / size).mean((1, 2))
    return similarity.masked_fill(_undefined(first, second), math.nan)


def jaccard_distance(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the Jaccard distance of two maps: 1 - sum min(a, b) / sum max(a, b).

    For binary maps this is 1 - intersection over union (Jaccard 1912), otherwise the
    distance of Ruzicka 1958. It depends on both the size and the shape of the maps.

    Arguments
    ---------
    first, second : torch.Tensor
        Shape (B, T, F), at least 0.

    Returns
    -------
    distance : torch.Tensor
        Shape (B,), 0 (the same map) to 1 (no cell in common); NaN where both maps are
        0 everywhere.

    Example
    -------
    Minima 0.5 + 0, maxima 1 + 0.5:

    >>> jaccard_distance(torch.tensor([[[0.5, 0.5]]]), torch.tensor([[[1.0, 0.0]]]))
    tensor([0.6667], dtype=torch.float64)
    """
    check_same_shape("second", second, "first", first)
    # a + b = min + max, and |a - b| = max - min.
    total = (first + second).flatten(1).sum(1, dtype=torch.float64)
    apart = (first - second).abs().flatten(1).sum(1, dtype=torch.float64)
    return 2 * apart / (total + apart)


def shape_distance(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the `jaccard_distance` (B,) of two maps, each divided by its sum.

    Invariant to the scale of the maps (B, T, F): a map and a multiple of it have
    distance 0. NaN where a map is 0 everywhere.

    Example
    -------
    >>> shape_distance(torch.tensor([[[0.25, 0.5]]]), torch.tensor([[[0.5, 1.0]]]))
    tensor([0.], dtype=torch.float64)
    """
    shapes = [m.double() for m in (first, second)]
    return jaccard_distance(*(m / m.sum((1, 2), keepdim=True) for m in shapes))


def _undefined(*maps: torch.Tensor) -> torch.Tensor:
    """Return whether one of the maps (B, T, F) is constant or has a NaN, (B,), bool."""
    cells = [m.flatten(1) for m in maps]
    # With a NaN both comparisons are false.
    return ~torch.stack([c.amax(1) > c.amin(1) for c in cells]).all(0)


def _windowed(maps: torch.Tensor) -> torch.Tensor:
    """Return Gaussian means (B, T - 10, F - 10) of the windows in maps (B, T, F)."""
    offset = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    gaussian = (-0.5 * (offset / WINDOW_SIGMA).square()).exp()
    weights = (gaussian / gaussian.sum()).tolist()
    # Shifted sums are faster than a convolution on a CPU in float64.
    for axis in (1, 2):
        size = maps.shape[axis] - WINDOW + 1
        shifted = (
            weight * maps.narrow(axis, start, size)
            for start, weight in enumerate(weights)
        )
        maps = sum(shifted, start=maps.new_zeros(()))
    return maps
