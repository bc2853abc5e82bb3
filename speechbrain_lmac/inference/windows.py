"""Windows of an audio file: cutting, cross-fading, and sinks for the result."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

import torch

from speechbrain_lmac.dsp.audio_streams import MonoFile, Resampler
from speechbrain_lmac.dsp.overlap_add import (
    OverlapAdd,
    Windows,
    window_length,
    window_starts,
)
from speechbrain_lmac.inference.explain_batch import classify_waveforms
from speechbrain_lmac.inference.results import MAPS, SOUNDS
from speechbrain_lmac.types import Classifier
from speechbrain_lmac.utils.errors import InputError

T = TypeVar("T")
# Number of windows of a long file per batch.
WINDOWS_AT_ONCE = 4


class Sink(Protocol):
    """Receiver of the finished blocks of an explanation."""

    def begin(self, sample_rate: int, n_samples: int, n_frames: int) -> None:
        """Start a result of the given sizes.

        Arguments
        ---------
        sample_rate : int
            Sample rate of the file, Hz.
        n_samples : int
            Length of each waveform.
        n_frames : int
            Number of frames of each map.
        """

    def sounds(self, **blocks: torch.Tensor) -> None:
        """Append blocks (N,) of `input`, `explanation`, `rest`, at the file's rate."""

    def maps(self, **blocks: torch.Tensor) -> None:
        """Append frames (T, F) of `magnitude`, `mask` and `masked_magnitude`."""


class InMemory:
    """A `Sink` that stores everything."""

    def begin(self, sample_rate: int, n_samples: int, n_frames: int) -> None:
        """See `Sink.begin`."""
        names = ("input", *SOUNDS, *MAPS)
        self.parts: dict[str, list[torch.Tensor]] = {name: [] for name in names}

    def sounds(self, **blocks: torch.Tensor) -> None:
        """Append blocks (N,) of `input`, `explanation`, `rest`, at the file's rate."""
        for name, block in blocks.items():
            self.parts[name].append(block)

    def maps(self, **blocks: torch.Tensor) -> None:
        """Append frames (T, F) of `magnitude`, `mask` and `masked_magnitude`."""
        self.sounds(**blocks)

    def whole(self) -> dict[str, Any]:
        """Return the fields of `SoundsAndMaps`: audio (N,) and maps (T, F)."""
        return {name: torch.cat(parts) for name, parts in self.parts.items()}


class WindowedFile:
    """A file as windows at the model's rate.

    Arguments
    ---------
    source : MonoFile
    domain : MaskDomain
        Domain of an `explain_batch.BoundExplainer`.
    window_seconds : float or None
        See `explain_file`.
    """

    def __init__(
        self, source: MonoFile, domain: Any, window_seconds: float | None
    ) -> None:
        self.source = source
        self.domain = domain
        self.rate = domain.sample_rate
        self.n_samples = math.ceil(source.n_samples * self.rate / source.sample_rate)
        step = domain.hop_length
        self.length = window_length(self.n_samples, window_seconds, self.rate, step)
        self.starts = window_starts(self.n_samples, self.length, step)
        self.n_frames = self.n_samples // step + 1

    def windows(
        self, also: Callable[[torch.Tensor], None] | None = None
    ) -> Iterator[torch.Tensor]:
        """Yield each window (length,); pass the resampled blocks (N,) to `also`."""
        windows = Windows(self.starts, self.length)
        resampler = self.resampler(self.source.sample_rate, self.rate)
        for block in self.source:
            block = resampler.push(block)
            if not torch.isfinite(block).all():
                raise InputError(
                    f"{self.source.path} overflows when resampled to {self.rate} Hz: "
                    "lower its level"
                )
            if also is not None:
                also(block)
            yield from windows.push(block)

    def batches(
        self,
        device: str | torch.device,
        also: Callable[[torch.Tensor], None] | None = None,
    ) -> Iterator[torch.Tensor]:
        """Yield up to `WINDOWS_AT_ONCE` windows (W, length), on a device."""
        for wavs in _in_batches(self.windows(also)):
            yield torch.stack(wavs).to(device)

    def spans(self) -> list[tuple[float, float]]:
        """Return the start and end of each window, s."""
        return [
            (start / self.rate, (start + self.length) / self.rate)
            for start in self.starts
        ]

    def resampler(self, from_rate: int, to_rate: int) -> Resampler:
        """Return a resampler from the file's rate (Hz) to the model's, or back."""
        forward = from_rate == self.source.sample_rate
        n_samples = self.source.n_samples if forward else self.n_samples
        return Resampler(from_rate, to_rate, n_samples)


def _in_batches(windows: Iterable[T]) -> Iterator[list[T]]:
    """Yield lists of up to `WINDOWS_AT_ONCE` windows."""
    batch: list[T] = []
    for window in windows:
        batch.append(window)
        if len(batch) == WINDOWS_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


class JoinedWindows:
    """Cross-fading of explained windows, with a sink for the result.

    Arguments
    ---------
    sink : Sink
    cut : WindowedFile
    decoded : DecodedAudio
        Classifies the audio of the explanation and of the rest.
    """

    def __init__(self, sink: Sink, cut: WindowedFile, decoded: "DecodedAudio"):
        self.sink, self.cut, self.decoded = sink, cut, decoded
        self.n_added = 0
        hop = cut.domain.hop_length
        self.joined = {name: OverlapAdd(cut.n_samples) for name in SOUNDS}
        self.joined |= {name: OverlapAdd(cut.n_frames, hop) for name in MAPS}
        self.waiting = torch.zeros(0)  # of the input, up to the explained samples
        file_rate = cut.source.sample_rate
        self.back = {
            name: cut.resampler(cut.rate, file_rate) for name in ("input", *SOUNDS)
        }
        self.left = cut.source.n_samples

    def take_input(self, block: torch.Tensor) -> None:
        """Append a block (N,) of the input, at the model's rate."""
        self.waiting = torch.cat([self.waiting, block])

    def add(self, fields: dict[str, Any]) -> None:
        """Append the fields of the next windows, from `explain_windows`."""
        first, n_windows = self.n_added, len(fields["labels"])
        self.n_added += n_windows
        for index in range(n_windows):
            start = self.cut.starts[first + index]
            for name, overlap_add in self.joined.items():
                overlap_add.add(start, fields[name][index].float().cpu())
        after = self.cut.starts[self.n_added : self.n_added + 1]
        self._hand_over(*after)

    def _hand_over(self, until: int | None = None) -> None:
        """Pass everything that later windows cannot change to the sink."""
        done = {
            name: overlap_add.take(until) for name, overlap_add in self.joined.items()
        }
        self.sink.maps(**{name: done[name] for name in MAPS})
        n_samples = len(done["rest"])
        sounds = {"input": self.waiting[:n_samples], **{n: done[n] for n in SOUNDS}}
        self.waiting = self.waiting[n_samples:].clone()
        sounds = {
            name: self.back[name].push(wav)[: self.left] for name, wav in sounds.items()
        }
        self.left -= len(sounds["input"])
        self.sink.sounds(**sounds)
        self.decoded.push({name: sounds[name] for name in SOUNDS})


class DecodedAudio:
    """Classification of the decoded audio, in the windows of `classify_source`.

    Arguments
    ---------
    classifier : Classifier
    cut : WindowedFile
    device : str or torch.device
    """

    def __init__(
        self, classifier: Classifier, cut: WindowedFile, device: str | torch.device
    ) -> None:
        self.classifier, self.cut, self.device = classifier, cut, device
        file_rate = cut.source.sample_rate
        self.to_model = {n: cut.resampler(file_rate, cut.rate) for n in SOUNDS}
        self.windows = {name: Windows(cut.starts, cut.length) for name in SOUNDS}
        self.parts: list[torch.Tensor] = []

    def push(self, sounds: dict[str, torch.Tensor]) -> None:
        """Append blocks (N,) of the audio, at the file's rate."""
        whole = [
            self.windows[name].push(self.to_model[name].push(sounds[name]))
            for name in SOUNDS
        ]
        for pairs in _in_batches(zip(*whole, strict=True)):
            wavs = torch.stack([wav for pair in pairs for wav in pair]).to(self.device)
            logits = classify_waveforms(self.cut.domain, self.classifier, wavs)
            self.parts.append(logits.cpu().double().unflatten(0, (-1, len(SOUNDS))))

    def logits(self) -> dict[str, torch.Tensor]:
        """Return the logits (W, C) of the windows of each part."""
        return dict(zip(SOUNDS, torch.cat(self.parts).unbind(1), strict=True))
