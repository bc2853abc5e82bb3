"""Evidence for objectives and metrics: logits of the masked-in and masked-out parts.

The masked-in part is `rep * mask`, the masked-out part `rep * (1 - mask)` (L-MAC, arXiv
2403.13086).
"""

import torch

from speechbrain_lmac.classifiers.padding import (
    classify,
    lengths_of,
    masks_padding,
    on_recordings,
)
from speechbrain_lmac.domains.masked_audio import MaskedAudio
from speechbrain_lmac.types import Classifier, Evidence, Explanation, MaskDomain

# A sigmoid, an interpolation or a division by the maximum may miss 0 or 1 by rounding.
MASK_TOLERANCE = 1e-6


def gather_evidence(
    domain: MaskDomain, classifier: Classifier, explanation: Explanation
) -> Evidence:
    """Return evidence for scores: without gradient, with the rounding of p(X).

    The masked-in and the masked-out part are classified in two passes of B, each as the
    explainer classified the whole: by the same `domain.features`, in a batch of the
    same size and order. Then rounding is the same, too, and a mask of ones changes no
    bit of the logits; in other shapes, rounding alone would raise its confidence.

    Arguments
    ---------
    domain : MaskDomain
        The domain of the mask.
    classifier : Classifier
        The classifier that is explained.
    explanation : Explanation
        Its mask (B, T, F) has the shape of `explanation.encoded.rep` and values in
        0..1. A NaN is accepted: it makes NaN scores, which are counted. Its logits are
        ``classify(domain, classifier, explanation.encoded).logits``.

    Returns
    -------
    evidence : Evidence
        Logits (B, C) of the input and of both parts.

    Raises
    ------
    ValueError
        When the mask has another shape, or values outside of 0..1.
    """
    check_mask(explanation.mask, explanation.encoded.rep)
    with torch.no_grad():
        masked_audio = MaskedAudio(
            domain, explanation.encoded, explanation.mask.detach()
        )
        logits_in, logits_out = (
            classify(domain, classifier, part).logits
            for part in (masked_audio.masked_in, masked_audio.masked_out)
        )
        return Evidence(
            mask=masked_audio.mask,
            target=explanation.target,
            logits=explanation.logits.detach(),
            logits_in=logits_in,
            logits_out=logits_out,
            frames=explanation.encoded.frames,
            masked_audio=masked_audio,
        )


def training_evidence(
    domain: MaskDomain, classifier: Classifier, explanation: Explanation
) -> Evidence:
    """Return evidence for training: with gradient, in one pass of 2B.

    The logits of the parts differ from those of `gather_evidence` by rounding.

    Arguments
    ---------
    domain, classifier, explanation
        As `gather_evidence`; the mask may need a gradient.

    Returns
    -------
    evidence : Evidence
        Logits (B, C) of the input and of both parts.
    """
    check_mask(explanation.mask, explanation.encoded.rep)
    parts = MaskedAudio(domain, explanation.encoded, explanation.mask)
    features = torch.cat(
        [domain.features(part) for part in (parts.masked_in, parts.masked_out)]
    )
    lengths = lengths_of(domain, explanation.encoded)
    output = on_recordings(
        classifier,
        features,
        None if lengths is None else lengths.repeat(2),
        masks_padding(classifier),
    )
    logits_in, logits_out = output.logits.chunk(2)
    return Evidence(
        mask=explanation.mask,
        target=explanation.target,
        logits=explanation.logits,
        logits_in=logits_in,
        logits_out=logits_out,
        frames=explanation.encoded.frames,
        # Not `parts`: terms on waveforms would add their gradients in another order,
        # and the trained weights would change in their last bits.
        masked_audio=MaskedAudio(domain, explanation.encoded, explanation.mask),
    )


def check_mask(mask: torch.Tensor, rep: torch.Tensor) -> None:
    """Raise ValueError unless the mask has the shape of `rep` and values in 0..1.

    Example
    -------
    >>> check_mask(torch.ones(4, 430, 513), torch.ones(4, 431, 513))
    Traceback (most recent call last):
    ValueError: mask must have the shape of the representation (4, 431, 513), got \
(4, 430, 513)
    """
    if mask.shape != rep.shape:
        raise ValueError(
            "mask must have the shape of the representation "
            f"{tuple(rep.shape)}, got {tuple(mask.shape)}"
        )
    # Comparisons with NaN are false: a NaN passes.
    if ((mask < -MASK_TOLERANCE) | (mask > 1 + MASK_TOLERANCE)).any():
        values = mask[~mask.isnan()]
        raise ValueError(
            "mask must have values in 0..1, "
            f"got {values.min().item():.6g} to {values.max().item():.6g}"
        )
