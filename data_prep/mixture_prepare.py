"""Freeze the mixtures of an evaluation in a manifest, for any prepared dataset.

    python data_prep/mixture_prepare.py esc10 mixtures --data_folder /path/to/ESC-50
    python data_prep/mixture_prepare.py esc10 noise --data_folder /path/to/ESC-50 \
        --events dog,rooster --per_clip 5
    python data_prep/mixture_prepare.py esc10 speech --data_folder /path/to/ESC-50 \
        --corpus folder --corpus_folder /path/to/speech --render results/heard

This writes one JSON file with the complete recipe of each mixture (see
`speechbrain_lmac.data.mixtures`) and a checksum of every audio file used. `--render`
writes mixtures and stems as WAV, and a table of their levels.
"""

import argparse
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import soundfile
from hyperpyyaml import load_hyperpyyaml

from speechbrain_lmac.data.contaminants import (
    PROTOCOLS,
    Contaminant,
    CorpusNoise,
    CorpusSpeech,
    Generated,
    Nothing,
    OtherClips,
    WhiteNoise,
)
from speechbrain_lmac.data.corpora import SPLITS, Corpus
from speechbrain_lmac.data.events import Events
from speechbrain_lmac.data.mixture_manifest import (
    check_files,
    prepare_mixtures,
    sounds_of,
)
from speechbrain_lmac.data.mixtures import MixtureClips
from speechbrain_lmac.data_prep.noise_prepare import CORPORA
from speechbrain_lmac.dsp.mixing import measured_snr
from speechbrain_lmac.metrics.separation import si_sdr
from speechbrain_lmac.utils.arguments import Parser
from speechbrain_lmac.utils.console import exit_status, progress_bar, show
from speechbrain_lmac.utils.csv_files import write_csv
from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.files import atomic_folder

logger = logging.getLogger(__name__)

# Kinds on the command line; those in CORPUS_KINDS need a corpus.
KINDS: dict[str, Callable[[], Contaminant]] = {
    "clean": Nothing,
    "noise": Generated,
    "mixtures": OtherClips,
    "white_noise": WhiteNoise,
}
CORPUS_KINDS: dict[str, Callable[[Corpus], Contaminant]] = {
    "noise": CorpusNoise,
    "speech": CorpusSpeech,
}


def write_audio(folder: str | Path, clips: MixtureClips) -> None:
    """Write mixtures and stems as 32-bit float WAV, and their levels.

    ``audio/ID.wav`` is the sum of ``stems/foreground/ID.wav`` and
    ``stems/background/ID.wav``; ``mixtures.csv`` has the SNR (dB, of the stems'
    energies), the SI-SDR of the mixture against the foreground (dB) and the largest
    absolute sample of each mixture.

    Arguments
    ---------
    folder : str or Path
        An existing one is replaced if it has no other files.
    clips : MixtureClips
    """
    folder = Path(folder)
    others = {p.name for p in folder.iterdir()} if folder.is_dir() else set()
    others -= {"audio", "stems", "mixtures.csv"}
    if others or (folder.exists() and not folder.is_dir()):
        raise InputError(
            f"{folder} also has {some_of(sorted(others))}; use another folder"
        )
    rows = []
    with atomic_folder(folder) as draft:
        folders = [draft / "audio", draft / "stems" / "foreground"]
        folders.append(draft / "stems" / "background")
        for each in folders:
            each.mkdir(parents=True)
        for clip in progress_bar(clips.ids, desc="writing mixtures"):
            mixture, foreground, background = wavs = clips.render(clip)
            for place, wav in zip(folders, wavs, strict=True):
                soundfile.write(
                    place / f"{clip}.wav", wav.numpy(), clips.sample_rate, "FLOAT"
                )
            ratio = si_sdr(mixture[None], foreground[None]).item()
            rows.append(
                {
                    "id": clip,
                    "category": clips.entries[clip]["category"],
                    "snr_db": measured_snr(foreground, background),
                    "si_sdr_db": ratio,
                    "peak": mixture.abs().max().item(),
                }
            )
        write_csv(pd.DataFrame(rows), draft / "mixtures.csv")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    return exit_status(_run, argv)


def _run(argv: list[str]) -> None:
    parser = Parser(
        epilog=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "dataset", help="a dataset of hparams/parts/dataset, e.g. esc10"
    )
    parser.add_argument("kind", choices=sorted({*KINDS, *CORPUS_KINDS}))
    parser.add_argument("--data_folder", required=True)
    parser.add_argument("--manifest_folder", help="default: results/mixtures/DATASET")
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="own")
    parser.add_argument(
        "--snr_db", type=float, help="SNR in dB, instead of the published gains"
    )
    parser.add_argument("--per_clip", type=int, default=2)
    parser.add_argument(
        "--events",
        metavar="CLASSES",
        help="only the loudest part of clips of these classes, at known times: "
        "dog,rooster (default level: 6 dB)",
    )
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--corpus", choices=CORPORA, help="corpus of noise or speech")
    parser.add_argument("--corpus_folder")
    parser.add_argument(
        "--render", metavar="FOLDER", help="also write WAV files to FOLDER"
    )
    _prepare(parser.parse_args(argv))


def _prepare(options: argparse.Namespace) -> None:
    parts_folder = Path(__file__).resolve().parents[1] / "hparams" / "parts" / "dataset"
    # Only datasets with classes: a mixture of captioned recordings has two captions.
    parts = {
        part.stem: part
        for part in sorted(parts_folder.glob("*.yaml"))
        if "categories:" in part.read_text(encoding="utf-8")
    }
    if options.dataset not in parts:
        raise InputError(
            f"dataset must be one of {', '.join(parts)}, got {options.dataset!r}"
        )
    part = parts[options.dataset]
    overrides = json.dumps({"data_folder": options.data_folder, "sample_rate": 16000})
    dataset = load_hyperpyyaml(f"dataset: !include:{part} {overrides}")["dataset"]
    contaminants = _contaminants(options)
    if options.events is not None:
        contaminants = Events(contaminants, options.events.split(","))
    folder = options.manifest_folder or f"results/mixtures/{options.dataset}"
    dataset.prepare_manifests(folder)
    path, record = prepare_mixtures(
        dataset,
        folder,
        options.split,
        contaminants,
        protocol=options.protocol,
        snr_db=options.snr_db,
        per_clip=options.per_clip,
        seed=options.seed,
    )
    sounds = sounds_of(dataset, contaminants)
    check_files(path, record, sounds)
    show(f"{path}: {record['description']}")
    for warning in record["warnings"]:
        logger.warning("%s", warning)
    if options.render:
        clips = MixtureClips(
            record["clips"],
            sounds,
            dataset.n_samples,
            dataset.sample_rate,
            dataset.categories,
        )
        write_audio(options.render, clips)
        show(f"{options.render}: mixtures and stems, levels in mixtures.csv")


def _contaminants(options: argparse.Namespace) -> Contaminant:
    """Build the contaminant of the command line."""
    if options.corpus is None:
        if options.kind not in KINDS:
            raise InputError(f"{options.kind} needs --corpus and --corpus_folder")
        return KINDS[options.kind]()
    if options.kind not in CORPUS_KINDS or options.corpus_folder is None:
        raise InputError(
            "--corpus needs --corpus_folder and one of the kinds "
            f"{', '.join(CORPUS_KINDS)}"
        )
    cache = f"results/cache/noise/{options.corpus}"
    corpus = CORPORA[options.corpus](options.corpus_folder, cache)
    return CORPUS_KINDS[options.kind](corpus)


if __name__ == "__main__":
    sys.exit(main())
