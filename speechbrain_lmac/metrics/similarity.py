"""How alike are two maps?

One score per clip, in float64; that of a map with a NaN is NaN. A map that is the same
everywhere has no order and no structure: its `spearman` and `ssim` are NaN.
"""

import math

import torch

from speechbrain_lmac.metrics.faithfulness import check_same_shape

# Wang et al. 2004: a Gaussian window of 11 cells with a deviation of 1.5, and the
# constants of the two stabilisers.
WINDOW = 11
WINDOW_SIGMA = 1.5
K1, K2 = 0.01, 0.03
MAP_RANGE = 1.0  # L, of maps in 0..1


def spearman(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Spearman's rank correlation of the cells of two maps.

    Pearson's correlation of the ranks, where equal cells share the mean of their
    ranks.

    Arguments
    ---------
    first, second : torch.Tensor
        Shape (B, T, F).

    Returns
    -------
    correlation : torch.Tensor
        Shape (B,), -1 to 1; NaN where a map is constant or has a NaN.

    Example
    -------
    >>> spearman(torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[[1.0, 9.0, 4.0]]]))
    tensor([0.5000], dtype=torch.float64)
    """
    check_same_shape("second", second, "first", first)
    ranks, other = _centred_ranks(first), _centred_ranks(second)
    both = (ranks.square().sum(1) * other.square().sum(1)).sqrt()
    correlation = (ranks * other).sum(1) / both
    return correlation.masked_fill(_undefined(first, second), math.nan)


def ssim(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Structural similarity of two maps in 0..1 (Wang et al. 2004), its mean.

    (2 m n + c1)(2 cov + c2) / ((m^2 + n^2 + c1)(var_m + var_n + c2)) in each Gaussian
    window that lies within the map, with means m, n, c1 = 0.01^2 and c2 = 0.03^2.

    Arguments
    ---------
    first, second : torch.Tensor
        Shape (B, T, F), in 0..1, T and F at least 11.

    Returns
    -------
    similarity : torch.Tensor
        Shape (B,), -1 to 1; NaN where a map is constant or has a NaN.

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
    """How little two maps overlap: 1 - sum min(a, b) / sum max(a, b).

    For maps of 0 and 1 it is 1 - intersection over union (Jaccard 1912); with values
    between, that of Ruzicka 1958. It counts the maps' sizes and their shapes.

    Arguments
    ---------
    first, second : torch.Tensor
        Shape (B, T, F), not negative.

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
    """`jaccard_distance` of two maps that are each divided by their own sum.

    A map that is another one times a number has the distance 0: only where the maps lie
    counts, not how large they are.

    Arguments and returns are those of `jaccard_distance`; NaN where a map is 0
    everywhere.

    Example
    -------
    >>> shape_distance(torch.tensor([[[0.25, 0.5]]]), torch.tensor([[[0.5, 1.0]]]))
    tensor([0.], dtype=torch.float64)
    """
    shapes = [m.double() for m in (first, second)]
    return jaccard_distance(*(m / m.sum((1, 2), keepdim=True) for m in shapes))


def _centred_ranks(maps: torch.Tensor) -> torch.Tensor:
    """Average ranks of the cells less their mean, (B, T F), float64."""
    values, places = maps.flatten(1).sort(1)
    n = values.shape[1]
    place = torch.arange(n, device=maps.device).expand_as(values)
    differs = values[:, 1:] != values[:, :-1]
    edge = torch.ones_like(differs[:, :1])
    # The first and the last place of the equal cells that each cell is among.
    first = place.where(torch.cat([edge, differs], 1), 0).cummax(1).values
    last = place.where(torch.cat([differs, edge], 1), n - 1)
    last = last.flip(1).cummin(1).values.flip(1)
    # Ranks are 1 + (first + last) / 2, and all N of them have the mean (N + 1) / 2.
    centred = (first + last - (n - 1)).double() / 2
    return torch.empty_like(centred).scatter_(1, places, centred)


def _undefined(*maps) -> torch.Tensor:
    """Whether one of the maps is constant or has a NaN, (B,), bool."""
    cells = [m.flatten(1) for m in maps]
    # With a NaN both comparisons are false.
    return ~torch.stack([c.amax(1) > c.amin(1) for c in cells]).all(0)


def _windowed(maps: torch.Tensor) -> torch.Tensor:
    """Gaussian means (B, T - 10, F - 10) of the windows within the maps (B, T, F)."""
    place = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    weights = (-0.5 * (place / WINDOW_SIGMA).square()).exp()
    weights = (weights / weights.sum()).tolist()
    # Shifted sums: on a CPU and in float64 faster than a convolution.
    for axis in (1, 2):
        size = maps.shape[axis] - WINDOW + 1
        maps = sum(
            weight * maps.narrow(axis, start, size)
            for start, weight in enumerate(weights)
        )
    return maps
