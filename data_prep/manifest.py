"""What the preparation of every dataset shares: checks, manifests, whole writes.

A manifest is SpeechBrain's JSON: clip id -> fields, the path beginning with
``{data_root}``, which the loader replaces. A dataset is checked over all its clips
before a word is written, and its faults are told in one message.
"""

import csv
import hashlib
import json
import os
import shlex
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from speechbrain_lmac.data_prep.containers import length_of
from speechbrain_lmac.errors import InputError, some_of

SPLITS = ("train", "valid", "test")
FINGERPRINT = "manifest.fingerprint.json"
FORMAT = 1  # one more when the manifests' content changes: old ones are remade
BLOCK_FRAMES = 1 << 16  # decoded at once, so that long files need no memory
UNKNOWN_FRAMES = 1 << 62  # libsndfile's answer for a stream is near 2**63
# Endings of audio and video that libsndfile does not read and ffmpeg does.
TO_CONVERT = (
    ".m4a .m4b .aac .ac3 .eac3 .amr .ape .dts .mka .mpc .ra .tta .wma .wv .dsf .dff "
    ".3gp .avi .flv .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .vob .webm .wmv"
).split()


@dataclass(frozen=True)
class Manifests:
    """The manifests of a dataset and what is in them."""

    train: Path
    valid: Path
    test: Path
    counts: dict  # split -> number of clips
    warnings: tuple  # what is no fault and yet worth a look, one string each


@dataclass(frozen=True)
class AudioCheck:
    """What a file was found to hold when all of it was decoded."""

    n_frames: int
    sample_rate: int  # Hz
    silent: bool  # every sample is 0
    doubt: str = ""  # what of its header is wrong and does no harm

    @property
    def duration(self):
        """Seconds."""
        return self.n_frames / self.sample_rate


class AudioFault(Exception):
    """Why a file cannot be used; the message is the kind of fault."""


class Faults:
    """The faults of a dataset by kind, told in one error.

    Example
    -------
    >>> faults = Faults()
    >>> faults.add("missing audio file", "a.wav")
    >>> faults.add("missing audio file", "b.wav")
    >>> faults.raise_if_any("data/ESC-50")
    Traceback (most recent call last):
    ...
    speechbrain_lmac.errors.InputError: data/ESC-50 has 2 faults, no manifest written:
      missing audio file (2): a.wav, b.wav
    """

    def __init__(self):
        self.by_kind = {}

    def add(self, kind, what):
        """Note one fault; `what` is the clip, class or fold that has it."""
        self.by_kind.setdefault(kind, []).append(what)

    def raise_if_any(self, where):
        """Raise InputError with the count and the first ten of each kind."""
        if not self.by_kind:
            return
        total = sum(map(len, self.by_kind.values()))
        count = "1 fault" if total == 1 else f"{total} faults"
        lines = [f"{where} has {count}, no manifest written:"]
        for kind, found in self.by_kind.items():
            lines.append(f"  {kind} ({len(found)}): {some_of(found)}")
        raise InputError("\n".join(lines))


def check_audio(path):
    """Decode a whole file, block by block.

    libsndfile reads a WAV or Ogg file that was cut short as a shorter one, without
    a word. So the file's length is compared with what its header promises; a header
    that is wrong and does no harm, as those written into a pipe, is a doubt
    (`containers.length_of`).

    Arguments
    ---------
    path : str or Path
        WAV, FLAC, Ogg or whatever else libsndfile decodes.

    Returns
    -------
    check : AudioCheck
        Length, sample rate, whether there is anything to hear, and any doubt.

    Raises
    ------
    AudioFault
        The file is missing, empty, unreadable or truncated, or holds a NaN.
    """
    path = Path(path)
    _check_file(path)
    try:
        # As bytes: a name need not be UTF-8, but on Windows all are text.
        sound = soundfile.SoundFile(path if os.name == "nt" else os.fsencode(path))
    except soundfile.SoundFileError:
        raise AudioFault("unreadable audio file" + _advice(path)) from None
    n_frames, finite, silent = 0, True, True
    with sound:
        block = np.empty((BLOCK_FRAMES, sound.channels), dtype=np.float32)
        while True:
            try:
                read = sound.read(out=block)
            except soundfile.SoundFileError:
                raise AudioFault("truncated or damaged audio file") from None
            if len(read) == 0:
                break
            n_frames += len(read)
            finite = finite and bool(np.isfinite(read).all())
            silent = silent and not read.any()
        promised = sound.frames if sound.frames < UNKNOWN_FRAMES else n_frames
        sample_rate = sound.samplerate
    length = length_of(path)
    if n_frames < promised or length.cut:
        raise AudioFault("truncated or damaged audio file")
    if n_frames == 0:
        raise AudioFault(length.fault or "empty audio file")
    if not finite:
        raise AudioFault("audio file with NaN or infinite samples")
    return AudioCheck(n_frames, sample_rate, silent, length.doubt)


def doubt_lines(doubtful):
    """The warnings of a dataset about headers; `doubtful` are names by their doubt."""
    return [
        f"{doubt} ({len(names)}): {some_of(names)}" for doubt, names in doubtful.items()
    ]


def _check_file(path):
    """Raise AudioFault unless there is a file with something in it, to be read."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise AudioFault("missing audio file") from None
    except OSError as error:
        raise AudioFault(f"cannot be opened: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise AudioFault("no file, but a folder, a pipe or a device")
    if status.st_size == 0:
        raise AudioFault("empty audio file")
    try:
        open(path, "rb").close()
    except OSError as error:
        raise AudioFault(f"cannot be opened: {error.strerror}") from None


def _advice(path):
    """What to do about a file of a kind that libsndfile does not know."""
    if path.suffix.lower() not in TO_CONVERT:
        return ""
    return f" ({path.suffix} is to be converted: {conversion(path)})"


def conversion(path):
    """The command that makes a WAV file of a video or another audio file.

    Example
    -------
    >>> conversion("my clip.m4a")
    "ffmpeg -i 'my clip.m4a' 'my clip.wav'"
    """
    path = Path(path)
    return shlex.join(["ffmpeg", "-i", str(path), str(path.with_suffix(".wav"))])


def read_table(path, columns):
    """The rows of a csv file as dicts of strings.

    Arguments
    ---------
    path : str or Path
        Comma-separated, UTF-8, its first line naming the columns.
    columns : sequence of str
        The columns that must be there; others are kept.

    Returns
    -------
    rows : list of dict
        Column -> text without surrounding blanks, "" where a row is short.

    Raises
    ------
    InputError
        No such file, no table, or a column lacks.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            found = reader.fieldnames or []
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read the table {path}: {error}") from error
    missing = [column for column in columns if column not in found]
    if missing:
        raise InputError(
            f"{path} lacks the columns {', '.join(missing)}; "
            f"it has {some_of(found) or 'none'}"
        )
    return [{column: row[column].strip() for column in found} for row in rows]


def split_of_folds(**folds):
    """Which split each fold belongs to.

    Arguments
    ---------
    **folds : sequences of int
        ``train_folds``, ``valid_folds``, ``test_folds``.

    Returns
    -------
    split_of : dict
        Fold -> "train", "valid" or "test".

    Raises
    ------
    InputError
        A list is empty, holds something else than whole numbers from 1, or shares a
        fold with another.

    Example
    -------
    >>> split_of_folds(train_folds=(1, 2), valid_folds=(4,), test_folds=(5,))
    {1: 'train', 2: 'train', 4: 'valid', 5: 'test'}
    """
    split_of = {}
    for name, listed in folds.items():
        if not isinstance(listed, (list, tuple)) or not listed:
            raise InputError(f"{name} must be a list of folds, got {listed!r}")
        for fold in listed:
            if not isinstance(fold, int) or isinstance(fold, bool) or fold < 1:
                raise InputError(f"{name} must hold whole numbers from 1, got {fold!r}")
            split = name.removesuffix("_folds")
            if split_of.setdefault(fold, split) != split:
                raise InputError(
                    f"fold {fold} is in {split_of[fold]}_folds and in {name}: "
                    "a clip must not be in two splits"
                )
    return split_of


def fingerprint(options, root, files):
    """A hash of everything that manifests are made from.

    Arguments
    ---------
    options : dict
        Whatever JSON can hold, the content of the dataset's table included.
    root : str or Path
        The dataset's folder, which may move without a change of the hash.
    files : iterable of str
        The audio files used, relative to root; their names, sizes and times of
        change count, not their content.

    Returns
    -------
    fingerprint : str
        64 hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps([FORMAT, options], sort_keys=True).encode())
    for name in files:
        try:
            status = os.stat(os.path.join(root, name))
            state = (name, status.st_size, status.st_mtime_ns)
        except OSError:
            state = (name, None, None)
        digest.update(json.dumps(state).encode())
    return digest.hexdigest()


def load_manifests(folder, fingerprint):
    """The manifests that are there already, or None where they are out of date."""
    folder = Path(folder)
    try:
        record = json.loads((folder / FINGERPRINT).read_text(encoding="utf-8"))
        manifests = _manifests(folder, record)
        unchanged = record["fingerprint"] == fingerprint
    except (OSError, ValueError, KeyError, TypeError):
        return None
    paths = (manifests.train, manifests.valid, manifests.test)
    return manifests if unchanged and all(p.is_file() for p in paths) else None


def write_manifests(folder, splits, fingerprint, warnings=()):
    """Write all manifests of a dataset, or none of them.

    Arguments
    ---------
    folder : str or Path
        Made where it does not exist.
    splits : dict
        "train", "valid", "test" -> clip id -> fields.
    fingerprint : str
        Of what they were made from (`fingerprint`).
    warnings : sequence of str
        Kept, so that a later call that finds nothing to do can repeat them.

    Returns
    -------
    manifests : Manifests
        Paths, counts and warnings.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    folder = Path(folder)
    record = {
        "fingerprint": fingerprint,
        "counts": {split: len(clips) for split, clips in splits.items()},
        "warnings": list(warnings),
    }
    contents = {f"{split}.json": clips for split, clips in splits.items()}
    contents[FINGERPRINT] = record  # last: it vouches for the others
    new_folders = [p for p in (folder, *folder.parents) if not p.exists()]
    drafts = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            draft = folder / f".{name}.{os.getpid()}"
            drafts[draft] = folder / name
            draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        (folder / FINGERPRINT).unlink(missing_ok=True)
        for draft, path in drafts.items():
            os.replace(draft, path)
    except BaseException as error:
        with suppress(OSError):
            for draft in drafts:
                draft.unlink(missing_ok=True)
            for new_folder in new_folders:
                new_folder.rmdir()
        if isinstance(error, OSError):
            raise InputError(f"cannot write manifests in {folder}: {error}") from error
        raise
    return _manifests(folder, record)


def _manifests(folder, record):
    return Manifests(
        train=folder / "train.json",
        valid=folder / "valid.json",
        test=folder / "test.json",
        counts=record["counts"],
        warnings=tuple(record["warnings"]),
    )
