"""Prepare ESC-50 (K. J. Piczak 2015) and its subset ESC-10: SpeechBrain manifests.

2000 recordings of 5 s in 50 classes and 5 folds; clips cut from one recording are in
one fold, so a split by folds is a split by recordings. Any folder with the same layout
works, such as that of `toy_prepare.make_toy`.

    data_folder/meta/esc50.csv         filename, fold, category, esc10, ...
    data_folder/audio/1-100032-A-0.wav   or .flac or .ogg, as the table names them
"""

from collections.abc import Sequence
from pathlib import Path

from speechbrain_lmac.data_prep.download import fetch_dataset, is_absent
from speechbrain_lmac.data_prep.folds import (
    Clip,
    class_names,
    fold_number,
    prepare_folds,
    split_of_folds,
)
from speechbrain_lmac.data_prep.manifest import Manifests, read_table
from speechbrain_lmac.dsp.audio_check import check_audio
from speechbrain_lmac.utils.errors import InputError, some_of

ESC50_URL = "https://github.com/karolpiczak/ESC-50/archive/master.zip"
TABLE = "meta/esc50.csv"
# In alphabetical order.
ESC50_CLASSES = """
    airplane breathing brushing_teeth can_opening car_horn cat chainsaw
    chirping_birds church_bells clapping clock_alarm clock_tick coughing cow
    crackling_fire crickets crow crying_baby dog door_wood_creaks door_wood_knock
    drinking_sipping engine fireworks footsteps frog glass_breaking hand_saw
    helicopter hen insects keyboard_typing laughing mouse_click pig pouring_water
    rain rooster sea_waves sheep siren sneezing snoring thunderstorm toilet_flush
    train vacuum_cleaner washing_machine water_drops wind
""".split()
ESC10_CLASSES = """
    chainsaw clock_tick crackling_fire crying_baby dog helicopter rain rooster
    sea_waves sneezing
""".split()
CLASSES = {None: ESC50_CLASSES, "esc10": ESC10_CLASSES}


def esc50_classes(subset: str | None = None) -> list[str]:
    """Return the class names of ESC-50 or of its subset "esc10", for a YAML.

    Example
    -------
    >>> len(esc50_classes()), esc50_classes("esc10")[:2]
    (50, ['chainsaw', 'clock_tick'])
    """
    if subset not in CLASSES:
        raise InputError(f"subset must be one of {tuple(CLASSES)}, got {subset!r}")
    return list(CLASSES[subset])


def prepare_esc50(
    data_folder: Path | str,
    manifest_folder: Path | str,
    categories: Sequence[str],
    train_folds: Sequence[int] = (1, 2, 3),
    valid_folds: Sequence[int] = (4,),
    test_folds: Sequence[int] = (5,),
    subset: str | None = None,
    download: bool = True,
    url: str = ESC50_URL,
    archive_md5: str | None = None,
    archive_bytes: int | None = None,
) -> Manifests:
    """Check ESC-50 and write ``train.json``, ``valid.json`` and ``test.json``.

    An entry is ``"1-100032-A-0": {"wav": "{data_root}/audio/1-100032-A-0.wav",
    "duration": 5.0, "sample_rate": 44100, "category": "dog", "fold": 1}`` with the
    duration in seconds and the rate in Hz of the file. The whole table is checked, and
    every clip of the folds used is decoded. With the same options and an unchanged
    dataset a second call decodes and writes nothing.

    Arguments
    ---------
    data_folder : str or Path
        The dataset.
    manifest_folder : str or Path
        Folder for the manifests.
    categories : sequence of str
        The class names. Each must have a clip in the training folds.
    train_folds, valid_folds, test_folds : sequences of int
        Folds of each split; other folds are not used.
    subset : str, optional
        "esc10" keeps the rows whose esc10 is True.
    download : bool
        Whether to download the dataset if `data_folder` is missing or empty.
    url : str
        URL of the archive, about 646 MB.
    archive_md5, archive_bytes : str and int, optional
        Checksum and size of the archive. Unknown for the default URL: GitHub repacks
        its archives from time to time (two md5 sums are in use,
        7771e4b9d86d0945acce719c7a59305a and 70cce0ef1196d802ae62ce40db11b620). The
        checksums inside the archive are always verified, and missing files of the
        table are an error.

    Returns
    -------
    manifests : Manifests
        Paths, number of clips in each split, and warnings (silent clips).

    Raises
    ------
    InputError
        The dataset is missing or has another layout, an option is invalid, or the
        dataset has faults, all of which are in one message.

    Example
    -------
    >>> import tempfile
    >>> from speechbrain_lmac.data_prep.toy_prepare import make_toy
    >>> from speechbrain_lmac.dsp.toy_sounds import TOY_CLASSES
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
    categories = class_names(categories)
    esc50_classes(subset)  # raises if unknown
    if is_absent(data_folder, "another: --data_folder"):
        if not download:
            raise InputError(
                f"no dataset in {data_folder}: unpack ESC-50 ({url}) so that "
                f"{data_folder / TABLE} exists, or set its folder: --data_folder"
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
    return prepare_folds(
        data_folder,
        manifest_folder,
        rows,
        _clip,
        split_of,
        categories,
        check_audio,
    )


def _clip(row: dict[str, str]) -> Clip:
    """Return the clip of a row of the table."""
    return Clip(
        file=f"audio/{row['filename']}",
        fold=fold_number(row["fold"]),
        fold_text=row["fold"],
        category=row["category"],
    )


def _rows(data_folder: Path, subset: str | None) -> list[dict[str, str]]:
    """Read the rows of the table, or of a subset."""
    missing = [name for name in (TABLE, "audio") if not (data_folder / name).exists()]
    if missing:
        raise InputError(
            f"{data_folder} does not have the layout of ESC-50, missing: "
            f"{', '.join(missing)}; set --data_folder to the folder with "
            "meta/ and audio/"
        )
    columns = ["filename", "fold", "category"]
    if subset == "esc10":
        columns.append("esc10")
    rows = read_table(data_folder / TABLE, columns)
    if subset == "esc10":
        rows = [row for row in rows if row["esc10"].casefold() == "true"]
    if not rows:
        part = "" if subset is None else f" of the subset {subset}"
        raise InputError(f"{data_folder / TABLE} has no clip{part}")
    return rows


def _check_unpacked(folder: Path) -> None:
    """Raise if clips of the table are missing from a downloaded archive."""
    missing = [
        row["filename"]
        for row in _rows(folder, subset=None)
        if not (folder / "audio" / row["filename"]).is_file()
    ]
    if missing:
        raise InputError(
            f"missing clips in the archive ({len(missing)}): {some_of(missing)}"
        )
