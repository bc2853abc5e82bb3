"""A decoder that is told its prompt as an explainer of a zero-shot classifier."""

import torch

from speechbrain_lmac.explainers.amortized import AmortizedExplainer


class ZeroShotExplainer(AmortizedExplainer):
    """Which part of a sound speaks for a prompt (LMAC-ZS)?

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

    def condition(self, target: torch.Tensor) -> torch.Tensor:
        """Embeddings (B, D) of the prompts (B,) that are asked for."""
        return self.classifier.text[target]
