"""Audio of any length, block by block: read as mono, resampled, written.

The memory does not grow with the length. What comes out is, up to rounding, what
`audio.read_mono` and `audio.resample` return for the whole.
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

BLOCK = 1 << 18  # frames that are read, or resampled, at once
# Samples of all channels that are kept of a file that has no more, which is decoded
# once then: 128 MiB, 6 minutes of stereo at 44.1 kHz.
KEPT_SAMPLES = 1 << 25
# From here on a WAV file needs the 64-bit sizes of RF64, which libsndfile can write.
LARGEST_WAV = 2**32 - 2**16  # bytes


class MonoFile:
    """An audio file as mono, read in blocks; it is looked through once at first.

    What is found then is kept of a file that is not too long (`KEPT_SAMPLES`), and a
    longer one is decoded again whenever its blocks are read: the memory is bounded.

    Arguments
    ---------
    path : str or Path
        WAV, FLAC, Ogg or what else libsndfile reads.

    Attributes
    ----------
    sample_rate : int
        Hz.
    n_samples : int
    silent : bool
        Whether every sample is 0.
    channel : str
        What was taken: "mean of 2", "2 of 2 (the mean cancels)"; "1 of 1".
    promised : int
        How many samples the decoder finds in the header.
    doubt : str
        What of the header is wrong and does no harm (`audio_headers.length_of`).

    Raises
    ------
    InputError
        When the file is missing, unreadable, empty or holds NaN or infinities.
    """

    def __init__(self, path: Path | str):
        self.path = path
        self.n_samples, bad, peak = 0, 0, 0.0
        powers, of_mean = 0.0, 0.0
        kept = []
        for block in self._blocks():
            self.n_samples += len(block)
            if kept is not None:
                kept.append(block)
                if self.n_samples * block.shape[1] > KEPT_SAMPLES:
                    kept = None
            bad += int((~np.isfinite(block)).sum())
            peak = max(peak, np.abs(block).max(initial=0.0))
            powers = powers + np.square(block, dtype=np.float64).sum(0)
            of_mean += np.square(block.mean(1, dtype=np.float64)).sum()
        check_samples(path, self.n_samples, bad)
        self.doubt = check_length(path)
        self.silent = not peak
        self._channel = choose_channel(powers, of_mean)
        if self._channel is not MEAN:
            n = len(powers)
            cancels = " (the mean cancels)" if n > 1 else ""
            self.channel = f"{self._channel + 1} of {n}{cancels}"
        else:
            self.channel = f"mean of {len(powers)}"
        self._kept = None if kept is None else list(map(self._mono, kept))

    def __iter__(self):
        """Blocks (N,) of float32, one after the other."""
        return iter(self._kept or self._again())

    def _again(self) -> Iterator[torch.Tensor]:
        n_samples = 0
        for block in self._blocks():
            n_samples += len(block)
            yield self._mono(block)
        if n_samples != self.n_samples:
            raise InputError(
                f"{self.path} has changed while it was read: {self.n_samples} "
                f"samples at first, then {n_samples}"
            )

    def _mono(self, block: np.ndarray) -> torch.Tensor:
        """An array (N, channels) as a waveform (N,)."""
        return mix_down(torch.from_numpy(block.T.copy()), self._channel)

    def _blocks(self) -> Iterator[np.ndarray]:
        """Arrays (N, channels)."""
        try:
            with opened(self.path) as source, soundfile.SoundFile(source) as sound:
                self.sample_rate, self.promised = sound.samplerate, sound.frames
                check_rate(self.path, self.sample_rate)
                while True:
                    block = sound.read(BLOCK, dtype="float32", always_2d=True)
                    if not len(block):
                        return
                    yield block
        except soundfile.LibsndfileError as error:
            raise InputError(
                f"cannot read {self.path} as audio ({error}); is it truncated, or no "
                "audio file?"
            ) from error


class Resampler:
    """Another sample rate for a signal that comes in blocks; see `audio.resample`.

    Arguments
    ---------
    from_rate, to_rate : int
        Hz.
    n_samples : int
        Of the signal, before.

    Example
    -------
    >>> resampler = Resampler(44100, 16000, 44100)
    >>> blocks = [resampler.push(block) for block in torch.randn(44100).split(10000)]
    >>> torch.cat(blocks).shape
    torch.Size([16000])
    """

    def __init__(self, from_rate: int, to_rate: int, n_samples: int):
        self.rates = from_rate, to_rate
        shared = math.gcd(from_rate, to_rate)
        self.down, self.up = from_rate // shared, to_rate // shared
        self.n_samples = n_samples
        # How far either filter of `resample` reaches, in whole periods of the rates.
        reach = 10 * max(self.up, self.down) / self.up + 2
        self.context = self.down * math.ceil(reach / self.down)
        self.buffer = torch.zeros(0)
        self.first = 0  # sample of the signal with which the buffer begins
        self.done = 0  # samples of the signal that are resampled; whole periods

    def push(self, wav: torch.Tensor) -> torch.Tensor:
        """The samples (M,) that are ready after a block (N,); M may be 0."""
        if self.up == self.down:
            return wav
        self.buffer = torch.cat([self.buffer, wav])
        have, ready = self.first + len(self.buffer), []
        step = self.down * max(1, BLOCK // self.down)
        while self.done < have:
            end = min(self.done + step, self.n_samples)
            if have < min(end + self.context, self.n_samples):
                break
            ready.append(self._resampled(end))
        return torch.cat(ready) if ready else self.buffer[:0]

    def _resampled(self, end: int) -> torch.Tensor:
        """What lies between the samples that are done and `end`."""
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


class SoundWriter:
    """A mono WAV of 32-bit floats, written in blocks, that is whole or not there.

    Nothing is clipped. From 4 GiB on it is RF64, which soundfile and ffmpeg read.

    Arguments
    ---------
    path : str or Path
        Its folder is made when missing.
    sample_rate : int
        Hz.
    n_samples : int
        That will be written.
    """

    def __init__(self, path: Path, sample_rate: int, n_samples: int):
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

    def close(self, whole: bool = True) -> None:
        """End the file; unless it is whole, remove it."""
        try:
            with writing(self.path):
                self.sound.close()
                if whole:
                    os.replace(self.part, self.path)
        finally:
            with suppress(OSError):
                self.part.unlink(missing_ok=True)
