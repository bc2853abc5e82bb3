"""Explain waveforms: what the mask keeps, what it leaves, how sure the model was."""

import torch

from speechbrain_lmac.classifiers.padding import by_length, classify
from speechbrain_lmac.domains.stft import check_lens, recorded_samples
from speechbrain_lmac.dsp.audio import to_model_level
from speechbrain_lmac.evidence import gather_evidence
from speechbrain_lmac.inference.results import BatchExplanation, join_batches
from speechbrain_lmac.metrics import MM
from speechbrain_lmac.utils.errors import InputError


def explain_batch(
    explainer,
    wavs: torch.Tensor,
    labels: list[str],
    target: torch.Tensor | None = None,
    lens: torch.Tensor | None = None,
) -> BatchExplanation:
    """Explain a class for each of some waveforms at the model's rate.

    The peak of each is brought to 1 for the model, as in the training; what comes back
    has the input's level. The phase is the input's (docs/methods.md, listening).

    Arguments
    ---------
    explainer : Explainer
        With `domain` and `classifier`; the domain can decode.
    wavs : torch.Tensor
        Shape (B, N), on the device of the explainer.
    labels : list
        Class names in the order of the logits.
    target : torch.Tensor, optional
        The class to explain, shape (B,), int64; without: the predicted one.
    lens : torch.Tensor, optional
        Shape (B,): the share of each waveform that is recording, above 0, at most 1.
        Waveforms of one length are explained by themselves, cut to it: none depends on
        its neighbours. Waveforms, masks and magnitudes are 0 behind it. Without: all.

    Returns
    -------
    explained : BatchExplanation
    """
    if lens is None:
        return _with_heard(explainer, explain_windows(explainer, wavs, labels, target))
    check_lens(lens, len(wavs))
    recorded = recorded_samples(lens, wavs.shape[1]).clamp(min=1)
    places, parts = [], []
    for own, length in by_length(recorded):
        asked = None if target is None else target[own]
        part = explain_windows(explainer, wavs[own, :length], labels, asked)
        parts.append(_with_heard(explainer, part))
        places.append(own)
    n_frames = wavs.shape[1] // explainer.domain.hop_length + 1
    order = torch.cat(places).argsort()
    return join_batches(parts, order, wavs.shape[1], n_frames)


def explain_windows(
    explainer, wavs: torch.Tensor, labels: list[str], target: torch.Tensor | None = None
) -> dict:
    """`explain_batch` of waveforms without padding, whose sounds are not heard again.

    Returns
    -------
    fields : dict
        Of a BatchExplanation, without its heard confidences; `target` are the classes.
    """
    domain = explainer.domain
    level = wavs.abs().amax(1, keepdim=True)
    with torch.no_grad():
        explanation = explainer.explain(at_model_level(wavs), target)
        evidence = gather_evidence(domain, explainer.classifier, explanation)
        for logits in (evidence.logits, evidence.logits_in, evidence.logits_out):
            check_logits(logits)
        heard = evidence.masked_audio
        return {
            "target": evidence.target,
            "labels": [labels[index] for index in evidence.target.tolist()],
            "predicted": [labels[i] for i in evidence.logits.argmax(1).tolist()],
            "confidence": _of(evidence.target, evidence.logits),
            "confidence_in": _of(evidence.target, evidence.logits_in),
            "confidence_out": _of(evidence.target, evidence.logits_out),
            "explanation": heard.explanation * level,
            "rest": heard.rest * level,
            "mask": domain.on_bins(heard),
            "mask_mean": MM(evidence),
            "magnitude": domain.magnitude(heard.encoded),
            "masked_magnitude": domain.magnitude(heard.masked_in),
            "logits": evidence.logits,
            "logits_in": evidence.logits_in,
            "logits_out": evidence.logits_out,
        }


@torch.no_grad()
def classify_waveforms(
    domain, classifier, wavs: torch.Tensor, lens=None
) -> torch.Tensor:
    """What a classifier says of waveforms, each brought to the model's level.

    Arguments
    ---------
    domain : MaskDomain
    classifier : Classifier
    wavs : torch.Tensor
        Shape (B, N), at the model's rate, of any level.
    lens : torch.Tensor, optional
        Shape (B,): the share of each that is recording.

    Returns
    -------
    logits : torch.Tensor
        Shape (B, C).

    Raises
    ------
    InputError
        When they are not finite.
    """
    encoded = domain.encode(at_model_level(wavs), lens)
    return check_logits(classify(domain, classifier, encoded).logits)


def at_model_level(wavs: torch.Tensor) -> torch.Tensor:
    """Waveforms (B, N), the peak of each brought to 1."""
    return torch.stack([to_model_level(wav) for wav in wavs])


def check_logits(logits: torch.Tensor) -> torch.Tensor:
    """Logits as they are; `InputError` where one is NaN or infinite."""
    if not torch.isfinite(logits).all():
        raise InputError(
            "the classifier returns NaN or infinite logits for this sound: look at its "
            "weights, and at what it computes of silence"
        )
    return logits


def _with_heard(explainer, fields: dict) -> BatchExplanation:
    """A BatchExplanation: its sounds are classified, too."""
    target = fields.pop("target")
    heard = [
        _of(target, classify_waveforms(explainer.domain, explainer.classifier, wavs))
        for wavs in (fields["explanation"], fields["rest"])
    ]
    return BatchExplanation(
        **fields, heard_confidence_in=heard[0], heard_confidence_out=heard[1]
    )


def _of(target: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """The probability (B,) of each item's class."""
    everyone = torch.arange(len(target), device=target.device)
    return logits.double().softmax(1)[everyone, target]
