"""The finetuning stage of L-MAC: a mask that also looks like the clean sound.

A trained interpreter goes on learning on clips with noise. Where its explanation
resembles the clip under the noise, it is guided towards that clip in place of being
kept small: ``lambda_g ||M . X - X_clean||`` of the slides (docs/methods.md,
finetuning). X and X_clean are representations of the domain, on one scale: X_clean is
the clip as it is in the mixture.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from speechbrain_lmac.dsp.pad_crop import score_recordings
from speechbrain_lmac.losses.lmac import WeightedObjective
from speechbrain_lmac.types import Evidence
from speechbrain_lmac.utils.errors import InputError


@dataclass(frozen=True, kw_only=True)
class GuidedEvidence(Evidence):
    """Evidence, and what the mask multiplied, with and without noise."""

    rep: torch.Tensor  # (B, T, F) of what was heard
    rep_clean: torch.Tensor  # (B, T, F) of the clip in it, at its level there


def cosine_similarity(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """First times second over the product of their norms, per item.

    Arguments
    ---------
    first, second : torch.Tensor
        Shape (B, T, F).

    Returns
    -------
    similarity : torch.Tensor
        Shape (B,), -1 to 1, from 0 on where neither has a negative cell; 0 where one
        of them is 0 everywhere.

    Example
    -------
    >>> cosine_similarity(torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[4.0, 3.0]]]))
    tensor([0.9600])
    """
    return F.cosine_similarity(first.flatten(1), second.flatten(1), dim=1)


class SimilarExplanations:
    """Guide the clips whose explanation resembles the clean clip already.

    The cosine similarity between X_clean and M . X, without centring, as in the public
    code ("crosscor").

    Arguments
    ---------
    threshold : float
        Smallest similarity, -1 to 1. Published: 0.6; also 0.7 in the user study.
    """

    def __init__(self, threshold: float = 0.6):
        if not -1 <= threshold <= 1:
            raise InputError(
                f"threshold of a cosine similarity must be -1 to 1, got {threshold}"
            )
        self.threshold = threshold

    def __call__(self, evidence: GuidedEvidence) -> torch.Tensor:
        """Which items are guided, (B,), bool."""
        masked = evidence.mask.detach() * evidence.rep
        similarity = score_recordings(
            cosine_similarity, evidence.frames, evidence.rep_clean, masked
        )
        return similarity >= self.threshold


class OracleMask:
    """Binary cross-entropy between the mask and a binary oracle mask, per item.

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

    def __init__(self, threshold: float = 0.35):
        if not 0 < threshold <= 1:
            raise InputError(
                "threshold of the oracle mask must be above 0 and at most 1, "
                f"got {threshold}"
            )
        self.threshold = threshold

    def __call__(self, evidence: GuidedEvidence) -> torch.Tensor:
        """The cross-entropy of each item, (B,), >= 0."""
        return score_recordings(
            self.entropy, evidence.frames, evidence.mask, evidence.rep_clean
        )

    def entropy(self, mask: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
        """Of masks and clean representations, (B, T, F) each."""
        oracle = clean >= self.threshold * clean.amax((1, 2), keepdim=True)
        # A mask may miss 0 or 1 by rounding, where the entropy has no value.
        mask = mask.float().clamp(0, 1)
        with torch.autocast(mask.device.type, enabled=False):
            entropy = F.binary_cross_entropy(mask, oracle.float(), reduction="none")
        return entropy.mean((1, 2))


class CleanRepresentation:
    """The squared distance of the explanation from the clean clip, per item.

    ||M . X - X_clean||^2 over the number of cells: the norm of the slides' formula,
    squared and averaged as the public code's other option has it.

    Example
    -------
    >>> mask, rep = torch.full((1, 1, 2), 0.5), torch.tensor([[[2.0, 4.0]]])
    >>> clean = torch.tensor([[[1.0, 0.0]]])
    >>> evidence = GuidedEvidence(mask, *[None] * 4, rep=rep, rep_clean=clean)
    >>> CleanRepresentation()(evidence)  # (0 + 2^2) / 2
    tensor([2.])
    """

    def __call__(self, evidence: GuidedEvidence) -> torch.Tensor:
        """The mean squared error of each item, (B,), >= 0."""
        error = evidence.mask * evidence.rep - evidence.rep_clean
        return score_recordings(mean_square, evidence.frames, error)


def mean_square(maps: torch.Tensor) -> torch.Tensor:
    """The mean of the squares of maps (B, T, F), (B,)."""
    return maps.square().mean((1, 2))


class GuidedObjective(WeightedObjective):
    """L-MAC's terms, with guidance in place of smallness for some items.

    Items that `selection` takes have the term `guidance` and no `mask_l1`; the others
    have it the other way round. Every term is one value per item, so the objective
    does not depend on how many of a batch are selected. (The public code multiplies a
    mean over all items of |M| with the number of those that are not selected.)

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
        terms: dict,
        weights: dict,
        selection: SimilarExplanations,
        guidance: CleanRepresentation | OracleMask,
    ):
        super().__init__({**terms, "guidance": guidance}, weights)
        self.selection = selection

    def __call__(self, evidence: GuidedEvidence) -> dict[str, torch.Tensor]:
        """Each term for each item, and whether it is `selected`: a dict of (B,)."""
        selected = self.selection(evidence)
        values = super().__call__(evidence)
        values["guidance"] = torch.where(selected, values["guidance"], 0.0)
        values["mask_l1"] = torch.where(selected, 0.0, values["mask_l1"])
        return {**values, "selected": selected.float()}
