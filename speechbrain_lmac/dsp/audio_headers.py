"""Checks of audio file headers: declared length and sample rate."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

UNKNOWN = "header without the length (written to a pipe), read to the end"
BEYOND = "header that declares a few bytes too many, read to the end"
UNFINISHED = (
    "unfinished WAV header: length 0, but samples follow (ffmpeg -i FILE NEW.wav "
    "reads it)"
)

# Lengths that programs write to a pipe, as the true one is not known yet: SoX and
# MPlayer; arecord; the largest signed number, and one more; the largest unsigned one.
PLACEHOLDERS = (0x7FFFF000, 0x7FFFFF00, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
# Some writers count their own header (44 bytes; 216 with the `auxi` chunk of SDR
# programs) or a trailing chunk as samples: the declared length is a few hundred bytes
# too large. A file is not truncated if it lacks at most SLACK_BYTES (16 ms at 16 kHz
# and 16 bits) and SLACK_SHARE of its samples: an interrupted copy loses half of a file
# on average.
SLACK_BYTES = 512
SLACK_SHARE = 1 / 50
# Accepted range, Hz. Others are errors of the header: resampling from 5 Hz would turn
# seconds into hours, and resampling from 2 GHz would exhaust the memory.
SAMPLE_RATES = (100, 10_000_000)
OGG_TAIL_BYTES = 1 << 16  # the longest page of an Ogg file is 65,307 bytes
W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"


@dataclass(frozen=True)
class Declared:
    """Position and length of the samples, as a header declares them."""

    offset: int  # bytes before the samples
    size: int  # bytes of the samples
    frame: int = 1  # bytes per frame (a sample of each channel)
    header: int = 8  # bytes at the start that the declared file length does not count


@dataclass(frozen=True)
class Length:
    """Result of comparing a file's length with its header's."""

    truncated: bool  # the file is shorter
    warning: str = ""  # a harmless error of the header
    fault: str = ""  # an error that prevents reading a complete file


def fault_of_rate(sample_rate: int) -> str:
    """Return the error message for an implausible sample rate (Hz), or "".

    Example
    -------
    >>> fault_of_rate(5)
    'header with a sample rate of 5 Hz'
    """
    low, high = SAMPLE_RATES
    good = low <= sample_rate <= high
    return "" if good else f"header with a sample rate of {sample_rate:,} Hz"


def length_of(path: Path | str) -> Length:
    """Compare the declared length of an audio file with its actual length.

    libsndfile silently reads truncated files. WAV (also RF64), AIFF, AU and W64 declare
    their length; an Ogg file must end with a complete page that is marked as the last
    (RFC 3533). Other formats are not checked.

    Arguments
    ---------
    path : str or Path
        A file that libsndfile can open.

    Returns
    -------
    length : Length
        Whether the file is truncated, and header errors.
    """
    n_bytes = os.stat(path).st_size
    with open(path, "rb") as file:
        head = file.read(40)
        if head[:4] == b"OggS":
            file.seek(max(0, n_bytes - OGG_TAIL_BYTES))
            tail = file.read()
            return Length(
                not _is_complete_last_page(tail[max(0, tail.rfind(b"OggS")) :])
            )
        declared = _declared(file, head)
    if declared is None:
        return Length(False)
    available = n_bytes - declared.offset
    missing = declared.size - available
    if declared.size == 0 and available > 0 and head[:4] in (b"RIFF", b"RF64"):
        # The rest are samples, unless the declared file length includes other chunks.
        total = int.from_bytes(head[4:8], "little")
        unknown = total in (0, *PLACEHOLDERS) or total + 8 <= declared.offset
        return Length(False, fault=UNFINISHED if unknown else "")
    if missing <= 0:
        return Length(False)
    if _is_placeholder(declared):
        return Length(False, UNKNOWN)
    if missing <= min(SLACK_BYTES, declared.size * SLACK_SHARE):
        return Length(False, BEYOND)
    return Length(True)


def _declared(file: BinaryIO, head: bytes) -> Declared | None:
    """Return the declared samples of a file that begins with `head`; None: unknown."""
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return _riff(file)
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _aiff(file)
    if head[:4] == b".snd":
        offset, size = (int.from_bytes(head[i : i + 4], "big") for i in (4, 8))
        return Declared(offset, size)
    if head[:4] == b"riff" and head[24:28] == b"wave":
        return _w64(file)
    return None


def _riff(file: BinaryIO) -> Declared | None:
    """Parse WAV: chunks with a name and a length (4 bytes each), padded to even."""
    file.seek(12)
    frame, long_size = 1, None
    while len(chunk := file.read(8)) == 8:
        name, size = chunk[:4], int.from_bytes(chunk[4:], "little")
        start = file.tell()
        if name == b"ds64":  # RF64: the length does not fit into 32 bits
            long_size = int.from_bytes(file.read(16)[8:], "little")
        elif name == b"fmt ":
            frame = max(1, int.from_bytes(file.read(14)[12:], "little"))
        elif name == b"data":
            if size == 0xFFFFFFFF and long_size is not None:
                size = min(long_size, 1 << 62)
            return Declared(start, size, frame)
        file.seek(start + size + size % 2)
    return None


def _aiff(file: BinaryIO) -> Declared | None:
    """Parse AIFF: as WAV, but big-endian; 8 bytes precede the samples."""
    file.seek(12)
    while len(chunk := file.read(8)) == 8:
        size, start = int.from_bytes(chunk[4:], "big"), file.tell()
        if chunk[:4] == b"SSND":
            return Declared(start, size)
        file.seek(start + size + size % 2)
    return None


def _w64(file: BinaryIO) -> Declared | None:
    """Parse W64: chunks aligned to 8 bytes, with a name (16 bytes) and a length (8).

    The length includes these 24 bytes.
    """
    file.seek(40)
    while len(chunk := file.read(24)) == 24:
        size, start = int.from_bytes(chunk[16:], "little"), file.tell()
        if chunk[:16] == W64_DATA:
            return Declared(start, size - 24)
        if size < 24:
            return None
        file.seek(start - 24 + (size + 7) // 8 * 8)
    return None


def _is_placeholder(declared: Declared) -> bool:
    """Return whether the declared size is a placeholder.

    Programs may subtract the header, and round down to whole frames.
    """
    for number in PLACEHOLDERS:
        for size in (number, number - declared.offset + declared.header):
            if declared.size in (size, size - size % declared.frame):
                return True
    return False


def _is_complete_last_page(page: bytes) -> bool:
    """Return whether an Ogg page is complete and the last of its stream (RFC 3533)."""
    if len(page) < 27 or not page[5] & 4:
        return False
    n_segments = page[26]
    lengths = page[27 : 27 + n_segments]
    return len(page) >= 27 + n_segments + sum(lengths)
