"""Disjoint train, valid and test parts of noise and speech corpora.

A corpus without published parts is split by a hash of each file's content, so identical
files are in the same part, and order and names have no influence. Recordings have any
length; `mixtures.draw_pieces` joins and cuts them.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.hashing import file_hash

if TYPE_CHECKING:
    from speechbrain_lmac.data_prep.manifest import Manifests

SPLITS = ("train", "valid", "test")  # of a dataset; parts of a corpus
SHARES = (0.6, 0.2, 0.2)  # of the parts, for a corpus without published ones


class Corpus(Protocol):
    """A corpus of noise or speech, see `data_prep.noise_prepare`."""

    manifest_folder: str | Path
    published_parts: ClassVar[tuple[str, ...]]

    @property
    def root(self) -> Path:
        """The folder to which the manifests' paths are relative."""

    def prepare(self) -> "Manifests":
        """Check the corpus and write its manifests."""


def checksum(path: Path | str) -> str:
    """Return a hash of a file's bytes, 32 hexadecimal digits."""
    return file_hash(path, 16)


def part_of(digest: str, shares: Sequence[float] = SHARES) -> str:
    """Return the part that a file belongs to, from its checksum.

    The first eight digits of the checksum, read as a number in [0, 1), select one of
    three intervals with the lengths `shares`.

    Arguments
    ---------
    digest : str
        From `checksum`.
    shares : sequence
        Shares of "train", "valid" and "test", which sum to 1.

    Example
    -------
    >>> part_of("00000000" + 24 * "0"), part_of("9999999a" + 24 * "0")
    ('train', 'valid')
    >>> part_of("cccccccd" + 24 * "0")  # just above 0.8
    'test'
    """
    position = int(digest[:8], 16) / 16**8
    if position < shares[0]:
        return "train"
    return "valid" if position < shares[0] + shares[1] else "test"


def check_shares(shares: Sequence[float]) -> list[float]:
    """Return the shares as a list; raise unless they are three that sum to 1.

    Example
    -------
    >>> check_shares((0.5, 0.2, 0.2))
    Traceback (most recent call last):
    ...
    speechbrain_lmac.utils.errors.InputError: shares must be three numbers of \
at least 0 that sum to 1, got [0.5, 0.2, 0.2]
    """
    shares = list(shares)
    if len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise InputError(
            f"shares must be three numbers of at least 0 that sum to 1, got {shares}"
        )
    return shares


def read_part(corpus: Corpus, part: str) -> list[dict]:
    """Read the recordings of one part of a prepared corpus.

    Arguments
    ---------
    corpus : WhamNoise, LJSpeech or SoundFolder
        A prepared corpus: its `prepare` was called.
    part : str
        "train", "valid" or "test".

    Returns
    -------
    files : list of dict
        The entries of `prepare_corpus`, sorted by checksum, not by name.

    Raises
    ------
    InputError
        The part is empty.
    """
    path = Path(corpus.manifest_folder) / f"{part}.json"
    files = json.loads(path.read_text(encoding="utf-8")).values()
    if not files:
        raise InputError(
            f"the {part} part of {corpus.root} is empty (a hash assigns each file to a "
            "part): use a folder with more files, or other shares"
        )
    return sorted(files, key=lambda file: (file["checksum"], file["wav"]))
