"""The parts of a corpus of noise or speech, which share no file.

A corpus without parts of its own is split by the content of its files, so that neither
order nor names count, and copies of a file stay together. A corpus has sounds of any
length; `mixtures.draw_pieces` joins and cuts them.
"""

import json
from pathlib import Path

from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.hashing import file_hash

SPLITS = ("train", "valid", "test")  # of a dataset, parts of a corpus
SHARES = (0.6, 0.2, 0.2)  # of these, where a corpus has none of its own


def checksum(path: Path | str) -> str:
    """A hash of a file's bytes, 32 hexadecimal digits."""
    return file_hash(path, 16)


def part_of(
    digest: str, shares: list[float] | tuple[float, float, float] = SHARES
) -> str:
    """The part that a file belongs to, by its checksum alone.

    The first eight digits of the checksum, as a number in [0, 1), fall into one of
    three stretches of the lengths `shares`.

    Arguments
    ---------
    digest : str
        From `checksum`.
    shares : sequence
        Of "train", "valid" and "test"; they add up to 1.

    Example
    -------
    >>> part_of("00000000" + 24 * "0"), part_of("9999999a" + 24 * "0")
    ('train', 'valid')
    >>> part_of("cccccccd" + 24 * "0")  # 0.8 and a little
    'test'
    """
    place = int(digest[:8], 16) / 16**8
    if place < shares[0]:
        return "train"
    return "valid" if place < shares[0] + shares[1] else "test"


def check_shares(shares: list[float] | tuple) -> list[float]:
    """The shares as a list; refused unless they are three that add up to 1.

    Example
    -------
    >>> check_shares((0.5, 0.2, 0.2))
    Traceback (most recent call last):
    ...
    speechbrain_lmac.utils.errors.InputError: shares must be three numbers from 0 \
that add up to 1, got [0.5, 0.2, 0.2]
    """
    shares = list(shares)
    if len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise InputError(
            f"shares must be three numbers from 0 that add up to 1, got {shares}"
        )
    return shares


def read_part(corpus, part: str) -> list:
    """The sounds of one part of a prepared corpus.

    Arguments
    ---------
    corpus : WhamNoise, LJSpeech or SoundFolder
        `prepare` was called.
    part : str
        "train", "valid" or "test".

    Returns
    -------
    files : list of dict
        As `prepare_corpus` writes them, sorted by checksum: in an order that does not
        depend on names.

    Raises
    ------
    InputError
        The part is empty.
    """
    path = Path(corpus.manifest_folder) / f"{part}.json"
    files = json.loads(path.read_text(encoding="utf-8")).values()
    if not files:
        raise InputError(
            f"no file of {corpus.root} fell into the {part} part (a hash of each file "
            "decides): give a folder with more files, or other shares"
        )
    return sorted(files, key=lambda file: (file["checksum"], file["wav"]))
