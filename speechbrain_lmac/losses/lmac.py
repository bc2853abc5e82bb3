"""What an interpreter is trained for: named terms of `Evidence`, and their weights.

A term is a function of `Evidence` that returns one value per item, (B,). The
weight of a term, its curve in the log and its key share one name.
"""

import math

import torch
import torch.nn.functional as F

from speechbrain_lmac.dsp.pad_crop import score_recordings
from speechbrain_lmac.utils.errors import InputError, check_arguments, check_numbers


def mask_in(evidence) -> torch.Tensor:
    """Cross-entropy of the explained class on the masked-in part, (B,), >= 0."""
    return F.cross_entropy(evidence.logits_in, evidence.target, reduction="none")


def mask_out(evidence) -> torch.Tensor:
    """Minus the cross-entropy on the masked-out part, (B,), <= 0, not bounded below.

    Small when what remains no longer lets the class be recognised.
    """
    return -F.cross_entropy(evidence.logits_out, evidence.target, reduction="none")


def mask_l1(evidence) -> torch.Tensor:
    """Mean of the mask over time and frequency, (B,), 0 to 1, without the padding."""
    return score_recordings(_mean_size, evidence.frames, evidence.mask)


def supported_mask_in(evidence) -> torch.Tensor:
    """`mask_in` times the support of the explained class, (B,), >= 0.

    Nothing is wanted of the explanation of a class that is not there.
    """
    return evidence.support * mask_in(evidence)


def supported_mask_out(evidence) -> torch.Tensor:
    """`mask_out` times the support of the explained class, (B,), <= 0."""
    return evidence.support * mask_out(evidence)


def unsupported_mask_in(evidence) -> torch.Tensor:
    """Minus the log-probability that the masked-in part is not the class, (B,), >= 0.

    -(1 - s) log(1 - p_in), with the support s of the explained class: a mask can make
    some sounds of others, and shall not where the class is not there. With
    `supported_mask_in` it is the cross-entropy between s and p_in.
    """
    target = evidence.target[:, None]
    others = evidence.logits_in.scatter(1, target, -math.inf).logsumexp(1)
    missing = others - evidence.logits_in.logsumexp(1)
    return (1 - evidence.support) * -missing


def total_variation(evidence) -> torch.Tensor:
    """Mean absolute step between neighbouring cells, in time plus in frequency, (B,).

    A mask of one frame or one bin has no neighbours there: that part is 0. Neither the
    padding nor the step into it counts.
    """
    return score_recordings(_mean_steps, evidence.frames, evidence.mask)


def _mean_size(mask: torch.Tensor) -> torch.Tensor:
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
        Name to weight. A term without a weight is logged only.

    Raises
    ------
    InputError
        When a weight belongs to no term or is no finite number, or a term does not take
        an argument.

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

    def __init__(self, terms: dict, weights: dict):
        unknown = sorted(set(weights) - set(terms))
        if unknown:
            raise InputError(
                f"weights of the objective name unknown terms {unknown}; "
                f"the terms are {sorted(terms)}"
            )
        check_numbers(**{f"weight of {name}": weights[name] for name in weights})
        for term in terms.values():
            check_arguments(term)
        self.terms = terms
        self.weights = weights

    def __call__(self, evidence) -> dict[str, torch.Tensor]:
        """Each term for each item: a dict of (B,)."""
        return {name: term(evidence) for name, term in self.terms.items()}

    def total(self, values: dict[str, torch.Tensor]) -> torch.Tensor:
        """The weighted sum for each item, (B,); its mean is minimised."""
        weights = {name: weight for name, weight in self.weights.items() if weight}
        return sum(weight * values[name] for name, weight in weights.items())
