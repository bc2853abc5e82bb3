"""L-MAC's finetuning objective: guidance of the mask by the clean clip.

A trained interpreter is trained further on noisy clips. Where its explanation resembles
the clean clip, it is guided towards that clip in place of being kept small: ``lambda_g
||M . X - X_clean||`` of the slides (docs/methods.md, finetuning). X and X_clean are
representations of the domain, on one scale: X_clean is the clip at its level in the
mixture.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from speechbrain_lmac.dsp.pad_crop import score_recordings
from speechbrain_lmac.losses.lmac import WeightedObjective
from speechbrain_lmac.types import Evidence
from speechbrain_lmac.utils.errors import InputError


@dataclass(frozen=True, kw_only=True)
class GuidedEvidence(Evidence):
    """Evidence with the representations of the noisy and of the clean clip."""

    rep: torch.Tensor  # (B, T, F) of the noisy clip
    rep_clean: torch.Tensor  # (B, T, F) of the clean clip, at its level in it


def cosine_similarity(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the cosine similarity of two maps, per item.

    Arguments
    ---------
    first, second : torch.Tensor
        Shape (B, T, F).

    Returns
    -------
    similarity : torch.Tensor
        Shape (B,), -1 to 1, at least 0 where no cell is negative; 0 where one map is 0
        everywhere.

    Example
    -------
    >>> cosine_similarity(torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[4.0, 3.0]]]))
    tensor([0.9600])
    """
    return F.cosine_similarity(first.flatten(1), second.flatten(1), dim=1)


class SimilarExplanations:
    """Select the clips whose explanation already resembles the clean clip.

    The cosine similarity between X_clean and M . X, without centring, as in the public
    code ("crosscor").

    Arguments
    ---------
    threshold : float
        Smallest similarity, -1 to 1. Published: 0.6; also 0.7 in the user study.
    """

    def __init__(self, threshold: float = 0.6) -> None:
        if not -1 <= threshold <= 1:
            raise InputError(
                f"threshold of SimilarExplanations must be -1 to 1, got {threshold}"
            )
        self.threshold = threshold

    def __call__(self, evidence: GuidedEvidence) -> torch.Tensor:
        """Return which items are guided, (B,), bool."""
        masked = evidence.mask.detach() * evidence.rep
        similarity = score_recordings(
            cosine_similarity, evidence.frames, evidence.rep_clean, masked
        )
        return similarity >= self.threshold


class OracleMask:
    """Binary cross-entropy of the mask with a binary oracle mask, per item.

    The oracle is 1 where X_clean reaches `threshold` times its largest cell, and 0
    elsewhere; the mean over the cells. The default of the public code ("binary").

    Arguments
    ---------
    threshold : float
        Of the clip's largest cell, above 0 and at most 1. Published: 0.35.

    Example
    -------
    >>> mask = torch.full((1, 1, 2), 0.5)
    >>> clean = torch.tensor([[[1.0, 0.1]]])
    >>> evidence = GuidedEvidence(mask, *[None] * 4, rep=clean, rep_clean=clean)
    >>> OracleMask(0.35)(evidence)  # ln 2
    tensor([0.6931])
    """

    def __init__(self, threshold: float = 0.35) -> None:
        if not 0 < threshold <= 1:
            raise InputError(
                f"threshold of OracleMask must be above 0, at most 1, got {threshold}"
            )
        self.threshold = threshold

    def __call__(self, evidence: GuidedEvidence) -> torch.Tensor:
        """Return the cross-entropy of each item, (B,), >= 0."""
        return score_recordings(
            self.entropy, evidence.frames, evidence.mask, evidence.rep_clean
        )

    def entropy(self, mask: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy (B,) of masks and clean maps, (B, T, F) each."""
        oracle = clean >= self.threshold * clean.amax((1, 2), keepdim=True)
        # Rounding can put a mask outside [0, 1], where the entropy is undefined.
        mask = mask.float().clamp(0, 1)
        with torch.autocast(mask.device.type, enabled=False):
            entropy = F.binary_cross_entropy(mask, oracle.float(), reduction="none")
        return entropy.mean((1, 2))


class CleanRepresentation:
    """Mean squared error of the explanation and the clean clip, per item.

    ||M . X - X_clean||^2 over the number of cells: the norm of the slides' formula,
    squared and averaged as in the public code's other option.

    Example
    -------
    >>> mask, rep = torch.full((1, 1, 2), 0.5), torch.tensor([[[2.0, 4.0]]])
    >>> clean = torch.tensor([[[1.0, 0.0]]])
    >>> evidence = GuidedEvidence(mask, *[None] * 4, rep=rep, rep_clean=clean)
    >>> CleanRepresentation()(evidence)  # (0 + 2^2) / 2
    tensor([2.])
    """

    def __call__(self, evidence: GuidedEvidence) -> torch.Tensor:
        """Return the mean squared error of each item, (B,), >= 0."""
        error = evidence.mask * evidence.rep - evidence.rep_clean
        return score_recordings(mean_square, evidence.frames, error)


def mean_square(maps: torch.Tensor) -> torch.Tensor:
    """Return the mean of the squares of maps (B, T, F), (B,)."""
    return maps.square().mean((1, 2))


class GuidedObjective(WeightedObjective):
    """L-MAC's terms, with guidance in place of the L1 term for selected items.

    Items that `selection` selects have the term `guidance` and no `mask_l1`; the others
    have `mask_l1` and no `guidance`. Every term is one value per item, so the objective
    does not depend on how many of a batch are selected. (The public code multiplies a
    mean of |M| over all items with the number of items that are not selected.)

    Arguments
    ---------
    terms, weights : dict
        As `WeightedObjective`; `mask_l1` among the terms. The weight of `guidance` is
        lambda_g.
    selection : callable
        `GuidedEvidence` to (B,), bool: `SimilarExplanations`.
    guidance : callable
        `GuidedEvidence` to (B,): `OracleMask` or `CleanRepresentation`.
    """

    def __init__(
        self,
        terms: Mapping[str, Callable[[Any], torch.Tensor]],
        weights: Mapping[str, float],
        selection: Callable[[GuidedEvidence], torch.Tensor],
        guidance: Callable[[GuidedEvidence], torch.Tensor],
    ) -> None:
        super().__init__({**terms, "guidance": guidance}, weights)
        self.selection = selection

    def __call__(self, evidence: GuidedEvidence) -> dict[str, torch.Tensor]:
        """Return each term for each item, and `selected` (0 or 1): a dict of (B,)."""
        selected = self.selection(evidence)
        values = super().__call__(evidence)
        values["guidance"] = torch.where(selected, values["guidance"], 0.0)
        values["mask_l1"] = torch.where(selected, 0.0, values["mask_l1"])
        return {**values, "selected": selected.float()}
