"""Time and memory of an explanation of long files, with its figure."""

import tempfile
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.timing import alone, seconds_of

RATE = 44100


def write_noise(path, minutes):
    """Write noise of two channels at 44.1 kHz, one second at a time."""
    draw = np.random.default_rng(1234)
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16") as sound:
        for _ in range(round(60 * minutes)):
            sound.write(0.1 * draw.standard_normal((RATE, 2)))


def run_alone(case, settings):
    """Explain a file of `case` minutes; called by `benchmarks.alone`."""
    from speechbrain_lmac.dsp.audio_streams import MonoFile
    from speechbrain_lmac.inference import AudioExplainer
    from speechbrain_lmac.inference.written_files import write_request

    model = AudioExplainer.from_hparams("esc10-lmac", run_opts={"device": "cpu"})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.wav"
        write_noise(path, float(case))
        (request,) = model.requests()
        out = Path(folder) / "out"
        taken = seconds_of(lambda: write_request(request, MonoFile(path), out, "long"))
        written = sum(p.stat().st_size for p in (Path(folder) / "out").iterdir())
    return {"seconds": taken, "written_bytes": written}


def measure(settings):
    """Return time and memory of each length, in a separate process.

    Returns
    -------
    result : dict
        Minutes, as text, to "seconds", "written_bytes" and "peak_mib".
    """
    return {
        str(minutes): alone("long_files", str(minutes), settings)
        for minutes in settings.minutes
    }
