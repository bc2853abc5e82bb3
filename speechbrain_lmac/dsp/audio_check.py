"""Checks of audio files: all samples are decoded, and the header is verified."""

import os
import shlex
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from speechbrain_lmac.dsp.audio_headers import fault_of_rate, length_of
from speechbrain_lmac.utils.errors import some_of

BLOCK_FRAMES = 1 << 16  # decoded at once, which bounds the memory
UNKNOWN_FRAMES = 1 << 62  # libsndfile reports nearly 2**63 frames for a stream
# Suffixes of audio and video that ffmpeg reads and libsndfile does not.
TO_CONVERT = (
    ".m4a .m4b .aac .ac3 .eac3 .amr .ape .dts .mka .mpc .ra .tta .wma .wv .dsf .dff "
    ".3gp .avi .flv .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .vob .webm .wmv"
).split()


@dataclass(frozen=True)
class AudioCheck:
    """Properties of a fully decoded audio file."""

    n_frames: int
    sample_rate: int  # Hz
    silent: bool  # every sample is 0
    header_warning: str = ""  # a harmless error of its header

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.n_frames / self.sample_rate


class AudioFault(Exception):
    """An unusable file; the message is the kind of error."""


def check_audio(path: Path | str) -> AudioCheck:
    """Decode a whole file, block by block.

    libsndfile silently reads a truncated WAV or Ogg file as a shorter one. So the
    file's length is compared with that of its header; harmless header errors, such as
    those of files written to a pipe, are warnings (`audio_headers.length_of`).

    Arguments
    ---------
    path : str or Path
        WAV, FLAC, Ogg or another format of libsndfile.

    Returns
    -------
    check : AudioCheck
        Length, sample rate, silence, and header warning.

    Raises
    ------
    AudioFault
        The file is missing, empty, unreadable or truncated, or has NaN samples or an
        implausible sample rate.
    """
    # Imported here: it imports torch (2 s), which an unchanged dataset does not need.
    from speechbrain_lmac.dsp.audio import opened

    path = Path(path)
    _check_file(path)
    n_frames, finite, silent = 0, True, True
    with opened(path) as source, _decoder(source, path) as sound:
        block = np.empty((BLOCK_FRAMES, sound.channels), dtype=np.float32)
        while True:
            try:
                read = sound.read(out=block)
            except soundfile.SoundFileError:
                raise AudioFault("truncated or damaged audio file") from None
            if len(read) == 0:
                break
            n_frames += len(read)
            finite = finite and bool(np.isfinite(read).all())
            silent = silent and not read.any()
        declared = sound.frames if sound.frames < UNKNOWN_FRAMES else n_frames
        sample_rate = sound.samplerate
    if fault := fault_of_rate(sample_rate):
        raise AudioFault(fault)
    length = length_of(path)
    if n_frames < declared or length.truncated:
        raise AudioFault("truncated or damaged audio file")
    if n_frames == 0:
        raise AudioFault(length.fault or "empty audio file")
    if not finite:
        raise AudioFault("audio file with NaN or infinite samples")
    return AudioCheck(n_frames, sample_rate, silent, length.warning)


def header_warnings(names_of: Mapping[str, Sequence[Path | str]]) -> list[str]:
    """Return a line for each header warning; `names_of` maps it to its files."""
    return [
        f"{warning} ({len(names)}): {some_of(names)}"
        for warning, names in names_of.items()
    ]


def _check_file(path: Path) -> None:
    """Raise AudioFault unless it is a readable file that is not empty."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise AudioFault("missing audio file") from None
    except OSError as error:
        raise AudioFault(f"cannot be opened: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise AudioFault("not a regular file (a folder, a pipe or a device)")
    if status.st_size == 0:
        raise AudioFault("empty audio file")
    try:
        open(path, "rb").close()
    except OSError as error:
        raise AudioFault(f"cannot be opened: {error.strerror}") from None


def _decoder(source: str | BinaryIO, path: Path) -> soundfile.SoundFile:
    """Open a file with soundfile; raise AudioFault if its format is unknown."""
    try:
        return soundfile.SoundFile(source)
    except soundfile.SoundFileError:
        raise AudioFault("unreadable audio file" + _advice(path)) from None


def _advice(path: Path) -> str:
    """Return how to convert a format that libsndfile does not read, or ""."""
    if path.suffix.lower() not in TO_CONVERT:
        return ""
    return f" (convert {path.suffix} to WAV: {conversion(path)})"


def conversion(path: Path | str) -> str:
    """Return the command that converts a video or another audio file to WAV.

    Example
    -------
    >>> conversion("my clip.m4a")
    "ffmpeg -i 'my clip.m4a' 'my clip.wav'"
    """
    path = Path(path)
    return shlex.join(["ffmpeg", "-i", str(path), str(path.with_suffix(".wav"))])
