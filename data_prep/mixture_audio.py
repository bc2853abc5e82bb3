"""Mixtures of a manifest as WAV files with their stems, and a table of their levels."""

from pathlib import Path

import pandas as pd
import soundfile

from speechbrain_lmac.console import progress_bar
from speechbrain_lmac.csv_files import write_csv
from speechbrain_lmac.errors import InputError, some_of
from speechbrain_lmac.files import made_whole
from speechbrain_lmac.metrics.truth import si_sdr
from speechbrain_lmac.mixing import measured_snr


def write_audio(folder, clips):
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
    with made_whole(folder) as draft:
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
