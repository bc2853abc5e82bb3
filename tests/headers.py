"""WAV files whose headers say what programs say that write into a pipe, or break off.

Made of the bytes of a right file, so that what is heard is known.
"""

import io
import struct

import soundfile

RATE = 16000
BITS = ("PCM_16", "PCM_24", "FLOAT")
LIST = b"LIST\x03\x00\x00\x00abc\x00"  # of odd length: a byte of padding follows
AUXI = b"auxi" + struct.pack("<I", 164) + bytes(164)  # of SDR programs


def pieces(wav, subtype="PCM_16", container="WAV"):
    """The chunks before the sound of a WAV file, and the sound."""
    stream = io.BytesIO()
    soundfile.write(stream, wav, RATE, subtype, format=container)
    whole = stream.getvalue()
    data = whole.index(b"data")
    size = int.from_bytes(whole[data + 4 : data + 8], "little")
    return whole[12:data], whole[data + 8 : data + 8 + size]


def wav_bytes(before, sound, after=b"", whole=None, size=None, name=b"RIFF"):
    """A WAV file; `whole` and `size` are the lengths in its header, right without."""
    size = len(sound) if size is None else size
    rest = b"WAVE" + before + b"data" + struct.pack("<I", size) + sound + after
    whole = len(rest) if whole is None else whole
    return name + struct.pack("<I", whole) + rest


def rf64_bytes(before, sound, size):
    """A WAV file with lengths of 64 bits."""
    ds64 = b"ds64" + struct.pack("<IQQQI", 28, size + 100, size, 0, 0)
    unknown = 0xFFFFFFFF
    return wav_bytes(ds64 + before, sound, whole=unknown, size=unknown, name=b"RF64")


def read_to_the_end(before, sound):
    """Name to file: wrong headers that do no harm."""
    n, head = len(sound), len(before) + 20
    frame = int.from_bytes(before[before.index(b"fmt ") + 20 :][:2], "little")
    sox = 0x7FFFF000 // frame * frame
    return {
        "SoX into a pipe": wav_bytes(before, sound, whole=sox + 36, size=sox),
        "SoX, LIST before": wav_bytes(LIST + before, sound, whole=sox, size=sox),
        "ffmpeg into a pipe": wav_bytes(
            before, sound, whole=0xFFFFFFFF, size=0xFFFFFFFF
        ),
        "RIFF 0, size unknown": wav_bytes(before, sound, whole=0, size=0xFFFFFFFF),
        "largest less header": wav_bytes(
            before, sound, whole=0xFFFFFFFF, size=0xFFFFFFFF - head + 8
        ),
        "arecord": wav_bytes(before, sound, whole=0x80000024, size=0x80000000),
        "16 bytes beyond": wav_bytes(before, sound, size=n + 16),
        "header counted": wav_bytes(before, sound, size=n + head),
        "SDR header counted": wav_bytes(before + AUXI, sound, size=n + head + 172),
        "RF64, 16 bytes beyond": rf64_bytes(before, sound, n + 16),
    }


def right(before, sound):
    """Name to file: odd and right, no word is lost about them."""
    return {
        "plain": wav_bytes(before, sound),
        "LIST before": wav_bytes(before + LIST, sound),
        "LIST after": wav_bytes(before, sound + b"\0" * (len(sound) % 2), LIST),
        "bytes behind": wav_bytes(before, sound, b"abc"),
        "RIFF 0": wav_bytes(before, sound, whole=0),
        "RIFF all ones": wav_bytes(before, sound, whole=0xFFFFFFFF),
        "RF64": rf64_bytes(before, sound, len(sound)),
    }


def broken(before, sound):
    """Name to file and words of the refusal: sound is missing, or nothing says."""
    n, cut = len(sound), "truncated or damaged"
    whole = wav_bytes(before, sound)
    return {
        "half": (whole[: len(whole) // 2], cut),
        "header alone": (whole[:-n], cut),
        "600 bytes missing": (whole[:-600], cut),
        "half, LIST before": (wav_bytes(before + LIST, sound, size=n)[: -n // 2], cut),
        "2 GiB promised": (wav_bytes(before, sound, size=0x7F000000), cut),
        "RF64, half": (rf64_bytes(before, sound[: n // 2], n), cut),
        "RIFX": (b"RIFX" + whole[4:], "unreadable"),
        "unfinished": (
            wav_bytes(before, sound, whole=0, size=0),
            "unfinished WAV header",
        ),
        "unfinished, RIFF 36": (
            wav_bytes(before, sound, whole=len(before) + 12, size=0),
            "unfinished WAV header",
        ),
        "no sound": (wav_bytes(before, b""), "empty audio file"),
        "no sound, LIST after": (wav_bytes(before, b"", LIST), "empty audio file"),
        "tiny and half": (wav_bytes(before, sound[:8], size=16), cut),
    }
