"""Freeze the mixtures of an evaluation in a manifest, for any prepared dataset.

    python data_prep/mixture_prepare.py esc10 mixtures --data_folder /path/to/ESC-50
    python data_prep/mixture_prepare.py esc10 speech --data_folder /path/to/ESC-50 \
        --corpus folder --corpus_folder /path/to/speech --render results/heard

writes one JSON file that says of each mixture all that it is made of (see
`speechbrain_lmac.data.mixtures`), with a checksum of every audio file used. `--render`
writes mixtures and stems as WAV, and a table of their levels.
"""

import argparse
import json
import logging
import sys
from pathlib import Path

import pandas as pd
import soundfile
from hyperpyyaml import load_hyperpyyaml

from speechbrain_lmac.data.contaminants import (
    PROTOCOLS,
    CorpusNoise,
    CorpusSpeech,
    Generated,
    Nothing,
    OtherClips,
    WhiteNoise,
)
from speechbrain_lmac.data.corpora import SPLITS
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

# What the command line calls each kind; those in CORPUS_KINDS need a corpus.
KINDS = {
    "clean": Nothing,
    "noise": Generated,
    "mixtures": OtherClips,
    "white_noise": WhiteNoise,
}
CORPUS_KINDS = {"noise": CorpusNoise, "speech": CorpusSpeech}


def write_audio(folder: str, clips: MixtureClips) -> None:
    """Write mixtures and stems as 32-bit float WAV, and their levels.

    ``audio/ID.wav`` is the sum of ``stems/foreground/ID.wav`` and
    ``stems/background/ID.wav``; ``mixtures.csv`` has for each the SNR (dB, of the
    stems' energies), the SI-SDR of the mixture against the foreground (dB) and the
    largest absolute sample.

    Arguments
    ---------
    folder : str or Path
        Made anew: an old one is replaced if it has nothing else in it.
    clips : MixtureClips
    """
    folder = Path(folder)
    others = {p.name for p in folder.iterdir()} if folder.is_dir() else set()
    others -= {"audio", "stems", "mixtures.csv"}
    if others or (folder.exists() and not folder.is_dir()):
        raise InputError(
            f"{folder} holds also {some_of(sorted(others))}: it is not replaced; give "
            "another folder"
        )
    rows = []
    with atomic_folder(folder) as draft:
        folders = [draft / "audio", draft / "stems" / "foreground"]
        folders.append(draft / "stems" / "background")
        for each in folders:
            each.mkdir(parents=True)
        for clip in progress_bar(clips.ids, desc="writing mixtures"):
            sounds = clips.render(clip)
            for place, wav in zip(folders, sounds, strict=True):
                soundfile.write(
                    place / f"{clip}.wav", wav.numpy(), clips.sample_rate, "FLOAT"
                )
            mixture, foreground, background = sounds
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
    """The command line; returns the exit status."""
    return exit_status(_run, argv)


def _run(argv: list[str]) -> None:
    parser = Parser(
        epilog=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", help="a name in hparams/parts/dataset: esc10")
    parser.add_argument("kind", choices=sorted({*KINDS, *CORPUS_KINDS}))
    parser.add_argument("--data_folder", required=True)
    parser.add_argument("--manifest_folder", help="default: results/mixtures/DATASET")
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="own")
    parser.add_argument("--snr_db", type=float, help="instead of the published gains")
    parser.add_argument("--per_clip", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--corpus", choices=CORPORA, help="of noise or speech")
    parser.add_argument("--corpus_folder")
    parser.add_argument("--render", metavar="FOLDER", help="write WAV files there")
    _prepare(parser.parse_args(argv))


def _prepare(options: argparse.Namespace) -> None:
    folder = Path(__file__).resolve().parents[1] / "hparams" / "parts" / "dataset"
    # Captions are no classes, and a mixture has two of them.
    parts = {
        part.stem: part
        for part in sorted(folder.glob("*.yaml"))
        if "categories:" in part.read_text(encoding="utf-8")
    }
    if options.dataset not in parts:
        raise InputError(f"no dataset {options.dataset}; there are {', '.join(parts)}")
    part = parts[options.dataset]
    given = json.dumps({"data_folder": options.data_folder, "sample_rate": 16000})
    dataset = load_hyperpyyaml(f"dataset: !include:{part} {given}")["dataset"]
    contaminants = _contaminants(options)
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


def _contaminants(options: argparse.Namespace) -> WhiteNoise:
    """What the options name."""
    if options.corpus is None:
        if options.kind not in KINDS:
            raise InputError(f"{options.kind} needs --corpus and --corpus_folder")
        return KINDS[options.kind]()
    if options.kind not in CORPUS_KINDS or options.corpus_folder is None:
        raise InputError(
            "--corpus goes with --corpus_folder and one of the kinds "
            f"{', '.join(CORPUS_KINDS)}"
        )
    cache = f"results/cache/noise/{options.corpus}"
    corpus = CORPORA[options.corpus](options.corpus_folder, cache)
    return CORPUS_KINDS[options.kind](corpus)


if __name__ == "__main__":
    sys.exit(main())
