"""Audio files and streams as mono waveforms of one sample rate, length and level."""

import io
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchaudio

# Of the module itself: `from speechbrain.dataio import audio_io` is a lazy one, which
# searches all modules at its first use (60 ms).
from speechbrain.dataio.audio_io import load as load_audio
from speechbrain.dataio.audio_io import save as save_audio

from speechbrain_lmac.dsp.audio_headers import fault_of_rate, length_of
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import write_atomically
from speechbrain_lmac.utils.hashing import content_hash
from speechbrain_lmac.utils.system import one_thread

# Endings that are taken for audio; a file that is named may be called anything.
AUDIO = (
    ".wav .wave .bwf .rf64 .w64 .flac .ogg .oga .opus .mp3 .aif .aiff .aifc .au .snd "
    ".caf"
).split()
# Up to which torchaudio's filter for two sample rates is small.
LARGEST_FACTOR = 2000
# A mean that lies so far below its channels is not what was recorded, dB.
CANCELS_DB = -20.0
MEAN = None  # the channel that is the mean of all
FORMAT = "mono 2"  # another one when files are converted otherwise: old caches


class AudioReader:
    """Read files as mono at one sample rate, and keep what was converted.

    Arguments
    ---------
    sample_rate : int
        Hz.
    cache_folder : str or None
        Converted audio is kept there as float32 `.npy` under a name made of the
        file's path, size, time of change and the sample rate: a changed file is
        converted anew.
    """

    def __init__(self, sample_rate: int, cache_folder: Path | str | None = None):
        self.sample_rate = sample_rate
        self.cache_folder = None if cache_folder is None else Path(cache_folder)

    def __call__(self, path: Path | str) -> torch.Tensor:
        """Samples (N,) of a file, float32."""
        if self.cache_folder is None:
            return read_mono(path, self.sample_rate)
        cached = self.cache_folder / self.cache_name(path)
        if cached.is_file():
            return torch.from_numpy(np.load(cached))
        wav = read_mono(path, self.sample_rate)
        write_atomically(cached, lambda part: np.save(part, wav.numpy()))
        return wav

    def cache_name(self, path: Path | str) -> str:
        """What a file's converted audio is called."""
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
        WAV, FLAC, Ogg or what else libsndfile reads.
    sample_rate : int
        Wanted rate in Hz.

    Returns
    -------
    wav : torch.Tensor
        Shape (N,), float32.

    Raises
    ------
    InputError
        When the file is missing, unreadable, empty or holds NaN or infinities.
    """
    return _mono(*read_audio(path), sample_rate)


def decode_mono(data: bytes, name: str, sample_rate: int) -> torch.Tensor:
    """A sound in memory as mono at a sample rate.

    Arguments
    ---------
    data : bytes
        What an audio file holds.
    name : str
        What it is called in an error.
    sample_rate : int
        Wanted rate in Hz.

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
    with one_thread():  # what is cached shall not depend on who read it first
        if len(channels) == 1:  # nothing to choose: this is where clips are loaded
            return resample(channels[0], file_rate, sample_rate)
        exact = channels.double()
        powers = exact.square().sum(1).numpy()
        of_mean = exact.mean(0).square().sum().item()
        wav = mix_down(channels, choose_channel(powers, of_mean))
        return resample(wav, file_rate, sample_rate)


def choose_channel(powers: np.ndarray, power_of_mean) -> int:
    """Which channel stands for a recording: their mean, or else the loudest one.

    Arguments
    ---------
    powers : array
        Shape (C,): the energy of each channel.
    power_of_mean : float
        The energy of their mean.

    Returns
    -------
    channel : int or None
        `MEAN`, None, unless the mean is more than 20 dB below the channels: then they
        cancel each other (stereo out of phase), and the loudest is taken. 0 of one
        channel.

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
    """The waveform (N,) of channels (C, N); see `choose_channel`."""
    return channels.mean(0) if channel is MEAN else channels[channel]


def resample(wav: torch.Tensor, from_rate: int, to_rate: int) -> torch.Tensor:
    """Another sample rate: windowed sinc of torchaudio, or scipy's polyphase filter.

    torchaudio's filter is as large as the product of what the rates do not share:
    44,101 Hz would take minutes and gigabytes. Beyond `LARGEST_FACTOR`, which no rate
    in use is, scipy's takes over.

    Arguments
    ---------
    wav : torch.Tensor
        Shape (N,), float32, on the CPU.
    from_rate, to_rate : int
        Hz.

    Returns
    -------
    wav : torch.Tensor
        Shape (ceil(N to_rate / from_rate),), float32.

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
    from scipy.signal import resample_poly  # 0.1 s, for rates that are not in use

    return torch.from_numpy(resample_poly(wav.numpy(), up, down)).float()


def read_audio(path: Path | str) -> tuple[torch.Tensor, int]:
    """Read an audio file as it is.

    Returns
    -------
    channels : torch.Tensor
        Shape (channels, N), float32.
    sample_rate : int
        In Hz.

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
def opened(path: Path | str) -> Iterator[str]:
    """What soundfile opens of a path: the path, or a stream where its name is no text.

    Raises
    ------
    InputError
        Unless it is a file.
    """
    if "\0" in str(path) or not Path(path).is_file():
        raise InputError(f"no such audio file: {path}")
    if _is_utf8(path):
        yield str(path)
    else:  # soundfile would encode its name
        with open(path, "rb") as stream:
            yield stream


def _is_utf8(path: Path | str) -> bool:
    """Whether a name is text; bytes of another encoding are surrogates in it."""
    return not any("\udc80" <= c <= "\udcff" for c in str(path))


def check_length(path: Path | str) -> str:
    """Refuse a file that was cut short: libsndfile reads it as a shorter one.

    Returns
    -------
    doubt : str
        What of its header is wrong and does no harm; mostly "".

    Raises
    ------
    InputError
        Where the header promises more than the file holds (`audio_headers.length_of`).
    """
    length = length_of(path)
    if length.cut:
        raise InputError(
            f"{path} is truncated: its header promises more sound than the file holds"
        )
    return length.doubt


def check_samples(name: Path | str, n_samples: int, n_bad: int) -> None:
    """Refuse a file that holds nothing, or samples that are not finite."""
    if n_samples == 0:
        raise InputError(f"{name} holds no samples")
    if n_bad:
        raise InputError(f"{name} holds {n_bad} samples that are NaN or infinite")


def check_rate(name: Path | str, sample_rate: int) -> None:
    """Refuse a sample rate that no audio has: the header lies."""
    if fault := fault_of_rate(sample_rate):
        raise InputError(
            f"{name}: {fault}; write the file anew with the rate that it was recorded "
            "at (sox -r RATE FILE NEW.wav)"
        )


def _decode(source: str, name: Path | str) -> tuple[torch.Tensor, int]:
    """Channels (C, N) and rate of a file's path or of a stream of bytes."""
    try:
        channels, sample_rate = load_audio(source)
    except (RuntimeError, soundfile.LibsndfileError) as error:
        raise InputError(
            f"cannot read {name} as audio ({error}); is it truncated, or no audio file?"
        ) from error
    check_rate(name, sample_rate)
    bad = int((~torch.isfinite(channels)).sum())
    check_samples(name, channels.shape[1], bad)
    return channels, sample_rate


def write_sound(path: Path, wav: torch.Tensor, sample_rate: int) -> None:
    """Write a waveform (N,) as 32-bit float WAV, atomically: nothing is clipped."""
    write_atomically(
        path,
        lambda part: save_audio(str(part), wav[None], sample_rate, subtype="FLOAT"),
    )


def fix_length(wav: torch.Tensor, n_samples: int) -> torch.Tensor:
    """Silence at the end of what is shorter, the beginning of what is longer.

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


def recorded_share(length: int, n_samples: int) -> float:
    """What share of a clip of `n_samples` a recording of `length` samples fills.

    Example
    -------
    >>> recorded_share(800, 64000), recorded_share(80000, 64000)
    (0.0125, 1.0)
    """
    return min(1.0, length / n_samples)


def to_model_level(wav: torch.Tensor) -> torch.Tensor:
    """Divide by the largest absolute sample; silence stays silence.

    The public code divides by the signed maximum, which turns a clip of negative
    peak upside down or beyond 1, and silence into NaN (docs/methods.md, signed
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
