"""Explanations of a zero-shot classifier, for a prompt."""

import torch

from speechbrain_lmac.classifiers.clap.classifier import ClapClassifier
from speechbrain_lmac.explainers.amortized import AmortizedExplainer


class ZeroShotExplainer(AmortizedExplainer):
    """Masks by a decoder conditioned on a prompt (LMAC-ZS, arXiv 2405.17615).

    A target is the index of a prompt; its embedding is the interpreter's condition.

    Arguments
    ---------
    domain : MaskDomain
        Where the mask lives.
    classifier : ClapClassifier
        With `text`, the embeddings (C, D) of its prompts.
    interpreter : Interpreter
        Hidden maps and an embedding to a mask.
    """

    classifier: ClapClassifier

    def condition(self, target: torch.Tensor) -> torch.Tensor:
        """Return the embeddings (B, D) of prompts (B,)."""
        return self.classifier.text[target]
