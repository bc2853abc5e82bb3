"""Streaming audio: reading as mono, resampling and writing in blocks.

Memory use does not grow with the length. The results equal those of `audio.read_mono`
and `audio.resample` for the whole signal, up to rounding.
"""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import soundfile
import torch

from speechbrain_lmac.dsp.audio import (
    MEAN,
    check_length,
    check_rate,
    check_samples,
    choose_channel,
    mix_down,
    opened,
    resample,
)
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import part_of, writing

BLOCK = 1 << 18  # frames read or resampled at once
# Files of at most this many samples, over all channels, are decoded once and cached in
# memory: 128 MiB, 6 minutes of stereo at 44.1 kHz.
CACHED_SAMPLES = 1 << 25
# From here on a WAV file needs the 64-bit sizes of RF64, which libsndfile can write.
LARGEST_WAV = 2**32 - 2**16  # bytes


class MonoFile:
    """An audio file, read as mono in blocks; the whole file is checked first.

    Up to `CACHED_SAMPLES` samples are cached in memory; a longer file is decoded again
    in every iteration.

    Arguments
    ---------
    path : str or Path
        WAV, FLAC, Ogg or another format of libsndfile.

    Attributes
    ----------
    sample_rate : int
        Hz.
    n_samples : int
        Samples of a channel.
    silent : bool
        Whether every sample is 0.
    channel : str
        Description: "mean of 2", "2 of 2 (the mean cancels)" or "1 of 1".
    declared_samples : int
        Samples of a channel according to the header.
    header_warning : str
        A harmless error of the header (`audio_headers.length_of`), or "".

    Raises
    ------
    InputError
        When the file is missing, unreadable, truncated or empty, has NaN or infinite
        samples, or an implausible sample rate.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self.n_samples, n_bad, peak = 0, 0, 0.0
        powers, power_of_mean = np.zeros(1), 0.0
        blocks: list[np.ndarray] | None = []
        for block in self._blocks():
            self.n_samples += len(block)
            if blocks is not None:
                blocks.append(block)
                if self.n_samples * block.shape[1] > CACHED_SAMPLES:
                    blocks = None
            n_bad += int((~np.isfinite(block)).sum())
            peak = max(peak, np.abs(block).max(initial=0.0))
            powers = powers + np.square(block, dtype=np.float64).sum(0)
            power_of_mean += np.square(block.mean(1, dtype=np.float64)).sum()
        check_samples(path, self.n_samples, n_bad)
        self.header_warning = check_length(path)
        self.silent = not peak
        self._channel = choose_channel(powers, power_of_mean)
        if self._channel is not MEAN:
            n = len(powers)
            cancels = " (the mean cancels)" if n > 1 else ""
            self.channel = f"{self._channel + 1} of {n}{cancels}"
        else:
            self.channel = f"mean of {len(powers)}"
        self._wavs = None if blocks is None else list(map(self._mono, blocks))

    def __iter__(self) -> Iterator[torch.Tensor]:
        """Return an iterator over blocks (N,) of float32."""
        return iter(self._wavs or self._decode_again())

    def _decode_again(self) -> Iterator[torch.Tensor]:
        """Yield the blocks (N,) of a file that is not cached."""
        n_samples = 0
        for block in self._blocks():
            n_samples += len(block)
            yield self._mono(block)
        if n_samples != self.n_samples:
            raise InputError(
                f"{self.path} changed while it was read: {self.n_samples} "
                f"samples at first, then {n_samples}; try again when it is complete"
            )

    def _mono(self, block: np.ndarray) -> torch.Tensor:
        """Return a block (N, C) as a waveform (N,)."""
        return mix_down(torch.from_numpy(block.T.copy()), self._channel)

    def _blocks(self) -> Iterator[np.ndarray]:
        """Yield blocks (N, C) of float32."""
        try:
            with opened(self.path) as source, soundfile.SoundFile(source) as sound:
                self.sample_rate, self.declared_samples = sound.samplerate, sound.frames
                check_rate(self.path, self.sample_rate)
                while True:
                    block = sound.read(BLOCK, dtype="float32", always_2d=True)
                    if not len(block):
                        return
                    yield block
        except soundfile.LibsndfileError as error:
            raise InputError(
                f"cannot read {self.path} as audio ({error}); it may be truncated, or "
                "not an audio file"
            ) from error


class Resampler:
    """A resampler of a signal in blocks; see `audio.resample`.

    Arguments
    ---------
    from_rate, to_rate : int
        Hz.
    n_samples : int
        Samples of the whole signal, at `from_rate`.

    Example
    -------
    >>> resampler = Resampler(44100, 16000, 44100)
    >>> blocks = [resampler.push(block) for block in torch.randn(44100).split(10000)]
    >>> torch.cat(blocks).shape
    torch.Size([16000])
    """

    def __init__(self, from_rate: int, to_rate: int, n_samples: int) -> None:
        self.rates = from_rate, to_rate
        shared = math.gcd(from_rate, to_rate)
        self.down, self.up = from_rate // shared, to_rate // shared
        self.n_samples = n_samples
        # Half the length of the filter of `resample`, torchaudio's or scipy's, in input
        # samples; rounded up to a multiple of `down`: `down` input samples are `up`
        # output samples.
        half_length = 10 * max(self.up, self.down) / self.up + 2
        self.context = self.down * math.ceil(half_length / self.down)
        self.buffer = torch.zeros(0)
        self.first = 0  # index in the signal of the buffer's first sample
        self.done = 0  # input samples already resampled: k * down, or n_samples

    def push(self, wav: torch.Tensor) -> torch.Tensor:
        """Add a block (N,); return the samples (M,) that are resampled, M >= 0."""
        if self.up == self.down:
            return wav
        self.buffer = torch.cat([self.buffer, wav])
        received, ready = self.first + len(self.buffer), []
        step = self.down * max(1, BLOCK // self.down)
        while self.done < received:
            end = min(self.done + step, self.n_samples)
            if received < min(end + self.context, self.n_samples):
                break
            ready.append(self._resampled(end))
        return torch.cat(ready) if ready else self.buffer[:0]

    def _resampled(self, end: int) -> torch.Tensor:
        """Return the resampled signal (M,) from input sample `done` to `end`."""
        begin = max(0, self.done - self.context)
        self.buffer = self.buffer[begin - self.first :].clone()
        self.first = begin
        until = min(end + self.context, self.n_samples)
        resampled = resample(self.buffer[: until - begin], *self.rates)
        skip = (self.done - begin) // self.down * self.up
        if end == self.n_samples:
            length = math.ceil((end - self.done) * self.up / self.down)
        else:
            length = (end - self.done) // self.down * self.up
        self.done = end
        return resampled[skip : skip + length]


class WavWriter:
    """Atomic writer of a mono WAV of 32-bit floats, in blocks.

    Nothing is clipped. Files of 4 GiB and more are RF64, which soundfile and ffmpeg
    read.

    Arguments
    ---------
    path : str or Path
        Its folder is created if missing.
    sample_rate : int
        Hz.
    n_samples : int
        Samples of all blocks together.
    """

    def __init__(self, path: Path | str, sample_rate: int, n_samples: int) -> None:
        self.path = Path(path)
        self.part = part_of(self.path)
        kind = "WAV" if 4 * n_samples < LARGEST_WAV else "RF64"
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.sound = soundfile.SoundFile(
                self.part, "w", sample_rate, 1, "FLOAT", format=kind
            )

    def write(self, wav: torch.Tensor) -> None:
        """Append samples (N,)."""
        with writing(self.path):
            self.sound.write(wav.detach().cpu().numpy())

    def close(self, complete: bool = True) -> None:
        """Finish the file; remove it if it is not `complete`."""
        try:
            with writing(self.path):
                self.sound.close()
                if complete:
                    os.replace(self.part, self.path)
        finally:
            with suppress(OSError):
                self.part.unlink(missing_ok=True)
