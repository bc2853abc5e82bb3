"""A trained interpreter as an explainer."""

import torch

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.interpreters.trained import check_classifier
from speechbrain_lmac.types import Classifier, Explanation, Interpreter, MaskDomain


class AmortizedExplainer:
    """Masks from a single forward pass of a trained decoder (L-MAC, arXiv 2403.13086).

    L-MAC's mask depends only on the classifier's hidden maps and explains the predicted
    class: `target` does not change the mask, only the class that metrics score. With a
    `ClassConditionedInterpreter` the mask explains `target`.

    Arguments
    ---------
    domain : MaskDomain
        The domain of the mask.
    classifier : Classifier
        The frozen classifier to explain.
    interpreter : Interpreter
        Maps hidden maps to a mask.

    Raises
    ------
    InputError
        When the interpreter was trained for a different classifier.
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

        Arguments and returns are those of `types.Explainer.explain`: waveforms (B, N),
        and a mask (B, T, F) in 0..1.
        """
        encoded = self.domain.encode(wav, lens)  # with gradient: a codec may be trained
        with torch.no_grad():
            output = classify(self.domain, self.classifier, encoded)
        target = output.logits.argmax(1) if target is None else target
        mask = self.interpreter(output.hidden, encoded, self.condition(target))
        return Explanation(mask, target, encoded, output.logits)

    def condition(self, target: torch.Tensor) -> torch.Tensor:
        """Return the interpreter's condition for classes (B,): the class indices."""
        return target
