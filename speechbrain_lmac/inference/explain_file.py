"""Explain an audio file of any length, window by window, in memory or to a sink.

A file goes through in blocks: mono, the model's rate, windows, masks, sounds that are
faded into each other, the file's rate. What is finished is handed to a sink, and the
sounds are heard once more by the classifier, as `classify_file` would hear them.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import torch

from speechbrain_lmac.dsp.audio_streams import MonoFile, Resampler
from speechbrain_lmac.dsp.overlap_add import (
    Faded,
    Windows,
    window_length,
    window_starts,
)
from speechbrain_lmac.inference.explain_batch import classify_waveforms, explain_windows
from speechbrain_lmac.inference.requests import (
    PromptRequest,
    WindowOutcomes,
    request_class,
    takes_target,
)
from speechbrain_lmac.inference.results import (
    MAPS,
    SOUNDS,
    FileExplanation,
    PromptExplanation,
)
from speechbrain_lmac.utils.errors import InputError

# Windows of a long file that are explained at once.
WINDOWS_AT_ONCE = 4


def explain_file(
    explainer,
    path: Path,
    labels: list[str],
    device: str = "cpu",
    target: str | None = None,
    window_seconds: float | None = None,
) -> FileExplanation:
    """Explain a class for an audio file of any rate, length and channels.

    The channels are averaged (`audio.choose_channel`), the rate is changed to the
    model's and the peak is brought to 1 for the model; what comes back has the file's
    rate, length and level, and nothing above the model's highest frequency. The phase
    is the input's (docs/methods.md, listening).

    Arguments
    ---------
    explainer : Explainer
        With `domain` and `classifier`; the domain can decode.
    path : str or Path
        The file.
    labels : list
        Class names in the order of the logits.
    device : str or torch.device
        Where the explainer is.
    target : str, optional
        The class to explain, among the labels; without: the one of the highest mean
        probability over all windows. The mask answers only if the explainer listens to
        its target: L-MAC's does so with a `ClassConditionedInterpreter`.
    window_seconds : float, optional
        A file that is longer than one and a half of these is explained in windows of
        this length, which overlap by half: each is brought to the model's level, and
        they are put together by fading (`overlap_add.Faded`). Each explains the file's
        class if the explainer can be asked for one, else the class that is predicted in
        it. Without: the file as a whole.

    Returns
    -------
    explained : FileExplanation

    Raises
    ------
    InputError
        When the file is missing, unreadable, empty or not finite; for a target that
        is no class; for a domain that cannot be listened to; for logits that are not
        finite.
    """
    request = request_class(explainer, labels, device, target, window_seconds)
    return explain_in_memory(request, MonoFile(path))


def explain_in_memory(request, source: MonoFile) -> FileExplanation | PromptExplanation:
    """Explain a file, and keep all that is to be heard and seen of it.

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


def explain_source(request, source: MonoFile, sink):
    """Explain a file, and hand what is finished to a sink.

    Arguments
    ---------
    request : ClassRequest or PromptRequest
    source : MonoFile
    sink : InMemory, or another one with its `begin`, `sounds` and `maps`

    Returns
    -------
    scores : FileScores or PromptScores

    Raises
    ------
    InputError
        For a domain that cannot be listened to; for logits that are not finite.
    """
    explainer, device = request.explainer, request.device
    domain, classifier = explainer.domain, explainer.classifier
    if not domain.listenable:
        raise InputError(
            f"{type(domain).__name__} cannot be listened to: take an interpreter "
            "that was trained on the STFT"
        )
    cut = _WindowedFile(source, domain, request.window_seconds)
    target = request.target
    if target is None and len(cut.starts) > 1 and _can_be_asked(explainer):
        target = int(_mean_probabilities(cut, classifier, device).argmax())
    sink.begin(source.sample_rate, source.n_samples, cut.n_frames)
    heard = _HeardSounds(classifier, cut, device)
    joined = _JoinedWindows(sink, cut, heard)
    parts = []
    for wavs in cut.batches(device, also=joined.take_input):
        asked = None
        if target is not None:
            asked = torch.full((len(wavs),), target, device=device)
        fields = explain_windows(explainer, wavs, request.labels, asked)
        joined.add(fields)
        parts.append({name: fields[name] for name in fields.keys() - {*SOUNDS, *MAPS}})
    return request.scores(source, _outcomes(cut, parts, heard.logits()))


def classify_source(
    domain,
    classifier,
    source: MonoFile,
    window_seconds: float,
    device: str | torch.device = "cpu",
) -> torch.Tensor:
    """The mean probabilities of a file's windows, as `explain_file` cuts them.

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
    cut = _WindowedFile(source, domain, window_seconds)
    return _mean_probabilities(cut, classifier, device)


def _mean_probabilities(
    cut: "_WindowedFile", classifier, device: str | torch.device
) -> torch.Tensor:
    """Of the windows of a file, (C,), float64, on the CPU."""
    parts = [
        classify_waveforms(cut.domain, classifier, wavs) for wavs in cut.batches(device)
    ]
    return torch.cat(parts).cpu().double().softmax(1).mean(0)


def _outcomes(
    cut: "_WindowedFile", parts: list, heard: dict[str, torch.Tensor]
) -> WindowOutcomes:
    """`WindowOutcomes` of batches of windows, and of logits (W, C) of each sound."""

    def listed(name: str) -> list:
        return [value for part in parts for value in part[name]]

    def logits(name: str) -> torch.Tensor:
        return torch.cat([part[name].cpu().double() for part in parts])

    return WindowOutcomes(
        spans=cut.spans(),
        predicted=listed("predicted"),
        explained=listed("labels"),
        mask_mean=[size.item() for size in listed("mask_mean")],
        logits={
            "whole": logits("logits"),
            "in": logits("logits_in"),
            "out": logits("logits_out"),
            **{f"heard {sound}": heard[sound] for sound in SOUNDS},
        },
    )


class InMemory:
    """A sink that keeps everything."""

    def begin(self, sample_rate: int, n_samples: int, n_frames: int) -> None:
        """What will come: samples of each sound at a rate in Hz, frames of each map."""
        self.parts = {name: [] for name in ("input", *SOUNDS, *MAPS)}

    def sounds(self, **blocks) -> None:
        """Blocks (N,) of `input`, `explanation` and `rest`, at the file's rate."""
        for name, block in blocks.items():
            self.parts[name].append(block)

    def maps(self, **blocks) -> None:
        """Frames (T, F) of `magnitude`, `mask` and `masked_magnitude`."""
        self.sounds(**blocks)

    def whole(self) -> dict[str, torch.Tensor]:
        """The fields of `SoundsAndMaps`."""
        return {name: torch.cat(parts) for name, parts in self.parts.items()}


class _WindowedFile:
    """A file as windows at the model's rate."""

    def __init__(self, source: MonoFile, domain, window_seconds: float | None):
        self.source = source
        self.domain = domain
        self.rate = domain.sample_rate
        self.n_samples = math.ceil(source.n_samples * self.rate / source.sample_rate)
        step = domain.hop_length
        self.length = window_length(self.n_samples, window_seconds, self.rate, step)
        self.starts = window_starts(self.n_samples, self.length, step)
        self.n_frames = self.n_samples // step + 1

    def windows(self, also=None) -> Iterator[torch.Tensor]:
        """Each window (length,); `also` is given the blocks that they are cut from."""
        windows = Windows(self.starts, self.length)
        resampler = self.resampler(self.source.sample_rate, self.rate)
        for block in self.source:
            block = resampler.push(block)
            if not torch.isfinite(block).all():
                raise InputError(
                    f"{self.source.path} is beyond the largest number when it is "
                    f"resampled to {self.rate} Hz: make it quieter"
                )
            if also is not None:
                also(block)
            yield from windows.push(block)

    def batches(self, device: str | torch.device, also=None) -> Iterator[torch.Tensor]:
        """Up to `WINDOWS_AT_ONCE` windows (W, length), on a device."""
        for wavs in _in_batches(self.windows(also)):
            yield torch.stack(wavs).to(device)

    def spans(self) -> list:
        """Where the windows begin and end, pairs of seconds."""
        return [
            (start / self.rate, (start + self.length) / self.rate)
            for start in self.starts
        ]

    def resampler(self, from_rate: int, to_rate: int) -> Resampler:
        """From the file's rate to the model's, or back."""
        there = from_rate == self.source.sample_rate
        n_samples = self.source.n_samples if there else self.n_samples
        return Resampler(from_rate, to_rate, n_samples)


def _in_batches(windows) -> Iterator[list[torch.Tensor]]:
    """Lists of up to `WINDOWS_AT_ONCE` windows."""
    some = []
    for window in windows:
        some.append(window)
        if len(some) == WINDOWS_AT_ONCE:
            yield some
            some = []
    if some:
        yield some


class _JoinedWindows:
    """Explained windows that are faded into each other, on their way to a sink.

    Arguments
    ---------
    sink : InMemory or another one
    cut : _WindowedFile
    heard : _HeardSounds
        Hears the sounds of the explanation and of the rest.
    """

    def __init__(self, sink, cut: _WindowedFile, heard: "_HeardSounds"):
        self.sink, self.cut, self.heard = sink, cut, heard
        self.n_added = 0
        hop = cut.domain.hop_length
        self.faded = {name: Faded(cut.n_samples) for name in SOUNDS}
        self.faded |= {name: Faded(cut.n_frames, hop) for name in MAPS}
        self.waiting = torch.zeros(0)  # of the input, until the sounds are as far
        file_rate = cut.source.sample_rate
        self.back = {
            name: cut.resampler(cut.rate, file_rate) for name in ("input", *SOUNDS)
        }
        self.left = cut.source.n_samples

    def take_input(self, block: torch.Tensor) -> None:
        """Take a block of the input, at the model's rate."""
        self.waiting = torch.cat([self.waiting, block])

    def add(self, fields: dict) -> None:
        """Take the next windows, as `explain_windows` has explained them."""
        first, n_windows = self.n_added, len(fields["labels"])
        self.n_added += n_windows
        for place in range(n_windows):
            start = self.cut.starts[first + place]
            for name, faded in self.faded.items():
                faded.add(start, fields[name][place].float().cpu())
        after = self.cut.starts[self.n_added : self.n_added + 1]
        self._hand_over(*after)

    def _hand_over(self, until: int | None = None) -> None:
        """Give the sink what no window will change any more."""
        done = {name: faded.take(until) for name, faded in self.faded.items()}
        self.sink.maps(**{name: done[name] for name in MAPS})
        n_samples = len(done["rest"])
        sounds = {"input": self.waiting[:n_samples], **{n: done[n] for n in SOUNDS}}
        self.waiting = self.waiting[n_samples:].clone()
        sounds = {
            name: self.back[name].push(wav)[: self.left] for name, wav in sounds.items()
        }
        self.left -= len(sounds["input"])
        self.sink.sounds(**sounds)
        self.heard.push({name: sounds[name] for name in SOUNDS})


class _HeardSounds:
    """What the classifier says of sounds, as `classify_source` hears a file."""

    def __init__(self, classifier, cut: _WindowedFile, device: str | torch.device):
        self.classifier, self.cut, self.device = classifier, cut, device
        file_rate = cut.source.sample_rate
        self.to_model = {n: cut.resampler(file_rate, cut.rate) for n in SOUNDS}
        self.windows = {name: Windows(cut.starts, cut.length) for name in SOUNDS}
        self.heard = []

    def push(self, sounds: dict[str, torch.Tensor]) -> None:
        """Take blocks of the sounds, at the file's rate."""
        whole = [
            self.windows[name].push(self.to_model[name].push(sounds[name]))
            for name in SOUNDS
        ]
        for pairs in _in_batches(zip(*whole, strict=True)):
            wavs = torch.stack([wav for pair in pairs for wav in pair]).to(self.device)
            logits = classify_waveforms(self.cut.domain, self.classifier, wavs)
            self.heard.append(logits.cpu().double().unflatten(0, (-1, len(SOUNDS))))

    def logits(self) -> dict[str, torch.Tensor]:
        """Of each sound the logits (W, C) of its windows."""
        return dict(zip(SOUNDS, torch.cat(self.heard).unbind(1), strict=True))


def _can_be_asked(explainer) -> bool:
    """Whether the mask of an explainer depends on the class that is asked for."""
    interpreter = getattr(explainer, "interpreter", None)
    return interpreter is None or takes_target(interpreter)
