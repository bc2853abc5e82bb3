"""A trained interpreter as an explainer."""

import torch

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.interpreters.trained import check_classifier
from speechbrain_lmac.types import Explanation


class AmortizedExplainer:
    """One forward pass of a trained decoder makes the mask (L-MAC).

    The mask of L-MAC depends on the classifier's hidden maps alone and explains
    the predicted class: `target` only names the class that is scored. A
    `ClassConditionedInterpreter` explains the class that it is asked for.

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

    def __init__(self, domain, classifier, interpreter):
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
        """Explain waveforms (B, N); see `speechbrain_lmac.types.Explainer`."""
        encoded = self.domain.encode(wav, lens)  # a codec may be in training
        with torch.no_grad():
            output = classify(self.domain, self.classifier, encoded)
        target = output.logits.argmax(1) if target is None else target
        mask = self.interpreter(output.hidden, encoded, self.condition(target))
        return Explanation(mask, target, encoded, output.logits)

    def condition(self, target: torch.Tensor) -> torch.Tensor:
        """What the interpreter is told of the classes (B,) that are asked for."""
        return target
