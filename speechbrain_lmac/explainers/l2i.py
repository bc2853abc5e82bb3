"""Listen to Interpret: masks from the NMF components relevant to a class."""

import torch

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.domains.stft import STFTDomain
from speechbrain_lmac.interpreters.l2i import Interpretation, L2IInterpreter
from speechbrain_lmac.interpreters.trained import TrainedInterpreter, check_classifier
from speechbrain_lmac.types import Classifier, Explanation
from speechbrain_lmac.utils.errors import InputError

RELEVANT = 0.2  # relevance threshold of the papers
EPSILON = 1e-10  # in the denominator of the mask, as in the public code


class L2IExplainer:
    """Masks composed of the dictionary's spectra that are relevant to the class.

    r_k = theta_ck z_k / max_k |theta_ck z_k| for class c. The components L whose r_k
    exceeds a threshold form the mask (H_L W_L^T) / (H W^T + 1e-10) (docs/methods.md,
    L2I); if there are none, the mask is zero.

    Arguments
    ---------
    domain : MaskDomain
        An STFT with the front end of the interpreter's dictionary.
    classifier : Classifier
        The frozen classifier. Its prediction is explained, not that of theta.
    interpreter : L2IInterpreter or TrainedInterpreter
        A `TrainedInterpreter` must wrap an `L2IInterpreter`.
    relevance_threshold : float
        Below 1. Published: 0.2 and 0.4. Below -1, all components are used.

    Raises
    ------
    InputError
        For a domain other than the dictionary's, for a threshold of 1 or more, and when
        the interpreter was trained for a different classifier.
    """

    def __init__(
        self,
        domain: STFTDomain,
        classifier: Classifier,
        interpreter: L2IInterpreter | TrainedInterpreter,
        relevance_threshold: float = RELEVANT,
    ) -> None:
        if not relevance_threshold < 1:
            raise InputError(
                "relevance_threshold must be below 1, the relevance of the most "
                f"relevant component, got {relevance_threshold}"
            )
        check_classifier(interpreter, classifier)
        interpreter.dictionary.check_domain(domain)
        self.domain = domain
        self.classifier = classifier
        self.interpreter = interpreter
        self.relevance_threshold = relevance_threshold

    @torch.no_grad()
    def explain(
        self,
        wav: torch.Tensor,
        target: torch.Tensor | None = None,
        lens: torch.Tensor | None = None,
    ) -> Explanation:
        """Explain waveforms with the relevant components.

        Arguments and returns are those of `types.Explainer.explain`: waveforms (B, N),
        and a mask (B, T, F) in 0..1.
        """
        encoded = self.domain.encode(wav, lens)
        output = classify(self.domain, self.classifier, encoded)
        target = output.logits.argmax(1) if target is None else target
        interpretation = self.interpreter(output.hidden, encoded)
        mask = masks_of(interpretation, target, self.relevance_threshold)
        return Explanation(mask, target, encoded, output.logits)


def masks_of(
    interpretation: Interpretation,
    target: torch.Tensor,
    relevance_threshold: float = RELEVANT,
) -> torch.Tensor:
    """Return masks: the share of the relevant components in each cell.

    Arguments
    ---------
    interpretation : Interpretation
        Interpretation of B clips.
    target : torch.Tensor
        The explained classes, shape (B,).
    relevance_threshold : float
        See `L2IExplainer`.

    Returns
    -------
    masks : torch.Tensor
        Shape (B, T, F), in 0..1.
    """
    selected = relevance(interpretation, target) > relevance_threshold
    return share_of(interpretation, selected)


def relevance(interpretation: Interpretation, target: torch.Tensor) -> torch.Tensor:
    """Return the contribution of each component to a class, relative to the largest.

    Arguments
    ---------
    interpretation : Interpretation
    target : torch.Tensor
        Classes, shape (B,).

    Returns
    -------
    relevance : torch.Tensor
        Shape (B, K), -1 to 1, with maximum absolute value 1; all 0 if no component
        contributes. Negative values are evidence against the class.

    Example
    -------
    >>> from speechbrain_lmac.interpreters.l2i import Interpretation
    >>> contributions = torch.tensor([[[0.5, -2.0, 1.0]]])
    >>> relevance(Interpretation(None, None, contributions), torch.tensor([0]))
    tensor([[ 0.2500, -1.0000,  0.5000]])
    """
    contributions = interpretation.contributions
    of_class = contributions[torch.arange(len(target), device=target.device), target]
    largest = of_class.abs().amax(1, keepdim=True)
    return of_class / torch.where(largest > 0, largest, torch.ones_like(largest))


def share_of(interpretation: Interpretation, selected: torch.Tensor) -> torch.Tensor:
    """Return the share of selected components in each cell of the reconstruction.

    Arguments
    ---------
    interpretation : Interpretation
    selected : torch.Tensor
        The components, bool, shape (B, K).

    Returns
    -------
    mask : torch.Tensor
        Shape (B, T, F), 0 to 1; 0 where the reconstruction is 0.

    Example
    -------
    >>> from speechbrain_lmac.interpreters.l2i import Interpretation
    >>> two_bins = torch.tensor([[3.0, 1.0], [0.0, 2.0]])
    >>> interpretation = Interpretation(torch.ones(1, 1, 2), two_bins, None)
    >>> share_of(interpretation, torch.tensor([[True, False]]))
    tensor([[[0.7500, 0.0000]]])
    """
    part = (interpretation.activations * selected[:, None]) @ interpretation.spectra.T
    return (part / (interpretation.reconstruction + EPSILON)).clamp(0, 1)
