"""Corpora of noise or speech to manifests whose parts share no file.

    python data_prep/noise_prepare.py wham data/wham_noise
    python data_prep/noise_prepare.py ljspeech data/LJSpeech-1.1
    python data_prep/noise_prepare.py folder /path/to/recordings

WHAM! has parts of its own; other corpora are split by the content of their files
(`speechbrain_lmac.data.corpora`).
"""

import argparse
import logging
import sys
from dataclasses import dataclass
from pathlib import Path

from speechbrain_lmac.data.corpora import (
    SHARES,
    SPLITS,
    check_shares,
    checksum,
    part_of,
)
from speechbrain_lmac.data_prep.download import fetch_dataset, is_absent
from speechbrain_lmac.data_prep.manifest import (
    Faults,
    fingerprint,
    load_manifests,
    read_table,
    write_manifests,
)
from speechbrain_lmac.dsp.audio import AUDIO
from speechbrain_lmac.dsp.audio_check import AudioFault, check_audio, doubt_lines
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
    data_folder : str
        The folder with ``tr``, or the one with ``wham_noise/tr``. Downloaded where it
        does not exist or is empty (about 17 GB).
    manifest_folder : str
        Where the manifests go.
    download : bool
        Whether to get it.
    url : str
        Where from.
    """

    data_folder: str
    manifest_folder: str
    download: bool = True
    url: str = WHAM_URL
    published_parts = ("train",)  # the public code takes `tr` for every split

    def prepare(self):
        """Check the corpus and write its manifests; see `prepare_corpus`."""
        folder = Path(str(self.data_folder))
        if is_absent(folder, OPTION):
            fetch(self, folder, "tr", lambda draft: _wham_files(_wham_root(draft)))
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
        """The folder that the manifests' paths begin at."""
        return _wham_root(Path(str(self.data_folder)))


def _wham_root(folder: Path) -> Path:
    """The folder with ``tr``: this one, or the one that the archive has."""
    inside = folder / "wham_noise"
    return inside if not (folder / "tr").is_dir() and inside.is_dir() else folder


def _wham_files(root: Path) -> dict:
    """Part -> names of its files, "tr/a.wav"; refused where a part has none."""
    files = {
        part: sorted(f"{name}/{path.name}" for path in (root / name).glob("*.wav"))
        for part, name in WHAM_PARTS.items()
    }
    empty = [WHAM_PARTS[part] for part, found in files.items() if not found]
    if empty:
        raise InputError(
            f"{root} is not laid out as WHAM! noise: no WAV file in {', '.join(empty)}"
        )
    return files


def _wham_missing(root: Path, files: dict) -> list[str]:
    """A warning about files that the tables of WHAM! name and that are not there."""
    missing = []
    for part, name in WHAM_PARTS.items():
        table = root / "metadata" / f"noise_meta_{name}.csv"
        rows = read_table(table, ["utterance_id"]) if table.is_file() else []
        listed = [f"{name}/{row['utterance_id']}" for row in rows]
        missing += sorted(set(listed) - set(files[part]))
    return (
        [f"files of the metadata that lack ({len(missing)}): {some_of(missing)}"]
        if missing
        else []
    )


@dataclass
class LJSpeech:
    """Read English sentences of one speaker (Ito and Johnson 2017), 22.05 kHz.

        data_folder/metadata.csv     LJ001-0001|text|normalised text
        data_folder/wavs/LJ001-0001.wav

    Public domain. Split by content, see `part_of`.

    Arguments
    ---------
    data_folder : str
        The folder with ``metadata.csv``, or the one with ``LJSpeech-1.1``. Downloaded
        where it does not exist or is empty (about 2.7 GB).
    manifest_folder : str
        Where the manifests go.
    first : int
        How many utterances of the table are used; the public code takes 10,000 of
        13,100.
    download : bool
        Whether to get it.
    url : str
        Where from.
    """

    data_folder: str
    manifest_folder: str
    first: int = 10_000
    download: bool = True
    url: str = LJSPEECH_URL
    published_parts = SPLITS

    def prepare(self):
        """Check the corpus and write its manifests; see `prepare_corpus`."""
        folder = Path(str(self.data_folder))
        if is_absent(folder, OPTION):
            fetch(
                self,
                folder,
                "metadata.csv",
                lambda draft: _ljspeech_names(_ljspeech_root(draft)),
            )
        names = _ljspeech_names(self.root)[: self.first]
        return prepare_corpus(
            self.root,
            self.manifest_folder,
            names,
            lambda name, digest: part_of(digest),
            {"corpus": "ljspeech", "first": self.first},
        )

    @property
    def root(self) -> Path:
        """The folder that the manifests' paths begin at."""
        return _ljspeech_root(Path(str(self.data_folder)))


def _ljspeech_root(folder: Path) -> Path:
    """The folder with ``metadata.csv``: this one, or the one that the archive has."""
    inside = folder / "LJSpeech-1.1"
    return inside if not (folder / "wavs").is_dir() and inside.is_dir() else folder


def _ljspeech_names(root: Path) -> list[str]:
    """The names of all utterances in the order of the table, "wavs/LJ001-0001.wav"."""
    table = root / "metadata.csv"
    try:
        lines = table.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the table {table}: {error}") from error
    names = [f"wavs/{line.split('|')[0]}.wav" for line in lines if "|" in line]
    if not names:
        raise InputError(f"{table} lists no utterance (ID|text|normalised text)")
    return names


@dataclass
class SoundFolder:
    """Any folder of audio, with folders inside.

    Every file that ends as audio does (.wav, .flac, .ogg, .mp3, ...) is used. Split by
    content, see `part_of`: if recordings of one place or speaker are several files,
    they may be in several parts.

    Arguments
    ---------
    data_folder : str
        The folder.
    manifest_folder : str
        Where the manifests go.
    shares : sequence
        Of train, valid and test; they add up to 1.
    """

    data_folder: str
    manifest_folder: str
    shares: tuple = SHARES
    published_parts = SPLITS

    def prepare(self):
        """Check the corpus and write its manifests; see `prepare_corpus`."""
        shares = check_shares(self.shares)
        root = self.root
        if not root.is_dir():
            raise InputError(f"no folder of audio: {root}; give {OPTION}")
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
        """The folder that the manifests' paths begin at."""
        return Path(str(self.data_folder))


def prepare_corpus(
    root: Path,
    manifest_folder: Path | str,
    names: list[str],
    part_of_file,
    options: dict,
    warnings: list[str] | tuple = (),
):
    """Check every file of a corpus and write ``train.json``, ``valid.json`` and
    ``test.json``.

    An entry is ``"tr/a.wav": {"wav": "{data_root}/tr/a.wav", "n_frames": 160000,
    "sample_rate": 16000, "checksum": "..."}``, in the file's frames and Hz. Silent
    files are left out, as are files whose content is in another part as well (they
    stay in the one nearest to the test); both are counted in the warnings. With an
    unchanged corpus a second call decodes and writes nothing.

    Arguments
    ---------
    root : Path
        Folder of the corpus.
    manifest_folder : str or Path
        Where the manifests go.
    names : list of str
        The files, relative to root.
    part_of_file : callable
        Name and checksum to "train", "valid" or "test".
    options : dict
        What the choice of files and parts depends on.
    warnings : sequence of str
        What was found before.

    Returns
    -------
    manifests : Manifests
        Paths, number of files in each part, and warnings.

    Raises
    ------
    InputError
        No file at all, or faults: all of them in one message.
    """
    if not names:
        raise InputError(f"{root} holds no audio file; give {OPTION}")
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


def _check_corpus(root: Path, names: list[str], part_of_file) -> tuple:
    """The files of each part and the warnings, or one error with all faults."""
    faults, silent, copies, doubtful = Faults(), [], [], {}
    parts = {part: {} for part in SPLITS}
    home = {}  # checksum -> (part, names in it)
    for name in progress_bar(names, desc=f"checking {root.name}"):
        try:
            audio = check_audio(root / name)
        except AudioFault as fault:
            faults.add(str(fault), name)
            continue
        if audio.silent:
            silent.append(name)
            continue
        if audio.doubt:
            doubtful.setdefault(audio.doubt, []).append(name)
        digest = checksum(root / name)
        part = part_of_file(name, digest)
        other, twins = home.get(digest, (part, []))
        if SPLITS.index(other) > SPLITS.index(part):
            copies.append(name)
            continue
        if other != part:
            copies += twins
            for twin in twins:
                del parts[other][twin]
            twins = []
        home[digest] = part, [*twins, name]
        parts[part][name] = {
            "wav": f"{{data_root}}/{name}",
            "n_frames": audio.n_frames,
            "sample_rate": audio.sample_rate,
            "checksum": digest,
        }
    faults.raise_if_any(root)
    if not home:
        raise InputError(f"{root} holds silent files only ({len(silent)})")
    warnings = []
    if silent:
        warnings.append(f"silent files left out ({len(silent)}): {some_of(silent)}")
    if copies:
        warnings.append(
            f"files left out whose content is in another part too ({len(copies)}): "
            f"{some_of(copies)}"
        )
    return parts, warnings + doubt_lines(doubtful)


def fetch(corpus: LJSpeech | WhamNoise, folder: Path, expects: str, check) -> None:
    """Download a corpus, or say how to get it."""
    if not corpus.download:
        raise InputError(
            f"no corpus in {folder}: unpack {corpus.url} so that {folder / expects} "
            f"exists, or give {OPTION}"
        )
    fetch_dataset(folder, corpus.url, expects=expects, check=check, option=OPTION)


CORPORA = {"wham": WhamNoise, "ljspeech": LJSpeech, "folder": SoundFolder}


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
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
