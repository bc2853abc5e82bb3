"""Prepare UrbanSound8K (Salamon, Jacoby and Bello 2014): SpeechBrain manifests.

8732 slices of 0.05 to 4 s in 10 classes and 10 folds. Slices of one recording are in
one fold, and results are comparable only with the original folds: they are never
reshuffled. Sample rate, bit depth and number of channels vary between files.

    data_folder/metadata/UrbanSound8K.csv   slice_file_name, fold, classID, class, ...
    data_folder/audio/fold5/100032-3-0-0.wav
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from speechbrain_lmac.data_prep.download import is_absent
from speechbrain_lmac.data_prep.folds import (
    Clip,
    class_names,
    fold_number,
    prepare_folds,
    split_of_folds,
)
from speechbrain_lmac.data_prep.manifest import Manifests, read_table
from speechbrain_lmac.dsp.audio_check import AudioCheck, AudioFault, check_audio
from speechbrain_lmac.utils.errors import InputError

US8K_URL = "https://urbansounddataset.weebly.com/urbansound8k.html"
TABLE = "metadata/UrbanSound8K.csv"
N_FOLDS = 10
# In the order of their classID, from 0.
US8K_CLASSES = (
    "air_conditioner",
    "car_horn",
    "children_playing",
    "dog_bark",
    "drilling",
    "engine_idling",
    "gun_shot",
    "jackhammer",
    "siren",
    "street_music",
)


def us8k_classes() -> list[str]:
    """Return the class names, for the YAML of the dataset."""
    return list(US8K_CLASSES)


def prepare_us8k(
    data_folder: Path | str,
    manifest_folder: Path | str,
    categories: Sequence[str],
    fold: int = 10,
) -> Manifests:
    """Check UrbanSound8K and write ``train.json``, ``valid.json`` and ``test.json``.

    Entries are those of `folds.prepare_folds`. The whole table is checked, and every
    clip is decoded. With the same options and an unchanged dataset a second call
    decodes and writes nothing. There is no automatic download: the dataset's page
    requires a form.

    Arguments
    ---------
    data_folder : str or Path
        The dataset.
    manifest_folder : str or Path
        Folder for the manifests.
    categories : sequence of str
        The class names. Each must have a clip in the training folds.
    fold : int
        The test fold, 1 to 10; see `us8k_folds`.

    Returns
    -------
    manifests : Manifests
        Paths, number of clips in each split, and warnings (silent clips).

    Raises
    ------
    InputError
        The dataset is missing or has another layout, an option is invalid, or the
        dataset has faults, all of which are in one message.
    """
    data_folder = Path(data_folder)
    split_of = split_of_folds(**us8k_folds(fold))
    categories = class_names(categories)
    _check_layout(data_folder)
    rows = read_table(
        data_folder / TABLE, ["slice_file_name", "fold", "classID", "class"]
    )
    if not rows:
        raise InputError(f"{data_folder / TABLE} has no clip")
    return prepare_folds(
        data_folder,
        manifest_folder,
        rows,
        _clip,
        split_of,
        categories,
        _check_audio,
        table_faults=[fault for row in rows for fault in _class_faults(row)],
    )


def us8k_folds(fold: int) -> dict[str, list[int]]:
    """Return the folds of each split for one of the ten test folds.

    The fold before it (10 before 1) is the validation fold, the other eight are for
    training. Test fold 10 gives the splits of SpeechBrain's recipe: 1 to 8, 9 and 10.

    Arguments
    ---------
    fold : int
        1 to 10.

    Returns
    -------
    folds : dict
        ``train_folds``, ``valid_folds``, ``test_folds``.

    Example
    -------
    >>> us8k_folds(1)["train_folds"], us8k_folds(1)["valid_folds"]
    ([2, 3, 4, 5, 6, 7, 8, 9], [10])
    """
    if not isinstance(fold, int) or isinstance(fold, bool) or not 1 <= fold <= N_FOLDS:
        raise InputError(f"fold must be a whole number from 1 to 10, got {fold!r}")
    valid = fold - 1 or N_FOLDS
    return {
        "train_folds": [k for k in range(1, N_FOLDS + 1) if k not in (fold, valid)],
        "valid_folds": [valid],
        "test_folds": [fold],
    }


def _check_layout(data_folder: Path) -> None:
    """Raise unless a folder has the layout of the dataset."""
    layout = f"{data_folder / TABLE} and {data_folder / 'audio'}/fold1 to fold10"
    if is_absent(data_folder, "another: --data_folder"):
        raise InputError(
            f"no dataset in {data_folder}, and no automatic download: the page of "
            f"UrbanSound8K requires a form. Get it from {US8K_URL} and unpack it so "
            f"that {layout} exist, or set its folder: --data_folder"
        )
    missing = [name for name in (TABLE, "audio") if not (data_folder / name).exists()]
    if not missing:
        return
    inside = [p.parents[1] for p in sorted(data_folder.glob(f"*/{TABLE}"))]
    hint = f". Found one in {inside[0]}" if inside else ""
    raise InputError(
        f"{data_folder} does not have the layout of UrbanSound8K, missing: "
        f"{', '.join(missing)}; expected {layout}: --data_folder{hint}"
    )


def _clip(row: dict[str, str]) -> Clip:
    """Return the clip of a row of the table."""
    fold = fold_number(row["fold"])
    return Clip(
        file=f"audio/fold{row['fold']}/{row['slice_file_name']}",
        fold=fold if fold <= N_FOLDS else 0,
        fold_text=row["fold"],
        category=row["class"],
    )


def _class_faults(row: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield a fault if the class ID is that of another class."""
    name, number = row["class"], row["classID"]
    if name in US8K_CLASSES and number != str(US8K_CLASSES.index(name)):
        clip = f"{row['slice_file_name']} ({number or 'none'}, {name})"
        yield f"classID of another class than {name}", clip


def _check_audio(path: Path) -> AudioCheck:
    """Run `check_audio`; report a clip that is in another fold's folder."""
    if not path.is_file():
        folders = sorted(p for p in path.parents[1].iterdir() if p.is_dir())
        for folder in folders:
            if (folder / path.name).is_file():
                raise AudioFault(
                    f"clip in {folder.name}, but in {path.parent.name} in the table"
                )
    return check_audio(path)
