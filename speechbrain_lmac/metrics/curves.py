"""Faithfulness at equal mask sizes.

AI, AD and Fid-In improve as a mask grows. Here only the ranking of the cells by the
mask is used: the top 1, 2, 5, ... percent of the cells are kept, the others removed,
and the scores are computed at each size.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import torch

from speechbrain_lmac.dsp.pad_crop import join_recordings, recordings
from speechbrain_lmac.evidence import check_mask, gather_evidence
from speechbrain_lmac.metrics import AD, AI, FID_IN, Score
from speechbrain_lmac.metrics.faithfulness import target_probability
from speechbrain_lmac.types import Classifier, Explanation, MaskDomain
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.seeding import generator

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)

P_IN = Score(
    name="p_in",
    higher_is_better=True,
    unit="",
    description="probability of the explained class given only the top-ranked cells",
)
P_OUT = Score(
    name="p_out",
    higher_is_better=False,
    unit="",
    description="probability of the explained class without the top-ranked cells",
)
# The scores at each size, in the order of `size_curves`.
CURVES = (P_IN, P_OUT, AI, AD, FID_IN)
# The area under each curve, in the order of `size_areas`.
AREAS = tuple(
    Score(
        name=f"{curve.name} area",
        higher_is_better=curve.higher_is_better,
        unit=curve.unit,
        description=f"area under the curve of {curve.name} over the logarithm of the "
        "share of kept cells, normalised to the range of the score",
    )
    for curve in CURVES
)


def check_shares(shares: Sequence[float]) -> None:
    """Raise InputError unless the shares increase and lie in (0, 1].

    Example
    -------
    >>> check_shares([0.1, 1.5])
    Traceback (most recent call last):
    ...
    speechbrain_lmac.utils.errors.InputError: shares must be increasing numbers above \
0 and at most 1, got [0.1, 1.5]
    """
    numbers = all(
        isinstance(share, (int, float)) and not isinstance(share, bool)
        for share in shares
    )
    if (
        not len(shares)
        or not numbers
        or not all(0 < share <= 1 for share in shares)
        or not all(low < high for low, high in pairwise(shares))
    ):
        raise InputError(
            "shares must be increasing numbers above 0 and at most 1, "
            f"got {list(shares)}"
        )


def ranking(mask: torch.Tensor, seed: int = 1234) -> torch.Tensor:
    """Return the indices of each mask's cells, the most important first.

    Ties are in random order, the same for every method and clip: it depends only on the
    seed and (T, F).

    Arguments
    ---------
    mask : torch.Tensor
        Shape (B, T, F), without NaN.
    seed : int
        Seed of the order of ties.

    Returns
    -------
    cells : torch.Tensor
        Indices into the flattened mask, shape (B, T F), int64.

    Example
    -------
    >>> ranking(torch.tensor([[[0.2, 0.9], [0.7, 0.0]]]))
    tensor([[1, 2, 0, 3]])
    """
    draw = generator("equal cells", seed, *mask.shape[1:])
    shuffled = torch.randperm(mask[0].numel(), generator=draw).to(mask.device)
    values = mask.flatten(1)[:, shuffled]
    return shuffled[values.argsort(dim=1, descending=True, stable=True)]


def top_cells(cells: torch.Tensor, share: float, shape: Sequence[int]) -> torch.Tensor:
    """Return a binary mask of the top-ranked cells.

    Arguments
    ---------
    cells : torch.Tensor
        From `ranking`, shape (B, T F).
    share : float
        Share of the cells, 0 to 1: exactly round(share T F) are kept.
    shape : tuple
        (T, F).

    Returns
    -------
    mask : torch.Tensor
        Shape (B, T, F), 1 where a cell is kept and 0 elsewhere, float32.

    Example
    -------
    >>> top_cells(torch.tensor([[1, 2, 0, 3]]), 0.5, (2, 2))
    tensor([[[0., 1.],
             [1., 0.]]])
    """
    first = cells[:, : round(share * cells.shape[1])]
    mask = torch.zeros(cells.shape, device=cells.device)
    return mask.scatter_(1, first, 1.0).unflatten(1, tuple(shape))


def size_curves(
    domain: MaskDomain,
    classifier: Classifier,
    explanation: Explanation,
    shares: Sequence[float] = SHARES,
    seed: int = 1234,
) -> dict[str, torch.Tensor]:
    """Return the scores of a mask's top-ranked cells, for each share.

    The classifier runs on the kept and on the removed cells, one share at a time
    (`evidence.gather_evidence`): memory does not grow with the number of shares. Shares
    are relative to the unpadded cells; padding is never kept.

    Arguments
    ---------
    domain : MaskDomain
    classifier : Classifier
    explanation : Explanation
        Only the order of the values of its mask (B, T, F) matters. All scores of a clip
        whose mask has a NaN are NaN.
    shares : sequence of float
        S increasing shares of kept cells, above 0 and at most 1.
    seed : int
        Seed of the order of ties, see `ranking`.

    Returns
    -------
    curves : dict
        Name of each of `CURVES` to its scores, (B, S), float64.
    """
    check_shares(shares)
    check_mask(explanation.mask, explanation.encoded.rep)
    mask = explanation.mask.detach()
    undefined = mask.isnan().flatten(1).any(1)
    parts = recordings(explanation.encoded.frames, mask.nan_to_num())
    cells = [ranking(part, seed) for part in parts]
    columns: dict[str, list[torch.Tensor]] = {score.name: [] for score in CURVES}
    for share in shares:
        top = join_recordings(
            [
                top_cells(ranked, share, part.shape[1:])
                for ranked, part in zip(cells, parts, strict=True)
            ],
            mask.shape[1],
        )
        top = top.masked_fill(undefined[:, None, None], math.nan)
        evidence = gather_evidence(domain, classifier, replace(explanation, mask=top))
        values = (
            target_probability(evidence.logits_in, evidence.target),
            target_probability(evidence.logits_out, evidence.target),
            *(metric(evidence) for metric in (AI, AD, FID_IN)),
        )
        for score, value in zip(CURVES, values, strict=True):
            columns[score.name].append(value)
    return {name: torch.stack(column, 1) for name, column in columns.items()}


def area_under_curve(values: torch.Tensor, shares: Sequence[float]) -> torch.Tensor:
    """Return the normalised area under a curve over the logarithm of the share.

    By the trapezoidal rule over ln(share), divided by the length of the axis: a
    constant curve v has area v, so an area has the unit and range of its score. On a
    linear axis the interval from 20 to 50 % would outweigh all smaller sizes, at which
    explanations are useful.

    Arguments
    ---------
    values : torch.Tensor
        Shape (B, S).
    shares : sequence
        The S increasing shares, at least 2.

    Returns
    -------
    area : torch.Tensor
        Shape (B,), float64; NaN where any value is NaN.

    Raises
    ------
    ValueError
        When there are fewer than 2 shares, or not one column of values per share.

    Example
    -------
    >>> area_under_curve(torch.tensor([[0.0, 1.0, 1.0]]), [0.01, 0.1, 1.0])
    tensor([0.7500], dtype=torch.float64)
    """
    check_shares(shares)
    if len(shares) < 2 or values.shape[1:] != (len(shares),):
        raise ValueError(
            "values must have shape (B, S) with S >= 2 the number of shares, got "
            f"{tuple(values.shape)} for {len(shares)} shares"
        )
    axis = torch.tensor(shares, dtype=torch.float64, device=values.device).log()
    return torch.trapezoid(values.double(), axis, dim=1) / (axis[-1] - axis[0])


def size_areas(
    curves: dict[str, torch.Tensor], shares: Sequence[float] = SHARES
) -> dict[str, torch.Tensor]:
    """Return the area under each curve.

    Arguments
    ---------
    curves : dict
        From `size_curves`: name to scores (B, S).
    shares : sequence
        Its S shares.

    Returns
    -------
    areas : dict
        Name of each of `AREAS` to its values, (B,), float64.
    """
    return {
        area.name: area_under_curve(curves[curve.name], shares)
        for area, curve in zip(AREAS, CURVES, strict=True)
    }


def curve_table(
    ids: Sequence[str],
    curves: dict[str, torch.Tensor],
    shares: Sequence[float] = SHARES,
) -> pd.DataFrame:
    """Return the curves of a batch as a table.

    Arguments
    ---------
    ids : sequence
        B ids of clips.
    curves : dict
        From `size_curves`: name to scores (B, S).
    shares : sequence
        Its S shares.

    Returns
    -------
    table : pandas.DataFrame
        One row per clip and share with the columns `id share` and each of `CURVES`.
    """
    columns: dict[str, list | np.ndarray] = {
        "id": [clip for clip in ids for _ in shares],
        "share": [float(share) for _ in ids for share in shares],
    }
    for name, values in curves.items():
        columns[name] = values.flatten().cpu().numpy()
    return pd.DataFrame(columns)
