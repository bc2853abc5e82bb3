"""What an interpreter is trained for: named terms of `Evidence`, and their weights.

A term is a function of `Evidence` that returns one value per item, (B,). The
weight of a term, its curve in the log and its key share one name.
"""

import torch.nn.functional as F

from speechbrain_lmac.errors import InputError


def mask_in(evidence):
    """Cross-entropy of the explained class on the masked-in part, (B,), >= 0."""
    return F.cross_entropy(evidence.logits_in, evidence.target, reduction="none")


def mask_out(evidence):
    """Minus the cross-entropy on the masked-out part, (B,), <= 0, not bounded below.

    Small when what remains no longer lets the class be recognised.
    """
    return -F.cross_entropy(evidence.logits_out, evidence.target, reduction="none")


def mask_l1(evidence):
    """Mean of the mask over time and frequency, (B,), 0 to 1."""
    return evidence.mask.abs().mean((1, 2))


def total_variation(evidence):
    """Mean absolute step between neighbouring cells, in time plus in frequency, (B,).

    A mask of one frame or one bin has no neighbours there: that part is 0.
    """
    mask = evidence.mask
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
        When a weight belongs to no term.

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

    def __init__(self, terms, weights):
        unknown = sorted(set(weights) - set(terms))
        if unknown:
            raise InputError(
                f"weights of the objective name unknown terms {unknown}; "
                f"the terms are {sorted(terms)}"
            )
        self.terms = terms
        self.weights = weights

    def __call__(self, evidence):
        """Each term for each item: a dict of (B,)."""
        return {name: term(evidence) for name, term in self.terms.items()}

    def total(self, values):
        """The weighted sum for each item, (B,); its mean is minimised."""
        weights = {name: weight for name, weight in self.weights.items() if weight}
        return sum(weight * values[name] for name, weight in weights.items())
