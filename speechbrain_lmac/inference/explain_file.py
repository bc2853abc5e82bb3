"""Explanations of audio files of any length, in windows.

Files are processed as a stream: mixed to mono, resampled to the model's rate, cut into
windows, masked, cross-faded, and resampled to the file's rate. Finished blocks go to a
sink, and their audio to the classifier, in the windows of `classify_file`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from speechbrain_lmac.dsp.audio_streams import MonoFile
from speechbrain_lmac.inference.explain_batch import (
    BoundExplainer,
    classify_waveforms,
    explain_windows,
)
from speechbrain_lmac.inference.requests import (
    ClassRequest,
    PromptRequest,
    WindowOutcomes,
    request_class,
    takes_target,
)
from speechbrain_lmac.inference.results import (
    MAPS,
    SOUNDS,
    Explained,
    FileExplanation,
    FileScores,
    PromptExplanation,
)
from speechbrain_lmac.inference.windows import (
    DecodedAudio,
    InMemory,
    JoinedWindows,
    Sink,
    WindowedFile,
)
from speechbrain_lmac.metrics.checks.encoding import EncodingCheck
from speechbrain_lmac.types import Classifier, MaskDomain
from speechbrain_lmac.utils.errors import InputError


def explain_file(
    explainer: BoundExplainer,
    path: str | Path,
    labels: Sequence[str],
    device: str | torch.device = "cpu",
    target: str | None = None,
    window_seconds: float | None = None,
    check: EncodingCheck | None = None,
) -> FileExplanation:
    """Explain a class for an audio file of any rate, length and channels.

    The channels are averaged (`audio.choose_channel`), resampled to the model's rate
    and scaled to a peak of 1; the returned audio has the file's rate, length, level and
    phase (docs/methods.md, listening), and nothing above the model's highest frequency.

    Arguments
    ---------
    explainer : Explainer
        With `domain` and `classifier`; the domain must be listenable.
    path : str or Path
    labels : sequence of str
        C class names in the order of the logits.
    device : str or torch.device
        Device of the explainer.
    target : str, optional
        The class to explain, one of the labels. Default: the class with the highest
        mean probability over all windows. The mask must depend on the target; for L-MAC
        this takes a `ClassConditionedInterpreter`.
    window_seconds : float, optional
        Window length in s. A file longer than 1.5 windows is explained in windows with
        50 % overlap, each scaled to a peak of 1, joined by cross-fading
        (`overlap_add.OverlapAdd`). Each window explains the class of the file if the
        mask depends on the target, otherwise its own predicted class. Default: no
        windows.
    check : EncodingCheck, optional
        Of the explainer's domain and classifier. Default: no `encoding`.

    Returns
    -------
    explained : FileExplanation

    Raises
    ------
    InputError
        If the file is missing, unreadable, empty or has non-finite samples; for an
        unknown target, a domain that is not listenable, or non-finite logits.
    """
    request = request_class(explainer, labels, device, target, window_seconds, check)
    sink = InMemory()
    scores = explain_source(request, MonoFile(path), sink)
    return FileExplanation(**sink.whole(), **vars(scores))


def explain_in_memory(
    request: ClassRequest | PromptRequest, source: MonoFile
) -> Explained:
    """Explain a file; return scores, audio and maps, all in memory.

    Arguments
    ---------
    request : ClassRequest or PromptRequest
    source : MonoFile

    Returns
    -------
    explained : FileExplanation or PromptExplanation
    """
    sink = InMemory()
    scores = explain_source(request, source, sink)
    prompted = isinstance(request, PromptRequest)
    kind = PromptExplanation if prompted else FileExplanation
    return kind(**sink.whole(), **vars(scores))


def explain_source(
    request: ClassRequest | PromptRequest, source: MonoFile, sink: Sink
) -> FileScores:
    """Explain a file and pass finished blocks to a sink.

    Arguments
    ---------
    request : ClassRequest or PromptRequest
    source : MonoFile
    sink : Sink

    Returns
    -------
    scores : FileScores
        PromptScores for a PromptRequest.

    Raises
    ------
    InputError
        For a domain that is not listenable, or non-finite logits.
    """
    explainer, device = request.explainer, request.device
    domain, classifier = explainer.domain, explainer.classifier
    if not domain.listenable:
        raise InputError(
            f"masks of {type(domain).__name__} cannot be decoded to audio: use an "
            "interpreter trained on the STFT"
        )
    cut = WindowedFile(source, domain, request.window_seconds)
    target = request.target
    if target is None and len(cut.starts) > 1 and _takes_target(explainer):
        target = int(_mean_probabilities(cut, classifier, device).argmax())
    sink.begin(source.sample_rate, source.n_samples, cut.n_frames)
    decoded = DecodedAudio(classifier, cut, device)
    joined = JoinedWindows(sink, cut, decoded)
    parts = []
    for wavs in cut.batches(device, also=joined.take_input):
        targets = None
        if target is not None:
            targets = torch.full((len(wavs),), target, device=device)
        fields = explain_windows(
            explainer, wavs, request.labels, targets, request.check
        )
        joined.add(fields)
        parts.append({name: fields[name] for name in fields.keys() - {*SOUNDS, *MAPS}})
    return request.scores(source, _outcomes(cut, parts, decoded.logits()))


def classify_source(
    domain: MaskDomain,
    classifier: Classifier,
    source: MonoFile,
    window_seconds: float | None,
    device: str | torch.device = "cpu",
) -> torch.Tensor:
    """Return the mean probabilities over the windows of a file (`explain_file`).

    Arguments
    ---------
    domain : MaskDomain
    classifier : Classifier
    source : MonoFile
    window_seconds, device
        As `explain_file`.

    Returns
    -------
    probabilities : torch.Tensor
        Shape (C,), float64, on the CPU.
    """
    cut = WindowedFile(source, domain, window_seconds)
    return _mean_probabilities(cut, classifier, device)


def _mean_probabilities(
    cut: WindowedFile, classifier: Classifier, device: str | torch.device
) -> torch.Tensor:
    """Return the mean probabilities over windows, (C,), float64, on the CPU."""
    parts = [
        classify_waveforms(cut.domain, classifier, wavs) for wavs in cut.batches(device)
    ]
    return torch.cat(parts).cpu().double().softmax(1).mean(0)


def _outcomes(
    cut: WindowedFile,
    parts: list[dict[str, Any]],
    decoded: dict[str, torch.Tensor],
) -> WindowOutcomes:
    """Join the fields of batches of windows and the logits (W, C) of decoded audio."""

    def listed(name: str) -> list[Any]:
        return [value for part in parts for value in part[name]]

    def logits(name: str) -> torch.Tensor:
        return torch.cat([part[name].cpu().double() for part in parts])

    checked = [part["on_sounds"] for part in parts]
    return WindowOutcomes(
        spans=cut.spans(),
        predicted=listed("predicted"),
        explained=listed("labels"),
        mask_mean=[size.item() for size in listed("mask_mean")],
        logits={
            "whole": logits("logits"),
            "in": logits("logits_in"),
            "out": logits("logits_out"),
            **{f"heard {sound}": decoded[sound] for sound in SOUNDS},
        },
        on_sounds=None if checked[0] is None else torch.cat(checked).cpu(),
    )


def _takes_target(explainer: BoundExplainer) -> bool:
    """Return whether the mask of an explainer depends on the target class."""
    interpreter = getattr(explainer, "interpreter", None)
    return interpreter is None or takes_target(interpreter)
