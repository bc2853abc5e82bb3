"""Audio files and streams as mono waveforms at the model's rate, length and level."""

import io
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import torch
import torchaudio

# Imported from the module itself: `from speechbrain.dataio import audio_io` is lazy and
# searches all modules at its first use (60 ms).
from speechbrain.dataio.audio_io import load as load_audio
from speechbrain.dataio.audio_io import save as save_audio

from speechbrain_lmac.dsp.audio_headers import fault_of_rate, length_of
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import write_atomically
from speechbrain_lmac.utils.hashing import content_hash
from speechbrain_lmac.utils.system import one_thread

# Suffixes of audio files in a folder; a file given by path may have any suffix.
AUDIO = (
    ".wav .wave .bwf .rf64 .w64 .flac .ogg .oga .opus .mp3 .aif .aiff .aifc .au .snd "
    ".caf"
).split()
# Largest rate, divided by the greatest common divisor, with a small torchaudio filter.
LARGEST_FACTOR = 2000
# Channels cancel if their mean is this far below them, dB.
CANCELS_DB = -20.0
MEAN = None  # stands for the mean of all channels
FORMAT = "mono 2"  # of the cache; change it when the conversion changes


class AudioReader:
    """Reader of files as mono at one sample rate, with a cache.

    Arguments
    ---------
    sample_rate : int
        Hz.
    cache_folder : str or Path or None
        Folder of converted audio, float32 `.npy` under a hash of the file's path,
        size, modification time and the sample rate: a changed file is converted again.
    """

    def __init__(
        self, sample_rate: int, cache_folder: Path | str | None = None
    ) -> None:
        self.sample_rate = sample_rate
        self.cache_folder = None if cache_folder is None else Path(cache_folder)

    def __call__(self, path: Path | str) -> torch.Tensor:
        """Return the samples (N,) of a file, float32."""
        if self.cache_folder is None:
            return read_mono(path, self.sample_rate)
        cached = self.cache_folder / self.cache_name(path)
        if cached.is_file():
            return torch.from_numpy(np.load(cached))
        wav = read_mono(path, self.sample_rate)
        write_atomically(cached, lambda part: np.save(part, wav.numpy()))
        return wav

    def cache_name(self, path: Path | str) -> str:
        """Return the name of a file's converted audio in the cache."""
        try:
            stat = os.stat(path)
        except FileNotFoundError as error:
            raise InputError(f"no such audio file: {path}") from error
        key = (os.path.realpath(path), stat.st_size, stat.st_mtime_ns, self.sample_rate)
        text = repr((*key, FORMAT))
        return content_hash(text, n_bytes=16) + ".npy"


def read_mono(path: Path | str, sample_rate: int) -> torch.Tensor:
    """Read an audio file as mono at a sample rate.

    Channels are averaged, unless they cancel each other (`choose_channel`); other
    rates are resampled (windowed sinc of torchaudio).

    Arguments
    ---------
    path : str or Path
        WAV, FLAC, Ogg or another format of libsndfile.
    sample_rate : int
        Rate of the result, Hz.

    Returns
    -------
    wav : torch.Tensor
        Shape (N,), float32.

    Raises
    ------
    InputError
        When the file is missing, unreadable, empty or has NaN or infinite samples.
    """
    return _mono(*read_audio(path), sample_rate)


def decode_mono(data: bytes, name: str, sample_rate: int) -> torch.Tensor:
    """Decode an audio file in memory as mono at a sample rate.

    Arguments
    ---------
    data : bytes
        Content of an audio file.
    name : str
        File name for error messages.
    sample_rate : int
        Rate of the result, Hz.

    Returns
    -------
    wav : torch.Tensor
        Shape (N,), float32.

    Raises
    ------
    InputError
        As `read_mono`.
    """
    return _mono(*_decode(io.BytesIO(data), name), sample_rate)


def _mono(channels: torch.Tensor, file_rate: int, sample_rate: int) -> torch.Tensor:
    with one_thread():  # the same bits in every process: they may be cached
        if len(channels) == 1:  # the common case
            return resample(channels[0], file_rate, sample_rate)
        exact = channels.double()
        powers = exact.square().sum(1).numpy()
        of_mean = exact.mean(0).square().sum().item()
        wav = mix_down(channels, choose_channel(powers, of_mean))
        return resample(wav, file_rate, sample_rate)


def choose_channel(powers: np.ndarray, power_of_mean: float) -> int | None:
    """Choose the mean of the channels, or the loudest one if they cancel.

    Arguments
    ---------
    powers : numpy.ndarray
        Shape (C,): the energy of each channel.
    power_of_mean : float
        The energy of their mean.

    Returns
    -------
    channel : int or None
        `MEAN` (None), unless the mean is more than 20 dB below the channels: then they
        cancel each other (stereo out of phase), and the loudest is returned. 0 for
        one channel.

    Example
    -------
    >>> choose_channel(np.array([1.0, 1.0]), 0.5), choose_channel(np.array([1, 2]), 0)
    (None, 1)
    """
    if len(powers) == 1:
        return 0
    cancels = power_of_mean < 10 ** (CANCELS_DB / 10) * powers.mean()
    return int(powers.argmax()) if cancels else MEAN


def mix_down(channels: torch.Tensor, channel: int | None) -> torch.Tensor:
    """Return the waveform (N,) of channels (C, N); see `choose_channel`."""
    return channels.mean(0) if channel is MEAN else channels[channel]


def resample(wav: torch.Tensor, from_rate: int, to_rate: int) -> torch.Tensor:
    """Resample by torchaudio's windowed sinc, or scipy's polyphase filter.

    The size of torchaudio's filter is the product of the rates over their greatest
    common divisor: 44,101 Hz would take minutes and gigabytes. Beyond
    `LARGEST_FACTOR`, which no common rate reaches, scipy's is used.

    Arguments
    ---------
    wav : torch.Tensor
        Shape (..., N), float32.
    from_rate, to_rate : int
        Hz.

    Returns
    -------
    wav : torch.Tensor
        Shape (..., ceil(N to_rate / from_rate)), float32.

    Example
    -------
    >>> resample(torch.zeros(44101), 44101, 16000).shape
    torch.Size([16000])
    """
    if from_rate == to_rate:
        return wav
    shared = math.gcd(from_rate, to_rate)
    down, up = from_rate // shared, to_rate // shared
    if max(down, up) <= LARGEST_FACTOR:
        return torchaudio.functional.resample(wav, from_rate, to_rate)
    from scipy.signal import resample_poly  # 0.1 s, for uncommon rates

    resampled = resample_poly(wav.cpu().numpy(), up, down, axis=-1)
    return torch.from_numpy(resampled).float().to(wav.device)


def read_audio(path: Path | str) -> tuple[torch.Tensor, int]:
    """Read an audio file with all channels, at its own rate.

    Returns
    -------
    channels : torch.Tensor
        Shape (C, N), float32.
    sample_rate : int
        Hz.

    Raises
    ------
    InputError
        As `read_mono`.
    """
    with opened(path) as source:
        channels, sample_rate = _decode(source, path)
    check_length(path)
    return channels, sample_rate


@contextmanager
def opened(path: Path | str) -> Iterator[str | BinaryIO]:
    """Yield the path for soundfile, or an open file if its name is not UTF-8.

    Raises
    ------
    InputError
        When the file is missing.
    """
    if "\0" in str(path) or not Path(path).is_file():
        raise InputError(f"no such audio file: {path}")
    if _is_utf8(path):
        yield str(path)
    else:  # soundfile encodes names in UTF-8
        with open(path, "rb") as stream:
            yield stream


def _is_utf8(path: Path | str) -> bool:
    """Return whether a path is valid UTF-8 (has no surrogates)."""
    return not any("\udc80" <= c <= "\udcff" for c in str(path))


def check_length(path: Path | str) -> str:
    """Raise if a file is truncated, which libsndfile does not report.

    Returns
    -------
    warning : str
        A harmless error of the header, or "".

    Raises
    ------
    InputError
        When the header declares more than the file has (`audio_headers.length_of`).
    """
    length = length_of(path)
    if length.truncated:
        raise InputError(
            f"{path} is truncated: its header declares more samples than the file has"
        )
    return length.warning


def check_samples(name: Path | str, n_samples: int, n_bad: int) -> None:
    """Raise if a file has no samples, or samples that are not finite.

    Arguments
    ---------
    name : str or Path
        File name for the message.
    n_samples : int
        Number of samples.
    n_bad : int
        Number of NaN or infinite samples.

    Raises
    ------
    InputError
        When `n_samples` is 0, or `n_bad` above 0.
    """
    if n_samples == 0:
        raise InputError(f"{name} has no samples")
    if n_bad:
        raise InputError(f"{name} has {n_bad} samples that are NaN or infinite")


def check_rate(name: Path | str, sample_rate: int) -> None:
    """Raise InputError for an implausible sample rate: the header is wrong."""
    if fault := fault_of_rate(sample_rate):
        raise InputError(
            f"{name}: {fault}; write the file again with the rate of the recording "
            "(sox -r RATE FILE NEW.wav)"
        )


def _decode(source: str | BinaryIO, name: Path | str) -> tuple[torch.Tensor, int]:
    """Return channels (C, N) and rate of a file's path or of a stream of bytes."""
    try:
        channels, sample_rate = load_audio(source)
    except (RuntimeError, soundfile.LibsndfileError) as error:
        raise InputError(
            f"cannot read {name} as audio ({error}); it may be truncated, or not an "
            "audio file"
        ) from error
    check_rate(name, sample_rate)
    bad = int((~torch.isfinite(channels)).sum())
    check_samples(name, channels.shape[1], bad)
    return channels, sample_rate


def write_sound(path: Path | str, wav: torch.Tensor, sample_rate: int) -> None:
    """Write a waveform as 32-bit float WAV, atomically and without clipping.

    Arguments
    ---------
    path : str or Path
        The file.
    wav : torch.Tensor
        Shape (N,), any level.
    sample_rate : int
        Hz.
    """
    write_atomically(
        Path(path),
        lambda part: save_audio(str(part), wav[None], sample_rate, subtype="FLOAT"),
    )


def fix_length(wav: torch.Tensor, n_samples: int) -> torch.Tensor:
    """Pad a waveform (N,) with zeros, or cut it, to (n_samples,).

    Example
    -------
    >>> fix_length(torch.tensor([1.0, 2.0, 3.0]), 2)
    tensor([1., 2.])
    >>> fix_length(torch.tensor([1.0]), 2)
    tensor([1., 0.])
    """
    missing = n_samples - len(wav)
    return (
        torch.nn.functional.pad(wav, (0, missing)) if missing > 0 else wav[:n_samples]
    )


def relative_length(length: int, n_samples: int) -> float:
    """Return the relative length of `length` samples in `n_samples`, at most 1.

    Example
    -------
    >>> relative_length(800, 64000), relative_length(80000, 64000)
    (0.0125, 1.0)
    """
    return min(1.0, length / n_samples)


def to_model_level(wav: torch.Tensor) -> torch.Tensor:
    """Divide a waveform (N,) by its largest absolute sample; silence stays silence.

    The public code divides by the signed maximum, which inverts a clip of negative
    peak or scales it beyond 1, and turns silence into NaN (docs/methods.md, signed
    maximum).

    Example
    -------
    >>> to_model_level(torch.tensor([0.1, -0.5]))
    tensor([ 0.2000, -1.0000])
    >>> to_model_level(torch.zeros(2))
    tensor([0., 0.])
    """
    peak = wav.abs().max()
    return wav / peak if peak > 0 else wav


def at_model_level(wavs: torch.Tensor) -> torch.Tensor:
    """Return waveforms (B, N), each scaled to a peak of 1, see `to_model_level`."""
    return torch.stack([to_model_level(wav) for wav in wavs])
