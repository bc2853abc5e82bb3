"""A toy dataset with known ground truth, in ESC-50's layout.

Every clip is the sum of a foreground, a sound of the class, and a background of
coloured noise; both stems are stored, so an explanation can be compared with the
foreground.
Each foreground is narrow in frequency or in time, so a mask in the time-frequency plane
can separate the two.

    python data_prep/toy_prepare.py data/toy --n_clips 240 --seed 1234
"""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import soundfile

from speechbrain_lmac.data_prep.esc50_prepare import prepare_esc50
from speechbrain_lmac.data_prep.manifest import Manifests
from speechbrain_lmac.dsp.toy_sounds import TOY_CLASSES, render_clip
from speechbrain_lmac.utils.arguments import Parser
from speechbrain_lmac.utils.console import exit_status, progress_bar, show
from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.files import atomic_folder

N_FOLDS = 5
LEAST = {"n_clips": 1, "seed": 0, "sample_rate": 16000, "seconds": 1}
RECORD = "toy.json"
MADE_BY = "speechbrain_lmac.data_prep.toy_prepare"
VERSION = 2  # increment when audio or table change: old folders are then rewritten
STEMS = ("foreground", "background")
MEASURED = ("snr_db", "pitch_hz", "n_events", "start_s", "end_s")
COLUMNS = (
    "filename",
    "fold",
    "target",
    "category",
    "esc10",
    "src_file",
    "take",
    *MEASURED,
)


def make_toy(
    data_folder: Path | str,
    n_clips: int = 240,
    seed: int = 1234,
    sample_rate: int = 16000,
    seconds: float = 5.0,
    progress: bool = True,
) -> Path:
    """Write the toy dataset if it does not exist.

    ``meta/esc50.csv`` has ESC-50's columns and those of `MEASURED`, which are
    those of `render_clip`; ``audio/NAME.wav`` is, as 16 bit integers, exactly
    ``stems/foreground/NAME.wav`` plus ``stems/background/NAME.wav``. Classes and folds
    alternate: with a multiple of 30 clips both are balanced. Clip i depends only on
    (seed, i), so a smaller set is the beginning of a larger one. 240 clips take 4 s and
    115 MB.

    Arguments
    ---------
    data_folder : str or Path
        Created with its parents. A toy dataset with other options is replaced.
    n_clips : int
        At least 1.
    seed : int
        Not negative.
    sample_rate : int
        Hz, at least 16000: the foregrounds reach up to 6 kHz.
    seconds : float
        Length of a clip, at least 1.
    progress : bool
        Whether to show a progress bar (on a terminal).

    Returns
    -------
    data_folder : Path
        For `prepare_esc50` with ``categories=TOY_CLASSES``.

    Raises
    ------
    InputError
        An option out of range, or a folder with other content.

    Example
    -------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     toy = make_toy(f"{folder}/toy", n_clips=2, seconds=1.0)
    ...     sorted(path.name for path in (toy / "audio").iterdir())
    ['1-0-A-0.wav', '1-1-A-1.wav']
    """
    data_folder = Path(data_folder)
    options: dict[str, float] = {
        "n_clips": n_clips,
        "seed": seed,
        "sample_rate": sample_rate,
        "seconds": seconds,
    }
    for name, least in LEAST.items():
        if options[name] < least:
            raise InputError(f"{name} must be at least {least}, got {options[name]}")
    record = {"made_by": MADE_BY, "version": VERSION, **options}
    if _record_in(data_folder) == record:
        return data_folder
    with atomic_folder(data_folder) as draft:
        folders = {"clip": draft / "audio"}
        folders |= {stem: draft / "stems" / stem for stem in STEMS}
        for folder in (*folders.values(), draft / "meta"):
            folder.mkdir(parents=True)
        rows = []
        for index in progress_bar(
            range(n_clips), desc="making toy clips", disable=not progress
        ):
            row = clip_row(index)
            clip = render_clip(seed, index, sample_rate, seconds)
            measured = {name: clip.pop(name) for name in MEASURED}
            for stem, samples in clip.items():
                path = folders[stem] / str(row["filename"])
                soundfile.write(path, samples, sample_rate, subtype="PCM_16")
            rows.append({**row, **measured})
        with open(draft / "meta" / "esc50.csv", "w", newline="") as file:
            table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
        (draft / RECORD).write_text(json.dumps(record, indent=2) + "\n")
    return data_folder


def _record_in(data_folder: Path) -> dict[str, float | str] | None:
    """Return the options of an existing folder, None if it is missing or empty."""
    if not data_folder.exists():
        return None
    if not data_folder.is_dir():
        raise InputError(f"{data_folder} is not a folder")
    others = {path.name for path in data_folder.iterdir()}
    if not others:
        return None
    try:
        record = json.loads((data_folder / RECORD).read_text())
        ours = record["made_by"] == MADE_BY
    except (OSError, ValueError, KeyError, TypeError):
        ours = False
    others -= {RECORD, "meta", "audio", "stems"}
    if not ours or others:
        fault = (
            f"also has {some_of(sorted(others))}" if ours else "is not a toy dataset"
        )
        raise InputError(f"{data_folder} {fault}; use another folder")
    return record


def clip_row(index: int) -> dict[str, int | str]:
    """Return a clip's row of the table, without the columns of `MEASURED`.

    Example
    -------
    >>> row = clip_row(8)
    >>> row["filename"], row["category"], row["fold"]
    ('2-8-A-2.wav', 'tone', 2)
    """
    target = index % len(TOY_CLASSES)
    fold = index // len(TOY_CLASSES) % N_FOLDS + 1
    return {
        "filename": f"{fold}-{index}-A-{target}.wav",
        "fold": fold,
        "target": target,
        "category": TOY_CLASSES[target],
        "esc10": False,
        "src_file": index,
        "take": "A",
    }


def toy_classes() -> list[str]:
    """Return the class names, for the YAML of the dataset."""
    return list(TOY_CLASSES)


def prepare_toy(
    data_folder: Path | str,
    manifest_folder: Path | str,
    categories: Sequence[str],
    train_folds: Sequence[int] = (1, 2, 3),
    valid_folds: Sequence[int] = (4,),
    test_folds: Sequence[int] = (5,),
) -> Manifests:
    """Run `prepare_esc50` for the toy dataset; write it first if it is missing.

    Arguments
    ---------
    data_folder : str or Path
        The toy dataset; if missing, written with the defaults of `make_toy`.
    manifest_folder, categories, train_folds, valid_folds, test_folds
        As in `esc50_prepare.prepare_esc50`.

    Returns
    -------
    manifests : Manifests
    """
    if not Path(data_folder).exists():
        make_toy(data_folder)
    return prepare_esc50(
        data_folder,
        manifest_folder,
        categories,
        train_folds=train_folds,
        valid_folds=valid_folds,
        test_folds=test_folds,
        download=False,
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    return exit_status(_run, argv)


def _run(argv: list[str]) -> None:
    parser = Parser(
        epilog=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data_folder")
    parser.add_argument("--n_clips", type=int, default=240)
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--sample_rate", type=int, default=16000, help="Hz")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each clip")
    options = parser.parse_args(argv)
    folder = make_toy(**vars(options))
    show(
        f"{folder}: {options.n_clips} clips of {options.seconds:g} s in "
        f"{len(TOY_CLASSES)} classes ({', '.join(TOY_CLASSES)}) and {N_FOLDS} folds, "
        f"with their stems; the table is {folder / 'meta' / 'esc50.csv'}"
    )


if __name__ == "__main__":
    sys.exit(main())
