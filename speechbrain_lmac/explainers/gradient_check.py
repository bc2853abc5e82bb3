"""A check that gradients pass through a classifier."""

import weakref
from typing import Any

import torch

from speechbrain_lmac.types import Classifier, MaskDomain
from speechbrain_lmac.utils.errors import InputError, some_of

N_CLIPS = 4  # number of clips checked
CUDNN = "cudnn RNN backward"  # in the error message of recurrent layers on a GPU
# Classifier to the domains in which it passed.
_checked: weakref.WeakKeyDictionary[Classifier, weakref.WeakSet[MaskDomain]]
_checked = weakref.WeakKeyDictionary()


def check_gradient(
    domain: MaskDomain, classifier: Classifier, wav: torch.Tensor
) -> None:
    """Raise InputError unless the logits are differentiable in the representation.

    The gradient must exist and be finite on the clips and on digital silence of the
    same length, and must not be 0 on both: on a single input, all units of a sound
    model may be inactive. Without a gradient, an interpreter only minimises its
    regulariser, and attributions of gradient methods are 0.

    Arguments
    ---------
    domain : MaskDomain
    classifier : Classifier
        Frozen; not modified.
    wav : torch.Tensor
        Clips of the dataset, shape (B, N), on the device of the classifier. The first
        `N_CLIPS` that are not digital silence are checked. If all are silent, a zero
        gradient passes.

    Raises
    ------
    InputError
        States the cause: no gradient (logits computed under `torch.no_grad`, detached,
        in NumPy, or by cuDNN), a NaN or infinite gradient (usually the square root of
        0), or a zero gradient.
    """
    name, audible = _name_of(classifier), wav.any(1)
    checked = (audible if audible.any() else ~audible).nonzero().flatten()[:N_CLIPS]
    wav, passes = wav[checked], False
    for silence, clips in (("digital silence", torch.zeros_like(wav[:1])), (None, wav)):
        gradient = _gradient(domain, classifier, clips, name)
        passes |= bool(gradient.any())
        finite = gradient.isfinite().flatten(1).all(1)
        if not finite.all():
            where = (
                silence or f"clips {some_of(checked[~finite].tolist())} of the batch"
            )
            raise InputError(
                f"the gradient of {name} is NaN or infinite on {where}. It comes from "
                "the model, not from the learning rate. Usual causes: the square root "
                "or norm of 0 (torch.sqrt(x) has an infinite gradient at 0; use "
                "torch.sqrt(x + 1e-12)), or the logarithm of 0"
            )
    if wav.any() and not passes:
        raise InputError(
            f"the gradient of {name} is 0 everywhere on the first clips and on "
            "silence: its logits are constant or piecewise constant in the input. Look "
            "for rounding, thresholds, argmax or saturated outputs in its forward"
        )


def check_gradient_once(
    domain: MaskDomain, classifier: Classifier, wav: torch.Tensor
) -> None:
    """Call `check_gradient` unless the classifier has already passed in this domain.

    A pass on a silent batch does not count: the next batch is checked again.

    Arguments
    ---------
    domain, classifier, wav
        As for `check_gradient`; wav has shape (B, N).
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
    """Return the gradient (B, T, F) of the predicted logit with respect to rep."""
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
                "cuDNN has no backward pass in eval mode. Use --device cpu, or call "
                "these layers under torch.backends.cudnn.flags(enabled=False)"
            ) from error
        with torch.no_grad():  # raises if the forward pass itself fails
            classifier(domain.features(encoded))
        reason = f" ({error})"
    if gradient is None:
        raise InputError(
            f"no gradient passes through {name}{reason}: its logits are computed under "
            "torch.no_grad or torch.inference_mode, detached, or outside torch (NumPy, "
            "librosa). Use differentiable torch operations throughout its forward, "
            "including the front end"
        )
    return gradient
