"""Faithfulness at equal sizes: each method may keep the same share of the cells.

AI, AD and Fid-In grow with the size of a mask, so that a large mask wins by being
large. Here every mask is reduced to its ranking of the cells: the first 1, 2, 5, ...
percent are kept whole, the others not at all, and the usual scores are taken at each
size.
"""

import math
from dataclasses import replace
from itertools import pairwise

import pandas as pd
import torch

from speechbrain_lmac.dsp.pad_crop import join_recordings, recordings
from speechbrain_lmac.evidence import check_mask, gather_evidence
from speechbrain_lmac.metrics import AD, AI, FID_IN, Score
from speechbrain_lmac.metrics.faithfulness import target_probability
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.seeding import generator

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)

P_IN = Score(
    name="p_in",
    higher_is_better=True,
    unit="",
    description="probability of the explained class when only the cells ranked "
    "highest are heard",
)
P_OUT = Score(
    name="p_out",
    higher_is_better=False,
    unit="",
    description="probability of the explained class when the cells ranked highest "
    "are taken out",
)
# What is taken at each size, in the order of `size_curves`.
CURVES = (P_IN, P_OUT, AI, AD, FID_IN)
# The area under each curve, in the order of `size_areas`.
AREAS = tuple(
    Score(
        name=f"{curve.name} area",
        higher_is_better=curve.higher_is_better,
        unit=curve.unit,
        description=f"mean of {curve.name} over the logarithm of the share of cells "
        "that is kept: the area under its curve",
    )
    for curve in CURVES
)


def check_shares(shares: list[float] | tuple[float, ...]) -> None:
    """Raise InputError unless the shares rise, all of them above 0 and at most 1.

    Example
    -------
    >>> check_shares([0.1, 1.5])
    Traceback (most recent call last):
    ...
    speechbrain_lmac.utils.errors.InputError: shares must be numbers above 0 and at \
most 1 that rise, got [0.1, 1.5]
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
            "shares must be numbers above 0 and at most 1 that rise, "
            f"got {list(shares)}"
        )


def ranking(mask: torch.Tensor, seed: int = 1234) -> torch.Tensor:
    """The cells of each mask, the most important first.

    Cells of equal value are in a random order which depends on the seed and on (T, F)
    alone. So the zeros of a sparse mask are random cells, and so is all of a mask of
    ones: the same ones for every method and clip.

    Arguments
    ---------
    mask : torch.Tensor
        Shape (B, T, F), without NaN.
    seed : int
        Of the order of equal cells.

    Returns
    -------
    cells : torch.Tensor
        Places in the flattened mask, shape (B, T F), int64.

    Example
    -------
    >>> ranking(torch.tensor([[[0.2, 0.9], [0.7, 0.0]]]))
    tensor([[1, 2, 0, 3]])
    """
    draw = generator("equal cells", seed, *mask.shape[1:])
    shuffled = torch.randperm(mask[0].numel(), generator=draw).to(mask.device)
    values = mask.flatten(1)[:, shuffled]
    return shuffled[values.argsort(dim=1, descending=True, stable=True)]


def top_cells(cells: torch.Tensor, share: float, shape) -> torch.Tensor:
    """A mask that keeps the first cells of a ranking.

    Arguments
    ---------
    cells : torch.Tensor
        From `ranking`, shape (B, T F).
    share : float
        Of the cells, 0 to 1: exactly round(share T F) are kept.
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
    kept = cells[:, : round(share * cells.shape[1])]
    mask = torch.zeros(cells.shape, device=cells.device)
    return mask.scatter_(1, kept, 1.0).unflatten(1, tuple(shape))


def size_curves(
    domain,
    classifier,
    explanation,
    shares: list[float] | tuple[float, ...] = SHARES,
    seed: int = 1234,
) -> dict[str, torch.Tensor]:
    """Scores of the cells that a mask ranks highest, at each size.

    The kept and the left out cells are heard one share after the other
    (`evidence.gather_evidence`), so that memory does not grow with their number. A
    share is one of the cells that hold recording; padding is never kept.

    Arguments
    ---------
    domain : MaskDomain
    classifier : Classifier
    explanation : Explanation
        Only the order of its mask's values counts. Where a mask has a NaN there is
        no order, and all scores of this clip are NaN.
    shares : sequence
        S shares of the cells, above 0 and at most 1, rising.
    seed : int
        Of the order of equal cells, see `ranking`.

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
    columns = {score.name: [] for score in CURVES}
    for share in shares:
        kept = join_recordings(
            [
                top_cells(ranked, share, part.shape[1:])
                for ranked, part in zip(cells, parts, strict=True)
            ],
            mask.shape[1],
        )
        kept = kept.masked_fill(undefined[:, None, None], math.nan)
        evidence = gather_evidence(domain, classifier, replace(explanation, mask=kept))
        values = (
            target_probability(evidence.logits_in, evidence.target),
            target_probability(evidence.logits_out, evidence.target),
            *(metric(evidence) for metric in (AI, AD, FID_IN)),
        )
        for score, value in zip(CURVES, values, strict=True):
            columns[score.name].append(value)
    return {name: torch.stack(column, 1) for name, column in columns.items()}


def area_under_curve(
    values: torch.Tensor, shares: list[float] | tuple[float, ...]
) -> torch.Tensor:
    """Mean of a score over the logarithm of the kept share.

    Trapezoids over ln(share), divided by the width of the axis: a curve that is v
    everywhere has the area v, so that an area has the unit and the range of its
    score. On a linear axis the step from 20 to 50 % would outweigh all smaller sizes
    together, which are those of explanations.

    Arguments
    ---------
    values : torch.Tensor
        Shape (B, S).
    shares : sequence
        The S shares, at least 2.

    Returns
    -------
    area : torch.Tensor
        Shape (B,), float64; NaN where one of the values is.

    Example
    -------
    >>> area_under_curve(torch.tensor([[0.0, 1.0, 1.0]]), [0.01, 0.1, 1.0])
    tensor([0.7500], dtype=torch.float64)
    """
    check_shares(shares)
    if len(shares) < 2 or values.shape[1:] != (len(shares),):
        raise ValueError(
            f"values must have a column for each of at least 2 shares, got "
            f"{tuple(values.shape)} for {len(shares)}"
        )
    axis = torch.tensor(shares, dtype=torch.float64, device=values.device).log()
    return torch.trapezoid(values.double(), axis, dim=1) / (axis[-1] - axis[0])


def size_areas(
    curves: dict[str, torch.Tensor], shares: tuple[float, ...] = SHARES
) -> dict[str, torch.Tensor]:
    """The area under each curve.

    Arguments
    ---------
    curves : dict
        From `size_curves`.
    shares : sequence
        What it was given.

    Returns
    -------
    areas : dict
        Name of each of `AREAS` to its values, (B,).
    """
    return {
        area.name: area_under_curve(curves[curve.name], shares)
        for area, curve in zip(AREAS, CURVES, strict=True)
    }


def curve_table(
    ids: list[str], curves: dict[str, torch.Tensor], shares: list[float] = SHARES
) -> pd.DataFrame:
    """The curves of a batch as a table.

    Returns
    -------
    table : pandas.DataFrame
        One row per clip and share with the columns `id share` and each of `CURVES`.
    """
    columns = {
        "id": [clip for clip in ids for _ in shares],
        "share": [float(share) for _ in ids for share in shares],
    }
    for name, values in curves.items():
        columns[name] = values.flatten().cpu().numpy()
    return pd.DataFrame(columns)
