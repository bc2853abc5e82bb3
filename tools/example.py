"""The example on the first screen of the README: `make example` writes docs/example.

    python tools/example.py /path/to/ESC-50

Two recordings of the test fold, both in the public domain (CC0), are mixed at 3 dB and
explained by a shipped model with `speechbrain-lmac explain`: a figure and three audio
files, at the model's 16 kHz to keep them small.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import soundfile
from PIL import Image

from speechbrain_lmac.dsp.audio import read_mono
from speechbrain_lmac.dsp.mixing import gains_of_snr, mix

OUTPUT = Path(__file__).resolve().parents[1] / "docs" / "example"
MODEL = "esc10-lmac"
# docs/example/README.md names their authors.
DOG, HELICOPTER = "5-203128-A-0", "5-220955-A-40"
SNR_DB = 3.0  # of the dog over the helicopter
SAMPLE_RATE = 16000  # Hz
COLOURS = 256  # of the PNG: half the file size


def write_example(data_folder):
    """Write the figure and the audio of docs/example.

    Arguments
    ---------
    data_folder : str
        ESC-50 or ESC-10.
    """
    dog, helicopter = (
        read_mono(next(Path(data_folder, "audio").glob(f"{name}.*")), SAMPLE_RATE)
        for name in (DOG, HELICOPTER)
    )
    n_samples = min(len(dog), len(helicopter))
    gains = gains_of_snr(SNR_DB)
    mixture, _, _ = mix(dog[:n_samples], helicopter[:n_samples], gains)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder, "dog.wav")
        soundfile.write(clip, mixture.numpy(), SAMPLE_RATE)
        command = ["speechbrain_lmac.cli", "explain", clip, "--model", MODEL]
        command += ["--output_folder", folder]
        subprocess.run([sys.executable, "-m", *command], check=True)
        for sound in ("explanation", "rest", "input"):
            samples, _ = soundfile.read(Path(folder, f"dog_{sound}.wav"))
            soundfile.write(OUTPUT / f"{sound}.flac", samples, SAMPLE_RATE)
        picture = Image.open(Path(folder, "dog.png")).convert("RGB")
        picture = picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE)
        picture.save(OUTPUT / "explanation.png", optimize=True)


if __name__ == "__main__":
    write_example(*sys.argv[1:])
