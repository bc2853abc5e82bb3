"""Ideal masks of known sources."""

import torch

# A power |S|^2 below which a cell of a stem is silent. A stem of 16 bit has 1e-8 of
# rounding noise in every cell; the domains' floor at digital silence is 1e-14, or
# 1e-12 where a mel band adds up the magnitudes of ten bins, 1e-7 each.
SILENT_POWER = 1e-10


def ideal_ratio_mask(
    foreground: torch.Tensor, background: torch.Tensor, exponent: float = 2.0
) -> torch.Tensor:
    """Return the foreground's share of the power in each cell.

    |S_f|^2 / (|S_f|^2 + |S_b|^2), the ideal ratio mask of Wang, Narayanan and Wang
    2014 without their square root (their beta is 1, not 0.5; it is not `exponent`); 0
    where both stems are silent (`SILENT_POWER`).

    Arguments
    ---------
    foreground, background : torch.Tensor
        Magnitudes |S_f|, |S_b| of the stems, shape (B, T, F).
    exponent : float
        Exponent of the magnitudes, above 0. 2: shares of the power; 1: shares of the
        magnitude, |S_f| / (|S_f| + |S_b|).

    Returns
    -------
    mask : torch.Tensor
        Shape (B, T, F), 0 to 1, float64.

    Example
    -------
    >>> ideal_ratio_mask(torch.tensor([[[3.0, 0.0]]]), torch.tensor([[[1.0, 0.0]]]))
    tensor([[[0.9000, 0.0000]]], dtype=torch.float64)
    >>> ideal_ratio_mask(torch.tensor([[[3.0]]]), torch.tensor([[[1.0]]]), exponent=1)
    tensor([[[0.7500]]], dtype=torch.float64)
    """
    if background.shape != foreground.shape:
        raise ValueError(
            f"background must have the shape of foreground {tuple(foreground.shape)}, "
            f"got {tuple(background.shape)}"
        )
    foreground, background = foreground.double(), background.double()
    power = foreground.square()
    total = power + background.square()
    if exponent != 2:
        power = foreground.pow(exponent)
        shares = power / (power + background.pow(exponent))
    else:
        shares = power / total
    return torch.where(total < SILENT_POWER, 0.0, shares)
