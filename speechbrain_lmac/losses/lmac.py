"""L-MAC's training objective: a weighted sum of named terms.

A term is a function of `Evidence` that returns one value per item, (B,). Its name is
also the YAML key of its weight and the name of its curve in the log.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F

from speechbrain_lmac.dsp.pad_crop import score_recordings
from speechbrain_lmac.types import Evidence
from speechbrain_lmac.utils.errors import InputError, check_arguments, check_numbers


def mask_in(evidence: Evidence) -> torch.Tensor:
    """Return the cross-entropy of the target for the masked-in part, (B,), >= 0."""
    return F.cross_entropy(evidence.logits_in, evidence.target, reduction="none")


def mask_out(evidence: Evidence) -> torch.Tensor:
    """Return the negative cross-entropy of the target for the masked-out part, (B,).

    At most 0 and unbounded below; strongly negative if the masked-out part is not
    classified as the target.
    """
    return -F.cross_entropy(evidence.logits_out, evidence.target, reduction="none")


def mask_l1(evidence: Evidence) -> torch.Tensor:
    """Return the mean of the mask over time and frequency, (B,), 0 to 1.

    Padding is excluded.
    """
    return score_recordings(_mean_absolute, evidence.frames, evidence.mask)


def supported_mask_in(evidence: Evidence) -> torch.Tensor:
    """Return `mask_in` times the support of the explained class, (B,), >= 0.

    The explanation of an absent class is not constrained.
    """
    return _support(evidence) * mask_in(evidence)


def supported_mask_out(evidence: Evidence) -> torch.Tensor:
    """Return `mask_out` times the support of the explained class, (B,), <= 0."""
    return _support(evidence) * mask_out(evidence)


def unsupported_mask_in(evidence: Evidence) -> torch.Tensor:
    """Return -(1 - s) log(1 - p_in), (B,), >= 0, with the support s of the class.

    Penalises masks that carve evidence for an absent class out of other sounds.
    Together with `supported_mask_in` it is the binary cross-entropy between s and p_in.
    """
    target = evidence.target[:, None]
    others = evidence.logits_in.scatter(1, target, -math.inf).logsumexp(1)
    log_absent = others - evidence.logits_in.logsumexp(1)  # log(1 - p_in)
    return (1 - _support(evidence)) * -log_absent


def total_variation(evidence: Evidence) -> torch.Tensor:
    """Return the mean absolute difference of neighbouring cells, (B,), >= 0.

    The sum of the means along time and along frequency; 0 along an axis of size 1. The
    padding and the step into it are excluded.
    """
    return score_recordings(_mean_steps, evidence.frames, evidence.mask)


def _support(evidence: Evidence) -> torch.Tensor:
    if evidence.support is None:
        raise ValueError("this term requires Evidence.support, got None")
    return evidence.support


def _mean_absolute(mask: torch.Tensor) -> torch.Tensor:
    return mask.abs().mean((1, 2))


def _mean_steps(mask: torch.Tensor) -> torch.Tensor:
    frames = max((mask.shape[1] - 1) * mask.shape[2], 1)
    bins = max((mask.shape[2] - 1) * mask.shape[1], 1)
    in_time = mask.diff(dim=1).abs().sum((1, 2)) / frames
    in_frequency = mask.diff(dim=2).abs().sum((1, 2)) / bins
    return in_time + in_frequency


class WeightedObjective:
    """A weighted sum of named terms.

    Arguments
    ---------
    terms : dict
        Name to function of `Evidence` that returns (B,).
    weights : dict
        Name to weight. Terms without a weight are only logged.

    Raises
    ------
    InputError
        When a weight belongs to no term or is not finite, or a term has unknown
        arguments.

    Example
    -------
    >>> import torch
    >>> from speechbrain_lmac.types import Evidence
    >>> logits = torch.zeros(1, 4)
    >>> evidence = Evidence(
    ...     torch.full((1, 2, 2), 0.5), torch.tensor([0]), logits, logits, logits
    ... )
    >>> objective = WeightedObjective({"mask_l1": mask_l1}, {"mask_l1": 6.4})
    >>> objective.total(objective(evidence))
    tensor([3.2000])
    """

    def __init__(
        self,
        terms: Mapping[str, Callable[[Any], torch.Tensor]],
        weights: Mapping[str, float],
    ) -> None:
        unknown = sorted(set(weights) - set(terms))
        if unknown:
            raise InputError(
                f"weights of the objective for unknown terms {unknown}; known terms: "
                f"{sorted(terms)}"
            )
        check_numbers(**{f"weight of {name}": weights[name] for name in weights})
        for term in terms.values():
            check_arguments(term)
        self.terms = terms
        self.weights = weights

    def __call__(self, evidence: Any) -> dict[str, torch.Tensor]:
        """Return a dict from the name of each term to its values (B,)."""
        return {name: term(evidence) for name, term in self.terms.items()}

    def total(self, values: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the weighted sum of the terms, (B,); its mean is minimised."""
        weights = {name: weight for name, weight in self.weights.items() if weight}
        terms = (weight * values[name] for name, weight in weights.items())
        return sum(terms, start=torch.zeros(()))
