"""Size and sparsity of masks.

One score per clip, from the mask (B, T, F) alone, in float64. Sparseness and complexity
of an `empty` mask, 0 everywhere, are NaN, as are all scores of a mask with a NaN.
"""

import torch


def sparseness(mask: torch.Tensor) -> torch.Tensor:
    """Return the Gini index of each mask (SPS in tables; Chalasani et al. 2020).

    sum_i (2i - N - 1) a_(i) / (N sum_i a_i), with a = |mask| of N cells, in
    ascending order, i from 1 to N.

    Quantus 0.6 first adds 1e-7 of the maximum to every cell. The scores differ by less
    than 1e-5 if the mean exceeds 1 % of the maximum; a mask with one non-zero cell of
    221103 (a clip of 5 s) scores 1.000 here and 0.978 in Quantus.

    Arguments
    ---------
    mask : torch.Tensor
        Shape (B, T, F).

    Returns
    -------
    sparseness : torch.Tensor
        Shape (B,), 0 (all cells equal) to 1 - 1/N (one cell). Higher is better.

    Example
    -------
    >>> masks = torch.tensor([[[0.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.5, 0.5]]])
    >>> sparseness(masks)
    tensor([0.7500, 0.0000], dtype=torch.float64)
    """
    cells = _cells(mask).sort(1).values  # (B, N)
    n = cells.shape[1]
    rank = torch.arange(1, n + 1, dtype=cells.dtype, device=cells.device)
    return ((2 * rank - n - 1) * cells).sum(1) / (n * cells.sum(1))


def complexity(mask: torch.Tensor) -> torch.Tensor:
    """Return the entropy of each mask in nats (COMP in tables; Bhatt et al. 2020).

    - sum_i q_i ln q_i, with q = |mask| / sum |mask|, and 0 ln 0 = 0.

    Arguments
    ---------
    mask : torch.Tensor
        Shape (B, T, F).

    Returns
    -------
    complexity : torch.Tensor
        Shape (B,), 0 (one cell) to ln N (all cells equal). Lower is better.

    Example
    -------
    >>> masks = torch.tensor([[[0.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.5, 0.5]]])
    >>> complexity(masks)  # ln 4 = 1.3863
    tensor([0.0000, 1.3863], dtype=torch.float64)
    """
    cells = _cells(mask)
    return torch.special.entr(cells / cells.sum(1, keepdim=True)).sum(1)


def mask_mean(mask: torch.Tensor) -> torch.Tensor:
    """Return the mean of each mask (MM of LMAC-ZS), 0 to 1.

    Neither higher nor lower is better, but AI, AD and FF must be read together with it:
    an all-ones mask loses no confidence.

    Arguments
    ---------
    mask : torch.Tensor
        Shape (B, T, F).

    Returns
    -------
    mean : torch.Tensor
        Shape (B,).

    Example
    -------
    >>> mask_mean(torch.tensor([[[0.0, 0.0], [0.0, 1.0]]]))
    tensor([0.2500], dtype=torch.float64)
    """
    return mask.double().flatten(1).mean(1)


def empty(mask: torch.Tensor) -> torch.Tensor:
    """Return whether each mask (B, T, F) is 0 everywhere, shape (B,), bool.

    A NaN is not 0.

    Example
    -------
    >>> empty(torch.tensor([[[0.0, 0.0]], [[0.0, 0.1]]]))
    tensor([ True, False])
    """
    return (mask == 0).flatten(1).all(1)


def _cells(mask: torch.Tensor) -> torch.Tensor:
    """Return |mask| of every cell, (B, N), float64."""
    return mask.double().abs().flatten(1)
