"""Scope of the numbers on a page: split, folds and trainings."""

from collections.abc import Iterable
from pathlib import Path

from speechbrain_lmac.data.corpora import SPLITS
from speechbrain_lmac.data.dataset import read_manifest


def data_lines(
    data_folder: str | Path,
    manifest_folder: str | Path,
    split: str,
    clips: Iterable[str],
) -> list[str]:
    """Return the lines on the data in the header of a page.

    Arguments
    ---------
    data_folder : str or Path
        The dataset.
    manifest_folder : str or Path
        With `SPLIT.json` for each split.
    split : str
        "train", "valid" or "test".
    clips : iterable of str
        Ids of the scored clips, of mixtures those of the clips in them. The published
        protocol scores clips of another split.

    Returns
    -------
    lines : list of str
        The split, and `scope_of` the folds of the clips.
    """
    fold_of = {
        name: clip["fold"]
        for one in SPLITS
        for name, clip in read_manifest(Path(manifest_folder) / f"{one}.json").items()
        if "fold" in clip
    }
    folds = {fold_of[name] for name in clips if name in fold_of}
    return [f"data: split {split} of {Path(data_folder).name}", scope_of(folds)]


def scope_of(folds: Iterable[int]) -> str:
    """Return a line on what intervals over clips cover: folds, number of trainings.

    An evaluation opens one training of each model, so its intervals do not contain the
    spread over trainings.

    Arguments
    ---------
    folds : iterable of int
        Folds of the scored clips; empty for a dataset without folds.

    Example
    -------
    >>> scope_of({5})
    'fold 5, one seed: intervals are over clips, not over trainings or folds'
    >>> scope_of([])
    'one seed: intervals are over clips, not over trainings'
    """
    named = sorted(folds)
    if not named:
        return "one seed: intervals are over clips, not over trainings"
    word = "fold" if len(named) == 1 else "folds"
    return (
        f"{word} {', '.join(map(str, named))}, one seed: intervals are over clips, not "
        "over trainings or folds"
    )
