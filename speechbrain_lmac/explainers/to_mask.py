"""Mappings from attributions, of any sign and scale, to masks in 0..1.

Metrics depend on the mapping, so each one is named explicitly in the YAML. They are
ours: the papers publish none (docs/methods.md, baselines).

Both divide by a high quantile of the clip's map and clip at 1. If the quantile is 0,
cells above 0 become 1 (the limit for a vanishing quantile), so nothing is divided by 0.
A map without positive cells gives an empty mask, and NaN stays NaN; the evaluation
counts both.
"""

import math
from collections.abc import Callable

import torch

from speechbrain_lmac.utils.errors import InputError

# Attributions (B, T, F) of any sign to masks (B, T, F) in 0..1.
ToMask = Callable[[torch.Tensor], torch.Tensor]


def absolute(attribution: torch.Tensor, quantile: float = 1.0) -> torch.Tensor:
    """Return min(1, |a| / quantile of |a|): evidence for or against the class.

    Arguments
    ---------
    attribution : torch.Tensor
        Shape (B, T, F), of any sign and scale.
    quantile : float
        Quantile over the cells of a clip, in (0, 1]; 1 is the maximum.

    Returns
    -------
    mask : torch.Tensor
        Shape (B, T, F), in 0..1.

    Example
    -------
    >>> import torch
    >>> absolute(torch.tensor([[[-4.0, 1.0, 0.0, 2.0]]]))
    tensor([[[1.0000, 0.2500, 0.0000, 0.5000]]])
    >>> absolute(torch.tensor([[[-4.0, 1.0, 0.0, 2.0]]]), quantile=0.75)
    tensor([[[1.0000, 0.5000, 0.0000, 1.0000]]])
    """
    return _by_quantile(attribution.abs(), quantile)


def positive(attribution: torch.Tensor, quantile: float = 1.0) -> torch.Tensor:
    """Return min(1, max(a, 0) / quantile of max(a, 0)): evidence for the class.

    Arguments and result as for `absolute`, shape (B, T, F).

    Example
    -------
    >>> import torch
    >>> positive(torch.tensor([[[-4.0, 1.0, 0.0, 2.0]]]))
    tensor([[[0.0000, 0.5000, 0.0000, 1.0000]]])
    >>> positive(torch.tensor([[[-4.0, -1.0]]]))
    tensor([[[0., 0.]]])
    """
    return _by_quantile(attribution.clamp(min=0), quantile)


def _by_quantile(values: torch.Tensor, quantile: float) -> torch.Tensor:
    """Return min(1, values / quantile of the clip) for values (B, T, F) >= 0."""
    if not 0 < quantile <= 1:
        raise InputError(f"quantile must be in (0, 1], got {quantile}")
    cells = values.flatten(1)
    rank = max(1, math.ceil(quantile * cells.shape[1]))
    level = cells.kthvalue(rank, dim=1).values[:, None, None]
    is_zero = level == 0  # False for NaN, which stays NaN
    scaled = (values / level.masked_fill(is_zero, 1)).clamp(max=1)
    return scaled.where(~is_zero, values.sign())
