"""Any corpus of sounds to manifests of parts that share no file.

A corpus without parts of its own is split by the content of its files, so that neither
order nor names count, and copies of a file stay together. A corpus has sounds of any
length; `speechbrain_lmac.mixtures.draw_pieces` joins and cuts them.
"""

import hashlib
import json
import logging
from pathlib import Path

from speechbrain_lmac.audio_check import AudioFault, check_audio, doubt_lines
from speechbrain_lmac.console import progress_bar
from speechbrain_lmac.data_prep.manifest import (
    SPLITS,
    Faults,
    fingerprint,
    load_manifests,
    write_manifests,
)
from speechbrain_lmac.errors import InputError, some_of

SHARES = (0.6, 0.2, 0.2)
OPTION = "the data_folder of this corpus"

logger = logging.getLogger(__name__)


def checksum(path):
    """The blake2b digest of a file's bytes, 32 hexadecimal digits."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
    return digest.hexdigest()


def part_of(digest, shares=SHARES):
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


def check_shares(shares):
    """The shares as a list; refused unless they are three that add up to 1.

    Example
    -------
    >>> check_shares((0.5, 0.2, 0.2))
    Traceback (most recent call last):
    ...
    speechbrain_lmac.errors.InputError: shares must be three numbers from 0 that add \
up to 1, got [0.5, 0.2, 0.2]
    """
    shares = list(shares)
    if len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise InputError(
            f"shares must be three numbers from 0 that add up to 1, got {shares}"
        )
    return shares


def prepare_corpus(root, manifest_folder, names, part_of_file, options, warnings=()):
    """Check every file of a corpus and write ``train.json``, ``valid.json`` and
    ``test.json``.

    An entry is ``"tr/a.wav": {"wav": "{data_root}/tr/a.wav", "n_frames": 160000,
    "sample_rate": 16000, "checksum": "..."}``, in the file's frames and Hz. Silent
    files are left out, as are files whose content is in another part as well (they
    stay in the one nearest to the test); both are counted in the warnings. With an
    unchanged corpus a second call decodes and writes nothing.

    Arguments
    ---------
    root : Path
        Folder of the corpus.
    manifest_folder : str or Path
        Where the manifests go.
    names : list of str
        The files, relative to root.
    part_of_file : callable
        Name and checksum to "train", "valid" or "test".
    options : dict
        What the choice of files and parts depends on.
    warnings : sequence of str
        What was found before.

    Returns
    -------
    manifests : Manifests
        Paths, number of files in each part, and warnings.

    Raises
    ------
    InputError
        No file at all, or faults: all of them in one message.
    """
    if not names:
        raise InputError(f"{root} holds no audio file; give {OPTION}")
    options = {**options, "names": names, "warnings": list(warnings)}
    state = fingerprint(options, root, names)
    manifests = load_manifests(manifest_folder, state)
    if manifests is None:
        parts, found = _check_corpus(root, names, part_of_file)
        warnings = [*warnings, *found]
        manifests = write_manifests(manifest_folder, parts, state, warnings)
    for warning in manifests.warnings:
        logger.warning("%s: %s", root, warning)
    return manifests


def _check_corpus(root, names, part_of_file):
    """The files of each part and the warnings, or one error with all faults."""
    faults, silent, copies, doubtful = Faults(), [], [], {}
    parts = {part: {} for part in SPLITS}
    home = {}  # checksum -> (part, names in it)
    for name in progress_bar(names, desc=f"checking {root.name}"):
        try:
            audio = check_audio(root / name)
        except AudioFault as fault:
            faults.add(str(fault), name)
            continue
        if audio.silent:
            silent.append(name)
            continue
        if audio.doubt:
            doubtful.setdefault(audio.doubt, []).append(name)
        digest = checksum(root / name)
        part = part_of_file(name, digest)
        other, twins = home.get(digest, (part, []))
        if SPLITS.index(other) > SPLITS.index(part):
            copies.append(name)
            continue
        if other != part:
            copies += twins
            for twin in twins:
                del parts[other][twin]
            twins = []
        home[digest] = part, [*twins, name]
        parts[part][name] = {
            "wav": f"{{data_root}}/{name}",
            "n_frames": audio.n_frames,
            "sample_rate": audio.sample_rate,
            "checksum": digest,
        }
    faults.raise_if_any(root)
    if not home:
        raise InputError(f"{root} holds silent files only ({len(silent)})")
    warnings = []
    if silent:
        warnings.append(f"silent files left out ({len(silent)}): {some_of(silent)}")
    if copies:
        warnings.append(
            f"files left out whose content is in another part too ({len(copies)}): "
            f"{some_of(copies)}"
        )
    return parts, warnings + doubt_lines(doubtful)


def read_part(corpus, part):
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
