"""What L2I's interpreter is trained for: terms of an `Attempt`, one value per clip.

Weighted by `speechbrain_lmac.losses.lmac.WeightedObjective`.
"""

from dataclasses import dataclass

import torch

from speechbrain_lmac.interpreters.l2i import Interpretation
from speechbrain_lmac.interpreters.nmf import squared_error


@dataclass(frozen=True)
class Attempt:
    """An interpretation beside what it is to be like."""

    rep: torch.Tensor  # (B, T, F), of the input
    logits: torch.Tensor  # (B, C), of the classifier
    interpretation: Interpretation


def reconstruction(attempt: Attempt) -> torch.Tensor:
    """Mean over time and frequency of (H W^T - rep)^2, (B,), >= 0."""
    return squared_error(attempt.interpretation.reconstruction, attempt.rep)


def activations_l1(attempt: Attempt) -> torch.Tensor:
    """Mean over time and components of the activations, (B,), >= 0."""
    return attempt.interpretation.activations.abs().mean((1, 2))


def distillation(attempt: Attempt) -> torch.Tensor:
    """Cross-entropy of theta with the classifier's probabilities, over C, (B,).

    mean over c of -softmax(logits)_c log softmax(theta)_c: the public code takes the
    mean over the classes too, which makes it 1/C of the cross-entropy.
    """
    said = attempt.interpretation.logits.log_softmax(1)
    return -(attempt.logits.softmax(1) * said).mean(1)


def fidelity(attempt: Attempt) -> torch.Tensor:
    """Whether theta decides as the classifier does: 1 or 0, (B,). Higher is better."""
    said = attempt.interpretation.logits.argmax(1)
    return (said == attempt.logits.argmax(1)).float()
