"""Listen to Interpret: the share of the components that speak for a class."""

import torch

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.interpreters.trained import check_classifier
from speechbrain_lmac.types import Explanation
from speechbrain_lmac.utils.errors import InputError

RELEVANT = 0.2  # of the papers: a component of at least this relevance is kept
EPSILON = 1e-10  # of the public code, in the mask's denominator


class L2IExplainer:
    """Masks made of the dictionary's spectra that are relevant to the class.

    r_k = theta_ck z_k / max_k |theta_ck z_k| for the class c; the components L with r
    above a threshold make the mask (H_L W_L^T) / (H W^T + 1e-10) (docs/methods.md,
    L2I). Where no component is that relevant the mask is zero.

    Arguments
    ---------
    domain : MaskDomain
        An STFT, the one that the interpreter's dictionary was learned in.
    classifier : Classifier
        Frozen. Its predicted class is explained, whatever theta would decide.
    interpreter : L2IInterpreter or TrainedInterpreter of one
    relevance_threshold : float
        Below 1; the papers have 0.2 and 0.4. Below -1 all components are taken.

    Raises
    ------
    InputError
        For another domain than the dictionary's, for a threshold from 1, and when the
        interpreter is known to be trained for another classifier.
    """

    def __init__(
        self, domain, classifier, interpreter, relevance_threshold: float = RELEVANT
    ):
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
        self, wav: torch.Tensor, target: torch.Tensor | None = None, lens=None
    ) -> Explanation:
        """Explain class `target` (default: the predicted one) of wav (B, N)."""
        encoded = self.domain.encode(wav, lens)
        output = classify(self.domain, self.classifier, encoded)
        target = output.logits.argmax(1) if target is None else target
        interpretation = self.interpreter(output.hidden, encoded)
        mask = masks_of(interpretation, target, self.relevance_threshold)
        return Explanation(mask, target, encoded, output.logits)


def masks_of(
    interpretation, target: torch.Tensor, relevance_threshold: float = RELEVANT
) -> torch.Tensor:
    """The share of the relevant components in each cell, (B, T, F), 0 to 1.

    Arguments
    ---------
    interpretation : Interpretation
    target : torch.Tensor
        The classes that are explained, shape (B,).
    relevance_threshold : float
        See `L2IExplainer`.
    """
    selected = relevance(interpretation, target) > relevance_threshold
    return share_of(interpretation, selected)


def relevance(interpretation, target: torch.Tensor) -> torch.Tensor:
    """How much each component says for a class, relative to the one that says most.

    Arguments
    ---------
    interpretation : Interpretation
    target : torch.Tensor
        Classes, shape (B,).

    Returns
    -------
    relevance : torch.Tensor
        Shape (B, K), -1 to 1, with 1 or -1 among them; 0 where no component says
        anything. Negative: it speaks against the class.

    Example
    -------
    >>> from speechbrain_lmac.interpreters.l2i import Interpretation
    >>> contributions = torch.tensor([[[0.5, -2.0, 1.0]]])
    >>> relevance(Interpretation(None, None, contributions), torch.tensor([0]))
    tensor([[ 0.2500, -1.0000,  0.5000]])
    """
    contributions = interpretation.contributions
    of_class = contributions[torch.arange(len(target), device=target.device), target]
    most = of_class.abs().amax(1, keepdim=True)
    return of_class / torch.where(most > 0, most, torch.ones_like(most))


def share_of(interpretation, selected: torch.Tensor) -> torch.Tensor:
    """The share of some components in each cell of the reconstruction.

    Arguments
    ---------
    interpretation : Interpretation
    selected : torch.Tensor
        Which components, bool, shape (B, K).

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
