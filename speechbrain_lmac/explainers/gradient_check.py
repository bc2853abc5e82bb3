"""A check that gradients pass through a classifier."""

import weakref
from typing import Any

import torch

from speechbrain_lmac.types import Classifier, MaskDomain
from speechbrain_lmac.utils.errors import InputError, some_of

N_CLIPS = 4  # of a batch that are checked
CUDNN = "cudnn RNN backward"  # in the error of recurrent layers on a GPU
# A classifier to the domains on which it passed.
_checked: weakref.WeakKeyDictionary[Classifier, weakref.WeakSet[MaskDomain]]
_checked = weakref.WeakKeyDictionary()


def check_gradient(
    domain: MaskDomain, classifier: Classifier, wav: torch.Tensor
) -> None:
    """Raise unless the logits can be differentiated by the representation.

    On the clips and on digital silence of their length the gradient must exist and be
    finite, and not be 0 everywhere on both: units of a healthy model may all be off on
    some clip. Without a gradient an interpreter minimises its regulariser alone, and
    the attributions of a gradient method are 0.

    Arguments
    ---------
    domain : MaskDomain
    classifier : Classifier
        Frozen; it is not changed.
    wav : torch.Tensor
        Shape (B, N), on the device of the classifier: clips of the data. The first
        `N_CLIPS` that are not digital silence are checked. Where all are silent, the
        gradient may be 0.

    Raises
    ------
    InputError
        With the cause: no gradient (computed under `torch.no_grad`, detached, or in
        NumPy, or by cuDNN), NaN or infinity (the square root of 0 is the usual one),
        or 0.
    """
    name, audible = _name_of(classifier), wav.any(1)
    places = (audible if audible.any() else ~audible).nonzero().flatten()[:N_CLIPS]
    wav, passes = wav[places], False
    for silence, clips in (("digital silence", torch.zeros_like(wav[:1])), (None, wav)):
        gradient = _gradient(domain, classifier, clips, name)
        passes |= bool(gradient.any())
        finite = gradient.isfinite().flatten(1).all(1)
        if not finite.all():
            where = silence or f"clips {some_of(places[~finite].tolist())} of the batch"
            raise InputError(
                f"the gradient of {name} is NaN or infinite on {where}. It comes from "
                "the model, not from the learning rate: the usual cause is the square "
                "root, or the norm, of 0 (torch.sqrt(x) has an infinite gradient at 0; "
                "write torch.sqrt(x + 1e-12)), or the logarithm of 0"
            )
    if wav.any() and not passes:
        raise InputError(
            f"the gradient of {name} is 0 everywhere on the first clips and on "
            "silence: its logits do not depend on the input in a way that can be "
            "differentiated. Look for rounding, thresholds, argmax, or saturated "
            "outputs in its forward"
        )


def check_gradient_once(
    domain: MaskDomain, classifier: Classifier, wav: torch.Tensor
) -> None:
    """Call `check_gradient`, unless the classifier has passed it on this domain.

    A silent batch does not count: the next one is checked, too.

    Arguments
    ---------
    domain, classifier, wav
        As `check_gradient`, wav of the shape (B, N).
    """
    passed = _checked.setdefault(classifier, weakref.WeakSet())
    if domain not in passed:
        check_gradient(domain, classifier, wav)
        if wav.any():
            passed.add(domain)


def _name_of(classifier: Classifier) -> str:
    """Return the class name of the model that is wrapped as a classifier."""
    model: Any = classifier
    while hasattr(model, "model"):
        model = model.model
    return type(model).__name__


@torch.enable_grad()
def _gradient(
    domain: MaskDomain, classifier: Classifier, wav: torch.Tensor, name: str
) -> torch.Tensor:
    """Return the gradient (B, T, F) of the predicted class's logit by rep."""
    with torch.no_grad():
        encoded = domain.encode(wav)
    rep = encoded.rep.detach().requires_grad_()
    gradient, reason = None, ""
    try:
        logits = classifier(domain.features(encoded.with_rep(rep))).logits
        if logits.requires_grad:
            predicted = logits.amax(1).sum()
            (gradient,) = torch.autograd.grad(predicted, rep, allow_unused=True)
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError as error:
        if CUDNN in str(error):
            raise InputError(
                f"no gradient passes through the recurrent layers of {name} on a GPU: "
                "cuDNN computes none in eval mode. Use --device cpu, or call them "
                "under torch.backends.cudnn.flags(enabled=False) in its forward"
            ) from error
        with torch.no_grad():  # whose failure is another fault
            classifier(domain.features(encoded))
        reason = f" ({error})"
    if gradient is None:
        raise InputError(
            f"no gradient passes through {name}{reason}: its logits are computed under "
            "torch.no_grad or torch.inference_mode, detached, or outside of torch "
            "(NumPy, librosa). Write its forward, front end included, in torch "
            "operations without these"
        )
    return gradient
