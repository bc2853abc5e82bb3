"""L2I's training objective: terms of an `Attempt`, one value per clip.

Weighted by `speechbrain_lmac.losses.lmac.WeightedObjective`.
"""

from dataclasses import dataclass

import torch

from speechbrain_lmac.interpreters.l2i import Interpretation
from speechbrain_lmac.interpreters.nmf import squared_error


@dataclass(frozen=True)
class Attempt:
    """An interpretation with its targets: the input and the classifier's logits."""

    rep: torch.Tensor  # (B, T, F), of the input
    logits: torch.Tensor  # (B, C), of the classifier
    interpretation: Interpretation


def reconstruction(attempt: Attempt) -> torch.Tensor:
    """Return the mean over time and frequency of (H W^T - rep)^2, (B,), >= 0."""
    return squared_error(attempt.interpretation.reconstruction, attempt.rep)


def activations_l1(attempt: Attempt) -> torch.Tensor:
    """Return the mean of the activations over time and components, (B,), >= 0."""
    return attempt.interpretation.activations.abs().mean((1, 2))


def distillation(attempt: Attempt) -> torch.Tensor:
    """Return the cross-entropy of theta and the classifier, divided by C, (B,), >= 0.

    The mean over c of -softmax(logits)_c log softmax(theta)_c. As in the public code it
    is a mean over classes, 1/C of the usual cross-entropy.
    """
    log_probabilities = attempt.interpretation.logits.log_softmax(1)
    return -(attempt.logits.softmax(1) * log_probabilities).mean(1)


def fidelity(attempt: Attempt) -> torch.Tensor:
    """Return 1 where theta predicts the classifier's class, else 0, (B,).

    Higher is better.
    """
    predicted = attempt.interpretation.logits.argmax(1)
    return (predicted == attempt.logits.argmax(1)).float()
