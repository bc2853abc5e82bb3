"""Explanations of a zero-shot classifier, for a prompt."""

import torch

from speechbrain_lmac.classifiers.clap.classifier import ClapClassifier
from speechbrain_lmac.explainers.amortized import AmortizedExplainer


class ZeroShotExplainer(AmortizedExplainer):
    """Masks from a decoder conditioned on a prompt (LMAC-ZS, arXiv 2405.17615).

    A target is the index of a prompt; its embedding is the interpreter's condition.

    Arguments
    ---------
    domain : MaskDomain
        The domain of the mask.
    classifier : ClapClassifier
        Its `text` holds the embeddings (C, D) of the prompts.
    interpreter : Interpreter
        Maps hidden maps and an embedding to a mask.
    """

    classifier: ClapClassifier

    def condition(self, target: torch.Tensor) -> torch.Tensor:
        """Return the embeddings (B, D) of prompts by their indices (B,)."""
        return self.classifier.text[target]
