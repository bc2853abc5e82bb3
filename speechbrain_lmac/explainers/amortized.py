"""A trained interpreter as an explainer."""

import torch

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.interpreters.trained import check_classifier
from speechbrain_lmac.types import Classifier, Explanation, Interpreter, MaskDomain


class AmortizedExplainer:
    """Masks by one forward pass of a trained decoder (L-MAC, arXiv 2403.13086).

    The mask of L-MAC depends on the classifier's hidden maps alone and explains
    the predicted class: `target` is only the class that is scored. A
    `ClassConditionedInterpreter` explains `target`.

    Arguments
    ---------
    domain : MaskDomain
        Where the mask lives.
    classifier : Classifier
        Frozen.
    interpreter : Interpreter
        Hidden maps to a mask.

    Raises
    ------
    InputError
        When the interpreter is known to be trained for another classifier.
    """

    def __init__(
        self, domain: MaskDomain, classifier: Classifier, interpreter: Interpreter
    ) -> None:
        check_classifier(interpreter, classifier)
        self.domain = domain
        self.classifier = classifier
        self.interpreter = interpreter

    def explain(
        self,
        wav: torch.Tensor,
        target: torch.Tensor | None = None,
        lens: torch.Tensor | None = None,
    ) -> Explanation:
        """Explain waveforms by the mask of the interpreter.

        Arguments
        ---------
        wav : torch.Tensor
            Waveforms (B, N).
        target : torch.Tensor, optional
            Classes (B,). Default: the predicted ones.
        lens : torch.Tensor, optional
            Share of each clip that is recording, (B,), above 0 and at most 1.

        Returns
        -------
        explanation : Explanation
            With a mask (B, T, F) in 0..1.
        """
        encoded = self.domain.encode(wav, lens)  # a codec may be in training
        with torch.no_grad():
            output = classify(self.domain, self.classifier, encoded)
        target = output.logits.argmax(1) if target is None else target
        mask = self.interpreter(output.hidden, encoded, self.condition(target))
        return Explanation(mask, target, encoded, output.logits)

    def condition(self, target: torch.Tensor) -> torch.Tensor:
        """Return the interpreter's condition for classes (B,): here the classes."""
        return target
