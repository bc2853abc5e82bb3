"""Prepare noise and speech corpora: manifests of disjoint parts.

    python data_prep/noise_prepare.py wham data/wham_noise
    python data_prep/noise_prepare.py ljspeech data/LJSpeech-1.1
    python data_prep/noise_prepare.py folder /path/to/recordings

WHAM! has published parts; other corpora are split by a hash of each file's content
(`speechbrain_lmac.data.corpora`).
"""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from speechbrain_lmac.data.corpora import (
    SHARES,
    SPLITS,
    Corpus,
    check_shares,
    checksum,
    part_of,
)
from speechbrain_lmac.data_prep.download import fetch_dataset, is_absent
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

logger = logging.getLogger(__name__)

WHAM_URL = (
    "https://my-bucket-a8b4b49c25c811ee9a7e8bba05fa24c7.s3.amazonaws.com/wham_noise.zip"
)
LJSPEECH_URL = "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2"
WHAM_PARTS = {"train": "tr", "valid": "cv", "test": "tt"}
OPTION = "the data_folder of this corpus"


@dataclass
class WhamNoise:
    """The noise of WHAM! (Wichern et al. 2019, arXiv 1907.01160).

    Stereo recordings of cafes, restaurants and bars at 16 kHz. ``tr``, ``cv`` and
    ``tt`` are its train, valid and test part; their recordings come from different
    places.

        data_folder/tr/*.wav  cv/*.wav  tt/*.wav
        data_folder/metadata/noise_meta_tr.csv ...   utterance_id: the file's name

    Arguments
    ---------
    data_folder : str or Path
        The folder with ``tr``, or the one with ``wham_noise/tr``. Downloaded if it
        is missing or empty (about 17 GB).
    manifest_folder : str or Path
        Folder for the manifests.
    download, url : bool and str
        Whether to download it, and the URL of the archive.
    """

    data_folder: str | Path
    manifest_folder: str | Path
    download: bool = True
    url: str = WHAM_URL
    # The public code uses `tr` for every split.
    published_parts: ClassVar[tuple[str, ...]] = ("train",)

    def prepare(self) -> Manifests:
        """Check the corpus and write its manifests; see `prepare_corpus`."""
        folder = Path(str(self.data_folder))
        if is_absent(folder, OPTION):
            _fetch(self, folder, "tr", lambda draft: _wham_files(_wham_root(draft)))
        root = self.root
        files = _wham_files(root)
        part_of_name = {name: part for part in files for name in files[part]}
        return prepare_corpus(
            root,
            self.manifest_folder,
            list(part_of_name),
            lambda name, digest: part_of_name[name],
            {"corpus": "wham"},
            _wham_missing(root, files),
        )

    @property
    def root(self) -> Path:
        """The folder to which the manifests' paths are relative."""
        return _wham_root(Path(str(self.data_folder)))


def _wham_root(folder: Path) -> Path:
    """Return the folder with ``tr``: `folder`, or the archive's top folder in it."""
    inside = folder / "wham_noise"
    return inside if not (folder / "tr").is_dir() and inside.is_dir() else folder


def _wham_files(root: Path) -> dict[str, list[str]]:
    """Map each part to its files, "tr/a.wav"; raise if a part has none."""
    files = {
        part: sorted(f"{name}/{path.name}" for path in (root / name).glob("*.wav"))
        for part, name in WHAM_PARTS.items()
    }
    empty = [WHAM_PARTS[part] for part, found in files.items() if not found]
    if empty:
        raise InputError(
            f"{root} does not have the layout of WHAM!: no WAV file in "
            f"{', '.join(empty)}"
        )
    return files


def _wham_missing(root: Path, files: dict[str, list[str]]) -> list[str]:
    """Return a warning if files in the metadata of WHAM! are missing."""
    missing = []
    for part, name in WHAM_PARTS.items():
        table = root / "metadata" / f"noise_meta_{name}.csv"
        rows = read_table(table, ["utterance_id"]) if table.is_file() else []
        listed = [f"{name}/{row['utterance_id']}" for row in rows]
        missing += sorted(set(listed) - set(files[part]))
    warning = f"missing files of the metadata ({len(missing)}): {some_of(missing)}"
    return [warning] if missing else []


@dataclass
class LJSpeech:
    """English sentences read by one speaker (Ito and Johnson 2017), 22.05 kHz.

        data_folder/metadata.csv     LJ001-0001|text|normalised text
        data_folder/wavs/LJ001-0001.wav

    Public domain. Split by content, see `part_of`.

    Arguments
    ---------
    data_folder : str or Path
        The folder with ``metadata.csv``, or the one with ``LJSpeech-1.1``. Downloaded
        if it is missing or empty (about 2.7 GB).
    manifest_folder : str or Path
        Folder for the manifests.
    first : int
        Number of utterances used, from the top of the table; the public code uses
        10,000 of 13,100.
    download, url : bool and str
        Whether to download it, and the URL of the archive.
    """

    data_folder: str | Path
    manifest_folder: str | Path
    first: int = 10_000
    download: bool = True
    url: str = LJSPEECH_URL
    published_parts: ClassVar[tuple[str, ...]] = SPLITS

    def prepare(self) -> Manifests:
        """Check the corpus and write its manifests; see `prepare_corpus`."""
        folder = Path(str(self.data_folder))
        if is_absent(folder, OPTION):
            _fetch(self, folder, "metadata.csv", _ljspeech_names)
        names = _ljspeech_names(folder)[: self.first]
        return prepare_corpus(
            self.root,
            self.manifest_folder,
            names,
            lambda name, digest: part_of(digest),
            {"corpus": "ljspeech", "first": self.first},
        )

    @property
    def root(self) -> Path:
        """The folder to which the manifests' paths are relative."""
        return _ljspeech_root(Path(str(self.data_folder)))


def _ljspeech_root(folder: Path) -> Path:
    """Return the folder with ``wavs``: `folder`, or the archive's top folder in it."""
    inside = folder / "LJSpeech-1.1"
    return inside if not (folder / "wavs").is_dir() and inside.is_dir() else folder


def _ljspeech_names(folder: Path) -> list[str]:
    """Return the files of all utterances in table order, "wavs/LJ001-0001.wav"."""
    table = _ljspeech_root(folder) / "metadata.csv"
    try:
        lines = table.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the table {table}: {error}") from error
    names = [f"wavs/{line.split('|')[0]}.wav" for line in lines if "|" in line]
    if not names:
        raise InputError(f"{table} has no utterance (ID|text|normalised text)")
    return names


@dataclass
class SoundFolder:
    """Any folder of audio, including its subfolders.

    Every file with an audio suffix (.wav, .flac, .ogg, .mp3, ...) is used. Split by
    content, see `part_of`: files of one place or speaker can be in different parts.

    Arguments
    ---------
    data_folder, manifest_folder : str or Path
        The corpus, and the folder for the manifests.
    shares : sequence
        Shares of train, valid and test, which sum to 1.
    """

    data_folder: str | Path
    manifest_folder: str | Path
    shares: Sequence[float] = SHARES
    published_parts: ClassVar[tuple[str, ...]] = SPLITS

    def prepare(self) -> Manifests:
        """Check the corpus and write its manifests; see `prepare_corpus`."""
        shares = check_shares(self.shares)
        root = self.root
        if not root.is_dir():
            raise InputError(f"{root} is not a folder; set {OPTION}")
        names = sorted(
            path.relative_to(root).as_posix()
            for path in root.rglob("*")
            if path.suffix.lower() in AUDIO and path.is_file()
        )
        return prepare_corpus(
            root,
            self.manifest_folder,
            names,
            lambda name, digest: part_of(digest, shares),
            {"corpus": "folder", "shares": shares},
        )

    @property
    def root(self) -> Path:
        """The folder to which the manifests' paths are relative."""
        return Path(str(self.data_folder))


def prepare_corpus(
    root: Path,
    manifest_folder: Path | str,
    names: list[str],
    part_of_file: Callable[[str, str], str],
    options: dict,
    warnings: Sequence[str] = (),
) -> Manifests:
    """Check every file of a corpus and write ``train.json``, ``valid.json`` and
    ``test.json``.

    An entry is ``"tr/a.wav": {"wav": "{data_root}/tr/a.wav", "n_frames": 160000,
    "sample_rate": 16000, "checksum": "..."}``, with the length and rate (Hz) of the
    file. Silent files are skipped; of identical files in different parts only those of
    the last part (test, then valid) are kept. Both are reported as warnings. With an
    unchanged corpus a second call does nothing.

    Arguments
    ---------
    root, manifest_folder : Path
        The corpus, and the folder for the manifests.
    names : list of str
        The files, relative to root.
    part_of_file : callable
        Maps name and checksum to "train", "valid" or "test".
    options : dict
        JSON values that determine the choice of files and parts.
    warnings : sequence of str
        Further warnings.

    Returns
    -------
    manifests : Manifests
        Paths, number of files in each part, and warnings.

    Raises
    ------
    InputError
        The corpus is empty or has faults, all of which are in one message.
    """
    if not names:
        raise InputError(f"{root} has no audio files; set {OPTION}")
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


def _check_corpus(
    root: Path, names: list[str], part_of_file: Callable[[str, str], str]
) -> tuple[dict[str, dict[str, dict]], list[str]]:
    """Return the files of each part and the warnings; raise all faults at once."""
    faults, silent, copies = Faults(), [], []
    by_warning: dict[str, list[str]] = {}
    parts: dict[str, dict[str, dict]] = {part: {} for part in SPLITS}
    seen: dict[str, tuple[str, list[str]]] = {}  # checksum -> (part, names in it)
    for name in progress_bar(names, desc=f"checking {root.name}"):
        try:
            audio = check_audio(root / name)
        except AudioFault as fault:
            faults.add(str(fault), name)
            continue
        if audio.silent:
            silent.append(name)
            continue
        if audio.header_warning:
            by_warning.setdefault(audio.header_warning, []).append(name)
        digest = checksum(root / name)
        part = part_of_file(name, digest)
        other, twins = seen.get(digest, (part, []))
        if SPLITS.index(other) > SPLITS.index(part):
            copies.append(name)
            continue
        if other != part:
            copies += twins
            for twin in twins:
                del parts[other][twin]
            twins = []
        seen[digest] = part, [*twins, name]
        parts[part][name] = {
            "wav": f"{{data_root}}/{name}",
            "n_frames": audio.n_frames,
            "sample_rate": audio.sample_rate,
            "checksum": digest,
        }
    faults.raise_if_any(root)
    if not seen:
        raise InputError(f"{root} has only silent files ({len(silent)})")
    warnings = []
    if silent:
        warnings.append(f"silent files skipped ({len(silent)}): {some_of(silent)}")
    if copies:
        warnings.append(
            f"files skipped, same content in another part ({len(copies)}): "
            f"{some_of(copies)}"
        )
    return parts, warnings + header_warnings(by_warning)


def _fetch(
    corpus: LJSpeech | WhamNoise,
    folder: Path,
    expects: str,
    check: Callable[[Path], object],
) -> None:
    """Run `fetch_dataset` for a corpus, or raise if its `download` is False."""
    if not corpus.download:
        raise InputError(
            f"no corpus in {folder}: unpack {corpus.url} so that {folder / expects} "
            f"exists, or set {OPTION}"
        )
    fetch_dataset(folder, corpus.url, expects=expects, check=check, option=OPTION)


CORPORA: dict[str, Callable[[str, str], Corpus]] = {
    "wham": WhamNoise,
    "ljspeech": LJSpeech,
    "folder": SoundFolder,
}


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    return exit_status(_run, argv)


def _run(argv: list[str]) -> None:
    parser = Parser(
        epilog=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", choices=CORPORA)
    parser.add_argument("data_folder")
    parser.add_argument("--manifest_folder", help="default: results/cache/noise/CORPUS")
    options = parser.parse_args(argv)
    folder = options.manifest_folder or f"results/cache/noise/{options.corpus}"
    manifests = CORPORA[options.corpus](options.data_folder, folder).prepare()
    counts = ", ".join(f"{n} {part}" for part, n in manifests.counts.items())
    show(f"{folder}: {counts}")
    for warning in manifests.warnings:
        logger.warning("%s", warning)


if __name__ == "__main__":
    sys.exit(main())
