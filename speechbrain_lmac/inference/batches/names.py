"""Names of what is written about files: distinct, and legal, whatever theirs are."""

import os
import re
import unicodedata
from pathlib import Path

from speechbrain_lmac.utils.hashing import content_hash

# Characters of a prompt in a file name.
LONGEST_PROMPT = 60
# Bytes: of 255 that a file system allows, `_explanation.wav` takes 16, and 15 stand
# before the name while it is written (`files.write_atomically`, a PID of 9 digits).
LONGEST_NAME = 255 - 16 - 15


def name_key(name: str) -> str:
    """What is equal for names that are one file on some system.

    macOS and Windows take no notice of case, and macOS writes a letter with an accent
    in two ways.

    Example
    -------
    >>> name_key("Dog") == name_key("dog")
    True
    """
    folded = unicodedata.normalize("NFC", name).casefold()
    return unicodedata.normalize("NFC", folded)


def file_stem(path: str) -> str:
    """The stem of a path, in UTF-8 and without control characters.

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
    """A name of at most so many bytes: its beginning, and a hash of all of it.

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


def numbered(stem: str, is_free, n_bytes: int = LONGEST_NAME) -> str:
    """The first of `stem`, `stem_2`, `stem_3`, ... that is free, shortened where long.

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


def unique_names(paths) -> list[str]:
    """A name for each file: its stem, numbered where stems are equal.

    Example
    -------
    >>> unique_names(["a/dog.wav", "b/Dog.wav", "cat.flac"])
    ['dog', 'Dog_2', 'cat']
    """
    names, taken = [], set()
    for path in paths:
        name = numbered(file_stem(path), lambda name: name_key(name) not in taken)
        taken.add(name_key(name))
        names.append(name)
    return names


def prompt_names(prompts: list[str]) -> list[str]:
    """A piece of a file name for each prompt: safe on any system, and distinct.

    Letters, digits and hyphens of ASCII, at most `LONGEST_PROMPT` of them; numbered
    where prompts would be called alike. There is no underscore, so that a file's name
    and a prompt's, with one between them, can be told apart again.

    Example
    -------
    >>> prompt_names(["A dog, barking", "a dog/barking", "雨"])
    ['a-dog-barking', 'a-dog-barking-2', 'prompt']
    """
    names = []
    for prompt in prompts:
        words = re.sub("[^a-z0-9]+", "-", prompt.lower())[:LONGEST_PROMPT].strip("-")
        stem = words or "prompt"
        name, number = stem, 2
        while name in names:
            name, number = f"{stem}-{number}", number + 1
        names.append(name)
    return names
