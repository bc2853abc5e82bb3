"""ESC-50 (K. J. Piczak 2015) to SpeechBrain manifests; ESC-10 is its subset.

2000 recordings of 5 s in 50 classes and 5 folds; clips cut from one recording stay in
one fold, so that a split by folds is a split by recordings. Any folder in the same
layout will do: `toy_prepare.make_toy` makes one.

    data_folder/meta/esc50.csv         filename, fold, category, esc10, ...
    data_folder/audio/1-100032-A-0.wav   or .flac or .ogg, as the table names them
"""

import logging
from pathlib import Path

from tqdm import tqdm

from speechbrain_lmac.data_prep.download import fetch_dataset, is_absent
from speechbrain_lmac.data_prep.manifest import (
    AudioFault,
    Faults,
    check_audio,
    fingerprint,
    load_manifests,
    read_table,
    split_of_folds,
    write_manifests,
)
from speechbrain_lmac.errors import InputError, some_of

ESC50_URL = "https://github.com/karolpiczak/ESC-50/archive/master.zip"
TABLE = "meta/esc50.csv"
SUBSETS = (None, "esc10")

logger = logging.getLogger(__name__)


def prepare_esc50(
    data_folder,
    manifest_folder,
    categories,
    train_folds=(1, 2, 3),
    valid_folds=(4,),
    test_folds=(5,),
    subset=None,
    download=True,
    url=ESC50_URL,
    archive_md5=None,
    archive_bytes=None,
):
    """Check ESC-50 and write ``train.json``, ``valid.json`` and ``test.json``.

    An entry is ``"1-100032-A-0": {"wav": "{data_root}/audio/1-100032-A-0.wav",
    "duration": 5.0, "sample_rate": 44100, "category": "dog", "fold": 1}`` with the
    duration in seconds and the rate in Hz of the file. The table is checked whole, and
    every clip of the folds used is decoded. With the same options and an unchanged
    dataset a second call decodes and writes nothing.

    Arguments
    ---------
    data_folder : str or Path
        The dataset.
    manifest_folder : str or Path
        Where the manifests go.
    categories : sequence of str
        The class names that may occur. Each needs a clip in the training folds.
    train_folds, valid_folds, test_folds : sequences of int
        Folds of each split. A fold in none of them is left out.
    subset : str, optional
        "esc10" keeps the rows whose esc10 is True.
    download : bool
        Whether to get the dataset where `data_folder` does not exist or is empty.
    url : str
        Where from, about 646 MB.
    archive_md5, archive_bytes : str and int, optional
        Checksum and size of the archive. Not known beforehand for the default URL:
        GitHub packs its archives anew from time to time (two md5 sums are in use,
        7771e4b9d86d0945acce719c7a59305a and 70cce0ef1196d802ae62ce40db11b620). The
        checksums inside the archive are always verified, and that every file of the
        table is there.

    Returns
    -------
    manifests : Manifests
        Paths, number of clips in each split, and warnings (silent clips).

    Raises
    ------
    InputError
        No dataset and no way to get it, another layout, impossible options, or
        faults in the dataset: all of them in one message.

    Example
    -------
    >>> import tempfile
    >>> from speechbrain_lmac.data_prep.toy_prepare import TOY_CLASSES, make_toy
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = make_toy(f"{folder}/toy", n_clips=30, seconds=1.0)
    ...     manifests = prepare_esc50(f"{folder}/toy", f"{folder}/json", TOY_CLASSES)
    >>> manifests.counts
    {'train': 18, 'valid': 6, 'test': 6}
    """
    data_folder = Path(data_folder)
    split_of = split_of_folds(
        train_folds=train_folds, valid_folds=valid_folds, test_folds=test_folds
    )
    categories = _names(categories)
    if subset not in SUBSETS:
        raise InputError(f"subset must be one of {SUBSETS}, got {subset!r}")
    if is_absent(data_folder, "another: --data_folder"):
        if not download:
            raise InputError(
                f"no dataset in {data_folder}: unpack ESC-50 ({url}) so that "
                f"{data_folder / TABLE} exists, or name its folder: --data_folder"
            )
        fetch_dataset(
            data_folder,
            url,
            expects=TABLE,
            check=_check_unpacked,
            n_bytes=archive_bytes,
            md5=archive_md5,
        )
    rows = _rows(data_folder, subset)
    used = [f"audio/{row['filename']}" for row in rows if _fold(row) in split_of]
    options = {
        "split_of": list(split_of.items()),
        "categories": categories,
        "rows": rows,  # what the table says, of the subset only
    }
    state = fingerprint(options, data_folder, used)
    manifests = load_manifests(manifest_folder, state)
    if manifests is None:
        splits, warnings = _check_dataset(data_folder, rows, split_of, categories)
        manifests = write_manifests(manifest_folder, splits, state, warnings)
    for warning in manifests.warnings:
        logger.warning("%s: %s", data_folder, warning)
    return manifests


def _names(categories):
    """The class names as a list, each a text and only once."""
    names = list(categories) if isinstance(categories, (list, tuple)) else []
    if not names or len(set(names)) < len(names):
        raise InputError(
            f"categories must be a list of different class names, got {categories!r}"
        )
    return names


def _rows(data_folder, subset):
    """The rows of the table, of a subset where one is asked for."""
    missing = [name for name in (TABLE, "audio") if not (data_folder / name).exists()]
    if missing:
        raise InputError(
            f"{data_folder} is not laid out as ESC-50: it lacks {' and '.join(missing)}"
            "; give the folder that holds meta/ and audio/: --data_folder"
        )
    columns = ["filename", "fold", "category"]
    if subset == "esc10":
        columns.append("esc10")
    rows = read_table(data_folder / TABLE, columns)
    if subset == "esc10":
        rows = [row for row in rows if row["esc10"].casefold() == "true"]
    if not rows:
        which = "" if subset is None else f" of the subset {subset}"
        raise InputError(f"{data_folder / TABLE} lists no clip{which}")
    return rows


def _check_unpacked(folder):
    """What must be in a downloaded archive."""
    missing = [
        row["filename"]
        for row in _rows(folder, subset=None)
        if not (folder / "audio" / row["filename"]).is_file()
    ]
    if missing:
        raise InputError(
            f"the archive lacks clips ({len(missing)}): {some_of(missing)}"
        )


def _fold(row):
    """The fold's number, 0 where there is none."""
    return int(row["fold"]) if row["fold"].isdecimal() else 0


def _check_dataset(data_folder, rows, split_of, categories):
    """The clips of each split and the warnings, or one error with all faults."""
    faults = Faults()
    splits = {"train": {}, "valid": {}, "test": {}}
    seen, silent = set(), []
    for row in tqdm(rows, desc=f"checking {data_folder.name}", disable=None):
        name, fold, category = row["filename"], _fold(row), row["category"]
        clip_id = Path(name).stem
        if clip_id in seen:
            faults.add("clip listed twice", name)
            continue
        seen.add(clip_id)
        if fold < 1:
            faults.add("unknown fold", f"{name} ({row['fold'] or 'none'})")
        if category not in categories:
            faults.add("unknown class", f"{name} ({category or 'none'})")
        if fold not in split_of:
            continue
        try:
            audio = check_audio(data_folder / "audio" / name)
        except AudioFault as fault:
            faults.add(str(fault), name)
            continue
        if audio.silent:
            silent.append(name)
        splits[split_of[fold]][clip_id] = {
            "wav": f"{{data_root}}/audio/{name}",
            "duration": audio.duration,
            "sample_rate": audio.sample_rate,
            "category": category,
            "fold": fold,
        }
    _check_coverage(faults, rows, split_of, categories)
    faults.raise_if_any(data_folder)
    warnings = []
    if silent:
        warnings.append(f"silent clips ({len(silent)}): {some_of(silent)}")
    return splits, warnings


def _check_coverage(faults, rows, split_of, categories):
    """Every fold asked for has clips, and every class has some to learn from."""
    there = sorted({_fold(row) for row in rows} - {0})
    for fold in split_of:
        if fold not in there:
            faults.add(f"fold without clips (there are {some_of(there)})", fold)
    learnt = {row["category"] for row in rows if split_of.get(_fold(row)) == "train"}
    for category in categories:
        if category not in learnt:
            faults.add("class without a training clip", category)
