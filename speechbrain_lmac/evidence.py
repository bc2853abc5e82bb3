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
    """Return evidence for metrics, without gradients, comparable bit by bit.

    The masked-in and the masked-out parts are classified in two batches of B, exactly
    as the explainer classified the whole clips: same `domain.features`, same batch size
    and order. Rounding is therefore identical, and an all-ones mask reproduces the
    logits bit for bit. With other batch shapes, rounding alone could raise confidences.

    Arguments
    ---------
    domain : MaskDomain
        The domain of the mask.
    classifier : Classifier
        The classifier that is explained.
    explanation : Explanation
        Its mask (B, T, F) has the shape of `explanation.encoded.rep` and values in
        0..1. NaN is accepted: the scores become NaN and are counted. Its logits must be
        ``classify(domain, classifier, explanation.encoded).logits``.

    Returns
    -------
    evidence : Evidence
        Logits (B, C) of the input and of both parts.

    Raises
    ------
    ValueError
        When the mask has the wrong shape, or values outside 0..1.
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
    """Return evidence for training, with gradients, from a single batch of 2B.

    Up to rounding, the logits equal those of `gather_evidence`.

    Arguments
    ---------
    domain, classifier, explanation
        As for `gather_evidence`; the mask may require a gradient.

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
        # A new object, not `parts`: sharing it would change the order in which
        # gradients are summed, and so the last bits of the trained weights.
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
