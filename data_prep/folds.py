"""Datasets that a table divides into folds: checked whole, then split by folds.

What ESC-50 and UrbanSound8K share. Clips cut from one recording stay in one fold, so
that a split by folds is a split by recordings; folds are never reshuffled.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from speechbrain_lmac.data_prep.manifest import (
    Faults,
    fingerprint,
    load_manifests,
    write_manifests,
)
from speechbrain_lmac.dsp.audio_check import AudioFault, doubt_lines
from speechbrain_lmac.utils.console import progress_bar
from speechbrain_lmac.utils.errors import InputError, some_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clip:
    """A clip as a dataset's table lists it."""

    file: str  # relative to the dataset's folder; its stem is the clip's id
    fold: int  # 0 where the table names none that there is
    fold_text: str  # what the table says of it
    category: str

    @property
    def name(self) -> str:
        """What messages call it."""
        return Path(self.file).name


def class_names(categories) -> list[str]:
    """The class names as a list, each a text and only once."""
    names = list(categories) if isinstance(categories, (list, tuple)) else []
    if not names or len(set(names)) < len(names):
        raise InputError(
            f"categories must be a list of different class names, got {categories!r}"
        )
    return names


def split_of_folds(**folds) -> dict[int, str]:
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


def fold_number(text: str) -> int:
    """The fold's number, 0 where there is none.

    Example
    -------
    >>> fold_number("10"), fold_number("1.5"), fold_number("")
    (10, 0, 0)
    """
    return int(text) if text.isdecimal() else 0


def prepare_folds(
    data_folder: Path,
    manifest_folder: Path | str,
    rows: list,
    clip_of,
    split_of: dict[int, str],
    categories: list[str],
    check,
    table_faults: list | tuple = (),
):
    """Write the manifests of a dataset, unless they are there and nothing changed.

    Arguments
    ---------
    data_folder, manifest_folder : Path
        The dataset, and where the manifests go.
    rows : list of dict
        The dataset's table (`manifest.read_table`): all that is in it counts as a
        change.
    clip_of : callable
        A row to the `Clip` that it lists.
    split_of : dict
        Fold to split, of `split_of_folds`. The audio of other folds is not
        looked at.
    categories : list
        The class names that may occur.
    check : callable
        `audio_check.check_audio`, or what does as it does.
    table_faults : sequence
        Of (kind, clip): what else is wrong with the table.

    Returns
    -------
    manifests : Manifests
        An entry is ``"ID": {"wav": "{data_root}/FILE", "duration", "sample_rate",
        "category", "fold"}`` with the duration in s and the rate in Hz of the file.

    Raises
    ------
    InputError
        All faults of the dataset in one message.
    """
    options = {
        "split_of": list(split_of.items()),
        "categories": categories,
        "rows": rows,
    }
    clips = [clip_of(row) for row in rows]
    used = [clip.file for clip in clips if clip.fold in split_of]
    state = fingerprint(options, data_folder, used)
    manifests = load_manifests(manifest_folder, state)
    if manifests is None:
        faults = Faults()
        for fault in table_faults:
            faults.add(*fault)
        splits, silent, doubtful = _check_clips(
            faults, data_folder, clips, split_of, categories, check
        )
        _check_coverage(faults, clips, split_of, categories)
        faults.raise_if_any(data_folder)
        warnings = []
        if silent:
            warnings.append(f"silent clips ({len(silent)}): {some_of(silent)}")
        warnings += doubt_lines(doubtful)
        manifests = write_manifests(manifest_folder, splits, state, warnings)
    for warning in manifests.warnings:
        logger.warning("%s: %s", data_folder, warning)
    return manifests


def _check_clips(
    faults: Faults,
    data_folder: Path,
    clips: list[Clip],
    split_of: dict[int, str],
    categories: list[str],
    check,
) -> tuple:
    """The entries of each split, silent and doubtful clips; faults are noted."""
    splits = {"train": {}, "valid": {}, "test": {}}
    seen, silent, doubtful = set(), [], {}
    for clip in progress_bar(clips, desc=f"checking {data_folder.name}"):
        clip_id = Path(clip.file).stem
        if clip_id in seen:
            faults.add("clip listed twice", clip.name)
            continue
        seen.add(clip_id)
        if clip.fold < 1:
            faults.add("unknown fold", f"{clip.name} ({clip.fold_text or 'none'})")
        if clip.category not in categories:
            faults.add("unknown class", f"{clip.name} ({clip.category or 'none'})")
        if clip.fold not in split_of:
            continue
        try:
            audio = check(data_folder / clip.file)
        except AudioFault as fault:
            faults.add(str(fault), clip.name)
            continue
        if audio.silent:
            silent.append(clip.name)
        if audio.doubt:
            doubtful.setdefault(audio.doubt, []).append(clip.name)
        splits[split_of[clip.fold]][clip_id] = {
            "wav": f"{{data_root}}/{clip.file}",
            "duration": audio.duration,
            "sample_rate": audio.sample_rate,
            "category": clip.category,
            "fold": clip.fold,
        }
    return splits, silent, doubtful


def _check_coverage(
    faults: Faults, clips: list[Clip], split_of: dict[int, str], categories: list[str]
) -> None:
    """Every fold asked for has clips, and every class has some to learn from."""
    there = sorted({clip.fold for clip in clips} - {0})
    for fold in split_of:
        if fold not in there:
            faults.add(f"fold without clips (there are {some_of(there)})", fold)
    learnt = {clip.category for clip in clips if split_of.get(clip.fold) == "train"}
    for category in categories:
        if category not in learnt:
            faults.add("class without a training clip", category)
