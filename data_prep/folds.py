"""Checks and manifests of datasets with folds in a table (ESC-50, UrbanSound8K).

Clips cut from one recording are in one fold, so a split by folds is a split by
recordings; folds are never reshuffled.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechbrain_lmac.data_prep.manifest import (
    Faults,
    Manifests,
    fingerprint,
    load_manifests,
    write_manifests,
)
from speechbrain_lmac.dsp.audio_check import AudioCheck, AudioFault, header_warnings
from speechbrain_lmac.utils.console import progress_bar
from speechbrain_lmac.utils.errors import InputError, some_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clip:
    """A clip of a dataset's table."""

    file: str  # relative to the dataset's folder; its stem is the clip's id
    fold: int  # 0 if the table has no valid fold
    fold_text: str  # the fold as written in the table
    category: str

    @property
    def name(self) -> str:
        """The file name, for messages."""
        return Path(self.file).name


def class_names(categories: Sequence[str]) -> list[str]:
    """Return the class names as a list; raise if one occurs twice."""
    names = list(categories) if isinstance(categories, (list, tuple)) else []
    if not names or len(set(names)) < len(names):
        raise InputError(
            f"categories must be a list of different class names, got {categories!r}"
        )
    return names


def split_of_folds(**folds: Sequence[int]) -> dict[int, str]:
    """Map each fold to its split.

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
        A list is empty, has values other than 1, 2, ..., or has a fold of
        another list.

    Example
    -------
    >>> split_of_folds(train_folds=(1, 2), valid_folds=(4,), test_folds=(5,))
    {1: 'train', 2: 'train', 4: 'valid', 5: 'test'}
    """
    split_of: dict[int, str] = {}
    for name, listed in folds.items():
        if not isinstance(listed, (list, tuple)) or not listed:
            raise InputError(f"{name} must be a list of folds, got {listed!r}")
        for fold in listed:
            if not isinstance(fold, int) or isinstance(fold, bool) or fold < 1:
                raise InputError(
                    f"{name} must have whole numbers of at least 1, got {fold!r}"
                )
            split = name.removesuffix("_folds")
            if split_of.setdefault(fold, split) != split:
                raise InputError(
                    f"fold {fold} is in {split_of[fold]}_folds and in {name}; "
                    "it must be in one split only"
                )
    return split_of


def fold_number(text: str) -> int:
    """Return the number of a fold, 0 if the text is not a number.

    Example
    -------
    >>> fold_number("10"), fold_number("1.5"), fold_number("")
    (10, 0, 0)
    """
    return int(text) if text.isdecimal() else 0


def prepare_folds(
    data_folder: Path,
    manifest_folder: Path | str,
    rows: list[dict[str, str]],
    clip_of: Callable[[dict[str, str]], Clip],
    split_of: dict[int, str],
    categories: list[str],
    check: Callable[[Path], AudioCheck],
    table_faults: Sequence[tuple[str, str]] = (),
) -> Manifests:
    """Write the manifests of a dataset if they are missing or out of date.

    Arguments
    ---------
    data_folder, manifest_folder : Path
        The dataset, and the folder for the manifests.
    rows : list of dict
        The dataset's table (`manifest.read_table`); if it changes, manifests are
        rewritten.
    clip_of : callable
        Maps a row to its `Clip`.
    split_of : dict
        Fold to split, from `split_of_folds`. The audio of other folds is not checked.
    categories : list
        The class names.
    check : callable
        `audio_check.check_audio`, or a function with the same signature.
    table_faults : sequence of (kind, clip)
        Further faults of the table.

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
        splits, silent, by_warning = _check_clips(
            faults, data_folder, clips, split_of, categories, check
        )
        _check_coverage(faults, clips, split_of, categories)
        faults.raise_if_any(data_folder)
        warnings = []
        if silent:
            warnings.append(f"silent clips ({len(silent)}): {some_of(silent)}")
        warnings += header_warnings(by_warning)
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
    check: Callable[[Path], AudioCheck],
) -> tuple[dict[str, dict[str, dict]], list[str], dict[str, list[str]]]:
    """Return the entries of each split, silent clips, clips by header warning."""
    splits: dict[str, dict[str, dict]] = {"train": {}, "valid": {}, "test": {}}
    by_warning: dict[str, list[str]] = {}
    seen, silent = set(), []
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
        if audio.header_warning:
            by_warning.setdefault(audio.header_warning, []).append(clip.name)
        splits[split_of[clip.fold]][clip_id] = {
            "wav": f"{{data_root}}/{clip.file}",
            "duration": audio.duration,
            "sample_rate": audio.sample_rate,
            "category": clip.category,
            "fold": clip.fold,
        }
    return splits, silent, by_warning


def _check_coverage(
    faults: Faults, clips: list[Clip], split_of: dict[int, str], categories: list[str]
) -> None:
    """Record folds without clips and classes without training clips."""
    existing = sorted({clip.fold for clip in clips} - {0})
    for fold in split_of:
        if fold not in existing:
            faults.add(f"fold without clips (folds found: {some_of(existing)})", fold)
    trained = {clip.category for clip in clips if split_of.get(clip.fold) == "train"}
    for category in categories:
        if category not in trained:
            faults.add("class without a training clip", category)
