"""L-MAC's finetuning objective: guidance of the mask by the clean clip.

A trained interpreter is finetuned on noisy clips. Items whose explanation already
resembles the clean clip are guided towards the clean clip, ``lambda_g ||M . X -
X_clean||`` of the slides (docs/methods.md, finetuning), instead of the L1 penalty on
the mask. X and X_clean are representations on the same scale: X_clean is the clean clip
at its level in the mixture.
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
    rep_clean: torch.Tensor  # (B, T, F) of the clean clip, at its level in the mixture


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

    By the cosine similarity of X_clean and M . X, without mean removal, as in the
    public code ("crosscor").

    Arguments
    ---------
    threshold : float
        Minimum similarity, -1 to 1. Published: 0.6, in the user study also 0.7.
    """

    def __init__(self, threshold: float = 0.6) -> None:
        if not -1 <= threshold <= 1:
            raise InputError(
                f"threshold of SimilarExplanations must be in -1..1, got {threshold}"
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
    """Binary cross-entropy of the mask with a binary oracle mask, mean over cells.

    The oracle is 1 where X_clean is at least `threshold` times its maximum, and 0
    elsewhere. The default of the public code ("binary").

    Arguments
    ---------
    threshold : float
        Relative to the maximum of X_clean, above 0 and at most 1. Published: 0.35.

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
                f"threshold of OracleMask must be in (0, 1], got {threshold}"
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
    """Mean squared error between the masked representation and the clean one.

    ||M . X - X_clean||^2 / (T F): the norm of the slides' formula, squared and averaged
    as in the alternative option of the public code.

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
    """Return the mean square (B,) of maps (B, T, F)."""
    return maps.square().mean((1, 2))


class GuidedObjective(WeightedObjective):
    """L-MAC's terms, with guidance in place of the L1 term for selected items.

    `mask_l1` is 0 for items chosen by `selection`; `guidance` is 0 for all other items.
    As terms are per item, the objective of an item does not depend on how many items of
    its batch are selected. (The public code multiplies the mean of |M| over all items
    by the number of items not selected.)

    Arguments
    ---------
    terms, weights : dict
        As for `WeightedObjective`; terms must include `mask_l1`, weights may include
        `guidance` (lambda_g).
    selection : callable
        Maps `GuidedEvidence` to (B,) bool: `SimilarExplanations`.
    guidance : callable
        Maps `GuidedEvidence` to (B,): `OracleMask` or `CleanRepresentation`.
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
        """Return a dict from term to values (B,), with `selected` (0 or 1) added."""
        selected = self.selection(evidence)
        values = super().__call__(evidence)
        values["guidance"] = torch.where(selected, values["guidance"], 0.0)
        values["mask_l1"] = torch.where(selected, 0.0, values["mask_l1"])
        return {**values, "selected": selected.float()}
