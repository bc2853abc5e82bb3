"""Whether gradients pass through a classifier, before anything relies on them."""

import weakref

import torch

from speechbrain_lmac.utils.errors import InputError, some_of

N_CLIPS = 4  # of a batch that are looked at
CUDNN = "cudnn RNN backward"  # in the error of recurrent layers on a GPU
_checked = weakref.WeakKeyDictionary()  # classifier to the domains it passed on


def check_gradient(domain, classifier, wav: torch.Tensor) -> None:
    """Raise unless the logits can be differentiated by the representation.

    On the clips and on digital silence of their length the gradient must exist and be
    finite, and not be 0 everywhere on both: units of a healthy model may all be off on
    some clip. Without a gradient an interpreter
    learns nothing but its regulariser, and a gradient method has nothing to show.

    Arguments
    ---------
    domain : MaskDomain
    classifier : Classifier
        Frozen; it is left as it is.
    wav : torch.Tensor
        Shape (B, N), on the device of the classifier; clips of the data, of which the
        first `N_CLIPS` with sound are looked at. Where all are digital silence, the
        gradient may be 0.

    Raises
    ------
    InputError
        Naming the cause: no gradient (computed under `torch.no_grad`, detached, or in
        NumPy, or by cuDNN), NaN or infinity (the square root of 0 is the usual one),
        or 0.
    """
    name, sounding = _name_of(classifier), wav.any(1)
    places = (sounding if sounding.any() else ~sounding).nonzero().flatten()[:N_CLIPS]
    wav, passes = wav[places], False
    for sound, clips in (("digital silence", torch.zeros_like(wav[:1])), (None, wav)):
        gradient = _gradient(domain, classifier, clips, name)
        passes |= bool(gradient.any())
        finite = gradient.isfinite().flatten(1).all(1)
        if not finite.all():
            where = sound or f"clips {some_of(places[~finite].tolist())} of the batch"
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


def check_gradient_once(domain, classifier, wav: torch.Tensor) -> None:
    """`check_gradient`, unless this classifier has passed it on this domain.

    It passes on clips with sound only: behind a silent batch the next one is looked at,
    too. Arguments and errors are those of `check_gradient`.
    """
    passed = _checked.setdefault(classifier, weakref.WeakSet())
    if domain not in passed:
        check_gradient(domain, classifier, wav)
        if wav.any():
            passed.add(domain)


def _name_of(classifier) -> str:
    """The class of the model that is wrapped as a classifier."""
    while hasattr(classifier, "model"):
        classifier = classifier.model
    return type(classifier).__name__


@torch.enable_grad()
def _gradient(domain, classifier, wav: torch.Tensor, name: str) -> torch.Tensor:
    """Gradient of the predicted class's logit by the representation, (B, T, F)."""
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
