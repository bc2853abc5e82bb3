"""Explanations of batches of waveforms: explanation, rest, and confidences."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from speechbrain_lmac.classifiers import padding
from speechbrain_lmac.classifiers.padding import by_length
from speechbrain_lmac.domains.stft import check_lens, recorded_samples
from speechbrain_lmac.dsp.audio import at_model_level
from speechbrain_lmac.evidence import gather_evidence
from speechbrain_lmac.inference.results import BatchExplanation, join_batches
from speechbrain_lmac.metrics import MM
from speechbrain_lmac.metrics.checks.encoding import EncodingCheck, encoding
from speechbrain_lmac.types import Classifier, Explainer, MaskDomain
from speechbrain_lmac.utils.errors import InputError


class BoundExplainer(Explainer, Protocol):
    """An explainer with its domain and classifier as attributes."""

    # A MaskDomain with audio: also `sample_rate`, `hop_length` and `magnitude`.
    domain: Any
    classifier: Any  # a Classifier, with `labels` and `clap` if it is zero-shot


def explain_batch(
    explainer: BoundExplainer,
    wavs: torch.Tensor,
    labels: Sequence[str],
    target: torch.Tensor | None = None,
    lens: torch.Tensor | None = None,
    check: EncodingCheck | None = None,
) -> BatchExplanation:
    """Explain one class per waveform, at the sample rate of the model.

    Each waveform is scaled to a peak of 1 for the model, as in training; the returned
    audio has the level and phase of the input (docs/methods.md, listening).

    Arguments
    ---------
    explainer : Explainer
        With `domain` and `classifier`; the domain must be listenable.
    wavs : torch.Tensor
        Shape (B, N), on the device of the explainer.
    labels : sequence of str
        C class names in the order of the logits.
    target : torch.Tensor, optional
        The class to explain, shape (B,), int64. Default: the predicted one.
    lens : torch.Tensor, optional
        Shape (B,): relative length of each recording, above 0, at most 1. Default: 1.
        Waveforms of equal length are cropped and explained together, so no result
        depends on the other waveforms. Waveforms, masks and magnitudes are 0 in the
        padding.
    check : EncodingCheck, optional
        Of the explainer's domain and classifier. Default: no `encoding`.

    Returns
    -------
    explained : BatchExplanation
    """
    if lens is None:
        part = explain_windows(explainer, wavs, labels, target, check)
        return _classified(explainer, part)
    check_lens(lens, len(wavs))
    recorded = recorded_samples(lens, wavs.shape[1]).clamp(min=1)
    indices, parts = [], []
    for own, length in by_length(recorded):
        targets = None if target is None else target[own]
        part = explain_windows(explainer, wavs[own, :length], labels, targets, check)
        parts.append(_classified(explainer, part))
        indices.append(own)
    n_frames = wavs.shape[1] // explainer.domain.hop_length + 1
    order = torch.cat(indices).argsort()
    return join_batches(parts, order, wavs.shape[1], n_frames)


def explain_windows(
    explainer: BoundExplainer,
    wavs: torch.Tensor,
    labels: Sequence[str],
    target: torch.Tensor | None = None,
    check: EncodingCheck | None = None,
) -> dict[str, Any]:
    """Explain waveforms without padding, and do not classify the decoded audio.

    Arguments
    ---------
    explainer : Explainer
        As for `explain_batch`.
    wavs : torch.Tensor
        Shape (B, N).
    labels : sequence of str
        C class names.
    target : torch.Tensor, optional
        Shape (B,), int64. Default: the predicted classes.
    check : EncodingCheck, optional
        As for `explain_batch`.

    Returns
    -------
    fields : dict
        The fields of a BatchExplanation (see there for shapes) except the
        `heard_confidence_*`, `target` (B,), the explained classes, and `on_sounds`
        (B, S), the result of the check; None without a check.
    """
    domain = explainer.domain
    level = wavs.abs().amax(1, keepdim=True)
    with torch.no_grad():
        levelled = at_model_level(wavs)
        explanation = explainer.explain(levelled, target)
        evidence = gather_evidence(domain, explainer.classifier, explanation)
        for logits in (evidence.logits, evidence.logits_in, evidence.logits_out):
            check_logits(logits)
        audio = evidence.masked_audio
        assert audio is not None  # set by gather_evidence
        on_sounds = None
        if check is not None:
            on_sounds = check(evidence.mask, evidence.target, levelled)
        return {
            "target": evidence.target,
            "on_sounds": on_sounds,
            "encoding": None if on_sounds is None else encoding(on_sounds),
            "labels": [labels[index] for index in evidence.target.tolist()],
            "predicted": [labels[i] for i in evidence.logits.argmax(1).tolist()],
            "confidence": _of(evidence.target, evidence.logits),
            "confidence_in": _of(evidence.target, evidence.logits_in),
            "confidence_out": _of(evidence.target, evidence.logits_out),
            "explanation": audio.explanation * level,
            "rest": audio.rest * level,
            "mask": domain.on_bins(audio),
            "mask_mean": MM(evidence),
            "magnitude": domain.magnitude(audio.encoded),
            "masked_magnitude": domain.magnitude(audio.masked_in),
            "logits": evidence.logits,
            "logits_in": evidence.logits_in,
            "logits_out": evidence.logits_out,
        }


def classify_waveforms(
    domain: MaskDomain,
    classifier: Classifier,
    wavs: torch.Tensor,
    lens: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the logits (B, C) of waveforms (B, N); `InputError` if one is not finite.

    Arguments and returns are those of `padding.classify_waveforms`.
    """
    logits = padding.classify_waveforms(domain, classifier, wavs, lens)
    return check_logits(logits)


def check_logits(logits: torch.Tensor) -> torch.Tensor:
    """Return logits (B, C) unchanged; `InputError` if one is NaN or infinite."""
    if not torch.isfinite(logits).all():
        raise InputError(
            "the classifier returns NaN or infinite logits for this recording: check "
            "its weights, and its output for silence"
        )
    return logits


def _classified(explainer: BoundExplainer, fields: dict[str, Any]) -> BatchExplanation:
    """Classify the decoded audio, and return the BatchExplanation."""
    target, _ = fields.pop("target"), fields.pop("on_sounds")
    confidences = [
        _of(target, classify_waveforms(explainer.domain, explainer.classifier, wavs))
        for wavs in (fields["explanation"], fields["rest"])
    ]
    return BatchExplanation(
        **fields,
        heard_confidence_in=confidences[0],
        heard_confidence_out=confidences[1],
    )


def _of(target: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Return the probability (B,) of each item's target, from logits (B, C)."""
    items = torch.arange(len(target), device=target.device)
    return logits.double().softmax(1)[items, target]
