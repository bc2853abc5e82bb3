"""Visible escapes of control characters, of missing glyphs and of invalid UTF-8."""

import re
import unicodedata
from pathlib import Path

# Terminal controls (C0, C1, DEL), bidirectional marks, embeddings, overrides and
# isolates, which reorder letters, line separators that only some programs support, and
# surrogates, which stand for bytes that are not UTF-8.
CONTROLS = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f"
    r"\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
)
_CONTROL = re.compile(f"[{CONTROLS}]")


def escape(character: str) -> str:
    """Return the Python escape of a character.

    Example
    -------
    >>> print(escape(chr(27)), escape("雨"), escape(chr(0x1F415)))
    \\x1b \\u96e8 \\U0001f415
    """
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def visible(text: str) -> str:
    """Return a string with control characters (`CONTROLS`) as visible escapes.

    Line ends and tabs are kept; Windows line ends become Unix ones.

    Example
    -------
    >>> print(visible("a dog" + chr(27) + "[2J, " + chr(0x202E) + "gnikrab"))
    a dog\\x1b[2J, \\u202egnikrab
    """
    return _CONTROL.sub(lambda found: escape(found[0]), text.replace("\r\n", "\n"))


def in_utf8(text: str) -> str:
    r"""Return a string with bytes that are not UTF-8 (surrogates) as `\xE9`.

    Example
    -------
    >>> print(in_utf8("caf\udce9.wav"))
    caf\xe9.wav
    """
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def readable(path: Path | str) -> str:
    r"""Return a path as printable text: `in_utf8`, control characters as `\n`.

    Example
    -------
    >>> print(readable("two\nlines.wav"))
    two\nlines.wav
    """
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) == "Cc" else c
        for c in in_utf8(str(path))
    )
