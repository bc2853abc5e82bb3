"""L2I's training objective: terms of `L2IEvidence`, one value per clip.

Weighted by `speechbrain_lmac.losses.lmac.WeightedObjective`. rep is approximated by H
W^T, with NMF activations H and spectra W; theta is the linear classifier on pooled
activations, trained to predict the frozen classifier's output.
"""

from dataclasses import dataclass

import torch

from speechbrain_lmac.interpreters.l2i import Interpretation
from speechbrain_lmac.interpreters.nmf import squared_error


@dataclass(frozen=True)
class L2IEvidence:
    """An interpretation with its targets: the input and the classifier's logits."""

    rep: torch.Tensor  # (B, T, F), of the input
    logits: torch.Tensor  # (B, C), of the classifier
    interpretation: Interpretation


def reconstruction(evidence: L2IEvidence) -> torch.Tensor:
    """Return the mean over time and frequency of (H W^T - rep)^2, (B,), >= 0."""
    return squared_error(evidence.interpretation.reconstruction, evidence.rep)


def activations_l1(evidence: L2IEvidence) -> torch.Tensor:
    """Return the mean of the activations over time and components, (B,), >= 0."""
    return evidence.interpretation.activations.abs().mean((1, 2))


def distillation(evidence: L2IEvidence) -> torch.Tensor:
    """Return the cross-entropy of theta against the classifier, divided by C, (B,).

    The mean over c of -softmax(logits)_c log softmax(theta)_c, >= 0. As in the public
    code it is a mean over classes, 1/C of the usual cross-entropy.
    """
    log_probabilities = evidence.interpretation.logits.log_softmax(1)
    return -(evidence.logits.softmax(1) * log_probabilities).mean(1)


def fidelity(evidence: L2IEvidence) -> torch.Tensor:
    """Return 1 where theta predicts the classifier's class, else 0, (B,).

    Higher is better.
    """
    predicted = evidence.interpretation.logits.argmax(1)
    return (predicted == evidence.logits.argmax(1)).float()
