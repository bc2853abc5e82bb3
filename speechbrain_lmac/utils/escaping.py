"""Visible escapes: of what a terminal obeys, a font lacks, or is no UTF-8."""

import re
import unicodedata
from pathlib import Path

# What a terminal obeys (C0 and C1 controls, DEL), what turns the order of letters
# around (bidirectional marks, embeddings, overrides, isolates), line separators that
# only some programs see, and half characters, which names that are no UTF-8 have.
CONTROLS = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f"
    r"\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
)
_CONTROL = re.compile(f"[{CONTROLS}]")


def escape(character: str) -> str:
    """Return the escape by which Python writes a character.

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
    """Replace the characters that a terminal would obey by visible escapes.

    Line ends and tabs stay; a line end of Windows becomes one of Unix.

    Example
    -------
    >>> print(visible("a dog" + chr(27) + "[2J, " + chr(0x202E) + "gnikrab"))
    a dog\\x1b[2J, \\u202egnikrab
    """
    return _CONTROL.sub(lambda found: escape(found[0]), text.replace("\r\n", "\n"))


def in_utf8(text: str) -> str:
    r"""A text whose bytes that are not UTF-8, in Python surrogates, become `\xE9`.

    Example
    -------
    >>> print(in_utf8("caf\udce9.wav"))
    caf\xe9.wav
    """
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def readable(path: Path | str) -> str:
    r"""A path as text that can be printed: `in_utf8`, control characters as `\n`.

    Example
    -------
    >>> print(readable("two\nlines.wav"))
    two\nlines.wav
    """
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) == "Cc" else c
        for c in in_utf8(str(path))
    )
