"""Manifests of recordings with captions: Clotho, AudioCaps, any table.

    python data_prep/captions_prepare.py clotho data/clotho manifests/clotho
    python data_prep/captions_prepare.py audiocaps data/audiocaps manifests/audiocaps
    python data_prep/captions_prepare.py table data/mine manifests/mine

An entry of ``train.json``, ``valid.json`` and ``test.json`` is ``"train-rain": {"wav":
"{data_root}/development/rain.wav", "duration", "sample_rate", "captions": ["Rain
falls.", ...]}`` with the duration in s and the rate in Hz of the file. Missing
recordings are skipped with a warning, because those of AudioCaps disappear from their
source. All other errors are reported in one message.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechbrain_lmac.data.corpora import SPLITS
from speechbrain_lmac.data_prep.manifest import (
    Faults,
    Manifests,
    fingerprint,
    load_manifests,
    read_table,
    write_manifests,
)
from speechbrain_lmac.dsp.audio import AUDIO
from speechbrain_lmac.dsp.audio_check import AudioFault, check_audio, header_warnings
from speechbrain_lmac.utils.arguments import Parser
from speechbrain_lmac.utils.console import exit_status, progress_bar, show
from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.hashing import content_hash

logger = logging.getLogger(__name__)

CLOTHO_PARTS = {"train": "development", "valid": "validation", "test": "evaluation"}
CLOTHO_CAPTIONS = tuple(f"caption_{number}" for number in range(1, 6))
AUDIOCAPS_PARTS = {"train": "train", "valid": "val", "test": "test"}
AUDIOCAPS_COLUMNS = ("audiocap_id", "youtube_id", "start_time", "caption")
# Terms of a model trained on the dataset, see `ClipDataset`.
TERMS = {
    "clotho": {
        "name": "Clotho",
        "license": "other",
        "credit": "K. Drossos, S. Lipping and T. Virtanen (Clotho, ICASSP 2020); each "
        "recording has its own licence, the captions that of the dataset, for "
        "non-commercial research",
    },
    "audiocaps": {
        "name": "AudioCaps",
        "license": "other",
        "credit": "C. D. Kim, B. Kim, H. Lee and G. Kim (AudioCaps, NAACL-HLT 2019), "
        "of AudioSet; the recordings belong to their authors",
    },
}
SHARES = (0.8, 0.1, 0.1)  # of train, valid and test, for a table without a split column


@dataclass(frozen=True)
class Recording:
    """A recording of a dataset's table."""

    split: str
    files: tuple[str, ...]  # possible paths, relative to the dataset's folder
    captions: tuple[str, ...]

    @property
    def name(self) -> str:
        """The file name, for messages."""
        return Path(self.files[0]).name


def caption_terms(dataset: str) -> dict[str, str]:
    """Return the terms of "clotho" or "audiocaps", for the YAML of the dataset.

    Example
    -------
    >>> caption_terms("clotho")["license"]
    'other'
    """
    if dataset not in TERMS:
        raise InputError(f"dataset must be one of {', '.join(TERMS)}, got {dataset!r}")
    return dict(TERMS[dataset])


def prepare_clotho(data_folder: Path | str, manifest_folder: Path | str) -> Manifests:
    """Check Clotho (Drossos et al. 2020, version 2) and write its manifests.

    Its development, validation and evaluation parts are train, valid and test. Folders
    in parentheses are optional.

        data_folder/(clotho_csv_files/)clotho_captions_development.csv
                file_name, caption_1, ..., caption_5
        data_folder/(clotho_audio_files/)development/FILE_NAME

    Arguments
    ---------
    data_folder, manifest_folder : str or Path
        The dataset, and the folder for the manifests.

    Returns
    -------
    manifests : Manifests

    Raises
    ------
    InputError
        The folder has another layout, or faults, all of which are in one message.
    """
    data_folder = Path(data_folder)
    recordings = []
    for split, part in CLOTHO_PARTS.items():
        table = f"clotho_captions_{part}.csv"
        path = first_existing(data_folder, [table, f"clotho_csv_files/{table}"])
        for row in read_table(path, ["file_name", *CLOTHO_CAPTIONS]):
            name = row["file_name"]
            files = (f"{part}/{name}", f"clotho_audio_files/{part}/{name}")
            captions = tuple(row[column] for column in CLOTHO_CAPTIONS)
            recordings.append(Recording(split, files, captions))
    return write_captions(data_folder, manifest_folder, recordings)


def prepare_audiocaps(
    data_folder: Path | str, manifest_folder: Path | str
) -> Manifests:
    """Check AudioCaps (Kim et al. 2019) and write its manifests.

    Rows of one recording (five in the val and test parts) become one entry. Tables may
    also be in ``dataset/``; audio with any suffix in `audio.AUDIO` may be in the folder
    of its part, in ``audio/PART/`` or in ``audio/``.

        data_folder/train.csv     audiocap_id, youtube_id, start_time, caption
        data_folder/train/YOUTUBE-ID_START.wav   or AUDIOCAP-ID.wav

    Arguments, returns and errors are those of `prepare_clotho`.
    """
    data_folder = Path(data_folder)
    recordings = []
    for split, part in AUDIOCAPS_PARTS.items():
        path = first_existing(data_folder, [f"{part}.csv", f"dataset/{part}.csv"])
        rows_of: dict[tuple[str, str], list[dict[str, str]]] = {}
        for row in read_table(path, AUDIOCAPS_COLUMNS):
            key = (row["youtube_id"], row["start_time"])
            rows_of.setdefault(key, []).append(row)
        for (youtube, start), rows in rows_of.items():
            names = [f"{youtube}_{start}", *(row["audiocap_id"] for row in rows)]
            files = tuple(
                f"{folder}/{name}{suffix}"
                for folder in (part, f"audio/{part}", "audio")
                for name in names
                for suffix in AUDIO
            )
            captions = tuple(row["caption"] for row in rows)
            recordings.append(Recording(split, files, captions))
    return write_captions(data_folder, manifest_folder, recordings)


def prepare_caption_table(
    data_folder: Path | str, manifest_folder: Path | str, table: str = "captions.csv"
) -> Manifests:
    """Check any table of recordings and captions, and write its manifests.

        data_folder/captions.csv    path, caption   and, optionally, split

    Rows of one path become one entry. ``split`` is train, valid or test; without this
    column a hash of each path selects the split, independent of the other rows.

    Arguments
    ---------
    data_folder, manifest_folder : str or Path
        The dataset, to which paths are relative, and the folder for the manifests.
    table : str
        The table, relative to `data_folder`.

    Returns
    -------
    manifests : Manifests

    Raises
    ------
    InputError
        The folder has another layout, or faults, all of which are in one message.
    """
    data_folder = Path(data_folder)
    captions: dict[str, list[str]] = {}
    splits: dict[str, set[str]] = {}
    for row in read_table(data_folder / table, ["path", "caption"]):
        path = row["path"]
        captions.setdefault(path, []).append(row["caption"])
        splits.setdefault(path, set()).add(row.get("split") or split_of(path))
    recordings = [
        Recording(" and ".join(sorted(splits[path])), (path,), tuple(captions[path]))
        for path in captions
    ]
    return write_captions(data_folder, manifest_folder, recordings)


def split_of(path: str, shares: Sequence[float] = SHARES) -> str:
    """Return the split of a path, from its checksum.

    Example
    -------
    >>> [split_of(path) for path in ("rain.wav", "dog.wav", "a/b.wav")]
    ['train', 'valid', 'train']
    """
    place = int(content_hash(path), 16) / 2**64
    if place < shares[0]:
        return "train"
    return "valid" if place < shares[0] + shares[1] else "test"


def first_existing(data_folder: Path, names: list[str]) -> Path:
    """Return the path of the first file that exists.

    Raises
    ------
    InputError
        All are missing.
    """
    for name in names:
        if (data_folder / name).is_file():
            return data_folder / name
    raise InputError(
        f"{data_folder} has no {' and no '.join(names)}: set --data_folder to the "
        "folder with tables and audio"
    )


def write_captions(
    data_folder: Path, manifest_folder: Path | str, recordings: list[Recording]
) -> Manifests:
    """Write the manifests of recordings if they are missing or out of date.

    Arguments
    ---------
    data_folder, manifest_folder : str or Path
        The dataset, and the folder for the manifests.
    recordings : list of Recording
        All rows of the tables.

    Returns
    -------
    manifests : Manifests
        With warnings about missing and silent recordings, and header errors.

    Raises
    ------
    InputError
        All faults of the dataset in one message.
    """
    found = [
        next((f for f in recording.files if (data_folder / f).is_file()), None)
        for recording in recordings
    ]
    options = [[r.split, r.name, r.captions] for r in recordings]
    state = fingerprint(
        {"captions": options, "missing": found.count(None)},
        data_folder,
        filter(None, found),
    )
    manifests = load_manifests(manifest_folder, state)
    if manifests is not None:
        return manifests
    faults = Faults()
    splits: dict[str, dict[str, dict]] = {split: {} for split in SPLITS}
    by_warning: dict[str, list[str]] = {}
    missing, silent = [], []
    listed = zip(recordings, found, strict=True)
    for recording, file in progress_bar(
        listed,
        f"checking {data_folder.name}",
        len(found),
    ):
        if recording.split not in SPLITS:
            faults.add(
                "unknown split",
                f"{recording.name} ({recording.split})",
            )
            continue
        if not all(recording.captions):
            faults.add("empty caption", recording.name)
        if file is None:
            missing.append(recording.name)
            continue
        clip_id = f"{recording.split}-{Path(file).with_suffix('')}".replace("/", "-")
        if clip_id in splits[recording.split]:
            faults.add("recording listed twice", recording.name)
            continue
        try:
            audio = check_audio(data_folder / file)
        except AudioFault as fault:
            faults.add(str(fault), recording.name)
            continue
        if audio.silent:
            silent.append(recording.name)
        if audio.header_warning:
            by_warning.setdefault(audio.header_warning, []).append(recording.name)
        splits[recording.split][clip_id] = {
            "wav": f"{{data_root}}/{file}",
            "duration": audio.duration,
            "sample_rate": audio.sample_rate,
            "captions": list(recording.captions),
        }
    for split, clips in splits.items():
        if not clips:
            faults.add("split without recordings", split)
    faults.raise_if_any(data_folder)
    warnings = [
        f"{kind} ({len(names)} of {len(recordings)}): {some_of(names)}"
        for kind, names in (("missing audio", missing), ("silent recordings", silent))
        if names
    ]
    warnings += header_warnings(by_warning)
    return write_manifests(manifest_folder, splits, state, warnings)


LAYOUTS: dict[str, Callable[[str, str], Manifests]] = {
    "clotho": prepare_clotho,
    "audiocaps": prepare_audiocaps,
    "table": prepare_caption_table,
}


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    return exit_status(_run, argv)


def _run(argv: list[str]) -> None:
    parser = Parser(
        epilog=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("layout", choices=LAYOUTS)
    parser.add_argument("data_folder")
    parser.add_argument("manifest_folder")
    options = parser.parse_args(argv)
    prepare = LAYOUTS[options.layout]
    manifests = prepare(options.data_folder, options.manifest_folder)
    for warning in manifests.warnings:
        logger.warning("%s", warning)
    counts = ", ".join(f"{count} {split}" for split, count in manifests.counts.items())
    show(f"{options.manifest_folder}: {counts} recordings with captions")


if __name__ == "__main__":
    sys.exit(main())
