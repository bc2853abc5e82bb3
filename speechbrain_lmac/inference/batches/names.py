"""Unique output file names, valid on any operating system."""

import os
import re
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

from speechbrain_lmac.utils.hashing import content_hash

# Maximum characters of a prompt in a file name.
LONGEST_PROMPT = 60
# In bytes: the limit of file systems, 255, minus 16 for `_explanation.wav` and 15 for
# the prefix of unfinished files (`files.write_atomically`, a PID of 9 digits).
LONGEST_NAME = 255 - 16 - 15


def name_key(name: str) -> str:
    """Return a key that is equal for names that collide on some operating system.

    macOS and Windows ignore case, and macOS normalises accented letters.

    Example
    -------
    >>> name_key("Dog") == name_key("dog")
    True
    """
    folded = unicodedata.normalize("NFC", name).casefold()
    return unicodedata.normalize("NFC", folded)


def file_stem(path: str) -> str:
    """Return the stem of a path, in UTF-8 and without control characters.

    Example
    -------
    >>> file_stem("a/caf\\udce9.wav"), file_stem("two\\nlines.wav")
    ('caf%E9', 'two%0Alines')
    """
    stem = os.fsencode(Path(path).stem).decode("utf-8", "surrogateescape")
    return "".join(
        f"%{ord(c) & 0xFF:02X}" if unicodedata.category(c) in ("Cc", "Cs") else c
        for c in stem
    )


def shortened(name: str, n_bytes: int) -> str:
    """Shorten a name to at most `n_bytes`: its beginning and a hash of the full name.

    Example
    -------
    >>> shortened("dog", 20), shortened("a very long name of a file", 20)
    ('dog', 'a very long-e572e688')
    """
    coded = name.encode()
    if len(coded) <= n_bytes:
        return name
    digest = content_hash(coded, n_bytes=4)
    return f"{coded[: n_bytes - 9].decode('utf-8', 'ignore')}-{digest}"


def numbered(
    stem: str, is_free: Callable[[str], bool], n_bytes: int = LONGEST_NAME
) -> str:
    """Return the first of `stem`, `stem_2`, `stem_3`, ... that is free.

    Arguments
    ---------
    stem : str
    is_free : callable
        Whether a name is free.
    n_bytes : int
        Maximum length of the name in UTF-8 bytes; `stem` is shortened to fit.

    Returns
    -------
    name : str

    Example
    -------
    >>> numbered("dog", lambda name: name not in ("dog", "dog_2"))
    'dog_3'
    """
    name, number = shortened(stem, n_bytes), 2
    while not is_free(name):
        ending = f"_{number}"
        name, number = shortened(stem, n_bytes - len(ending)) + ending, number + 1
    return name


def unique_names(paths: Iterable[str]) -> list[str]:
    """Return a name for each file: its stem, numbered where stems are equal.

    Example
    -------
    >>> unique_names(["a/dog.wav", "b/Dog.wav", "cat.flac"])
    ['dog', 'Dog_2', 'cat']
    """
    names: list[str] = []
    taken: set[str] = set()
    for path in paths:
        name = numbered(file_stem(path), lambda name: name_key(name) not in taken)
        taken.add(name_key(name))
        names.append(name)
    return names


def prompt_names(prompts: list[str]) -> list[str]:
    """Return a unique file-name part for each prompt, valid on any operating system.

    ASCII letters, digits and hyphens, at most `LONGEST_PROMPT` of them; numbered where
    they would be equal. There are no underscores, which separate file and prompt.

    Example
    -------
    >>> prompt_names(["A dog, barking", "a dog/barking", "雨"])
    ['a-dog-barking', 'a-dog-barking-2', 'prompt']
    """
    names: list[str] = []
    for prompt in prompts:
        words = re.sub("[^a-z0-9]+", "-", prompt.lower())[:LONGEST_PROMPT].strip("-")
        stem = words or "prompt"
        name, number = stem, 2
        while name in names:
            name, number = f"{stem}-{number}", number + 1
        names.append(name)
    return names
