"""What the headers of audio files promise: a length, against the file's; a rate."""

import os
from dataclasses import dataclass
from pathlib import Path

UNKNOWN = "header written before the length was known, read to the end"
BEYOND = "header that counts a few bytes too many, read to the end"
UNFINISHED = (
    "unfinished WAV header, which says that there is no sound, yet some follows "
    "(ffmpeg -i FILE NEW.wav reads it)"
)

# What programs write for the length of what goes into a pipe: SoX and MPlayer, arecord,
# and those that write the largest number, with or without a sign.
PLACEHOLDERS = (0x7FFFF000, 0x7FFFFF00, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
# Writers that count their own header as sound (44 bytes, with an `auxi` chunk of SDR
# programs 216) or a chunk behind it are off by a few hundred bytes. So much may be
# missing at most, and no more than this share: 16 ms at 16 kHz and 16 bits. A copy that
# broke off lost half of a file in the mean, not its last sector.
SLACK_BYTES = 512
SLACK_SHARE = 1 / 50
# Hz. Beyond, a header lies: 5 Hz would make hours of a second, 2 GHz fill the memory.
SAMPLE_RATES = (100, 10_000_000)
OGG_TAIL_BYTES = 1 << 16  # the longest page of an Ogg file is 65,307 bytes
W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"


@dataclass(frozen=True)
class Promise:
    """What a header says of the sound in its file."""

    offset: int  # bytes before it
    size: int  # bytes of it
    frame: int = 1  # bytes of a sample of all channels
    header: int = 8  # bytes of the offset that the length of the whole leaves out


@dataclass(frozen=True)
class Length:
    """Whether a file holds what its header promises."""

    cut: bool  # a part of it is missing
    doubt: str = ""  # what is said of a header that is wrong and does no harm
    fault: str = ""  # why it cannot be read though nothing is missing


def fault_of_rate(sample_rate: int) -> str:
    """What is wrong with the sample rate of a header; "" for one that audio can have.

    Example
    -------
    >>> fault_of_rate(5)
    'header with a sample rate of 5 Hz'
    """
    low, high = SAMPLE_RATES
    good = low <= sample_rate <= high
    return "" if good else f"header with a sample rate of {sample_rate:,} Hz"


def length_of(path: Path | str) -> Length:
    """Compare the length in a file's header with the file.

    libsndfile reads what is there without a word. WAV (also RF64), AIFF, AU and W64 say
    how long they are; an Ogg file has to end with a whole page that is marked as the
    last (RFC 3533). Of others nothing is known.

    Arguments
    ---------
    path : str or Path
        A file that libsndfile can open.

    Returns
    -------
    length : Length
    """
    n_bytes = os.stat(path).st_size
    with open(path, "rb") as file:
        head = file.read(40)
        if head[:4] == b"OggS":
            file.seek(max(0, n_bytes - OGG_TAIL_BYTES))
            tail = file.read()
            return Length(not _ends_whole(tail[max(0, tail.rfind(b"OggS")) :]))
        promise = _promise(file, head)
    if promise is None:
        return Length(False)
    there = n_bytes - promise.offset
    missing = promise.size - there
    if promise.size == 0 and there > 0 and head[:4] in (b"RIFF", b"RF64"):
        # What stands behind is sound, unless the length of the whole knows of it.
        whole = int.from_bytes(head[4:8], "little")
        unknown = whole in (0, *PLACEHOLDERS) or whole + 8 <= promise.offset
        return Length(False, fault=UNFINISHED if unknown else "")
    if missing <= 0:
        return Length(False)
    if _is_placeholder(promise):
        return Length(False, UNKNOWN)
    if missing <= min(SLACK_BYTES, promise.size * SLACK_SHARE):
        return Length(False, BEYOND)
    return Length(True)


def _promise(file, head: bytes) -> Promise | None:
    """The `Promise` of a file whose first bytes are `head`, or None."""
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return _riff(file)
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _aiff(file)
    if head[:4] == b".snd":
        offset, size = (int.from_bytes(head[i : i + 4], "big") for i in (4, 8))
        return Promise(offset, size)
    if head[:4] == b"riff" and head[24:28] == b"wave":
        return _w64(file)
    return None


def _riff(file) -> Promise:
    """WAV: chunks of a name, a length, and a byte of padding where that is odd."""
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
            return Promise(start, size, frame)
        file.seek(start + size + size % 2)
    return None


def _aiff(file) -> Promise:
    """AIFF: as WAV, with the highest byte first; 8 bytes stand before the sound."""
    file.seek(12)
    while len(chunk := file.read(8)) == 8:
        size, start = int.from_bytes(chunk[4:], "big"), file.tell()
        if chunk[:4] == b"SSND":
            return Promise(start, size)
        file.seek(start + size + size % 2)
    return None


def _w64(file) -> Promise:
    """W64: names of 16 bytes, lengths of 8 that count both, ends at multiples of 8."""
    file.seek(40)
    while len(chunk := file.read(24)) == 24:
        size, start = int.from_bytes(chunk[16:], "little"), file.tell()
        if chunk[:16] == W64_DATA:
            return Promise(start, size - 24)
        if size < 24:
            return None
        file.seek(start - 24 + (size + 7) // 8 * 8)
    return None


def _is_placeholder(promise: Promise) -> bool:
    """Whether a size is one of `PLACEHOLDERS`, less the header, in whole frames."""
    for number in PLACEHOLDERS:
        for size in (number, number - promise.offset + promise.header):
            if promise.size in (size, size - size % promise.frame):
                return True
    return False


def _ends_whole(page: bytes) -> bool:
    """Whether an Ogg page is the stream's last and all of it is there (RFC 3533)."""
    if len(page) < 27 or not page[5] & 4:
        return False
    n_segments = page[26]
    lengths = page[27 : 27 + n_segments]
    return len(page) >= 27 + n_segments + sum(lengths)
