"""What a model says of its own example: run by publish.py in another process.

python -m speechbrain_lmac.publishing.isolated_load FOLDER INTERFACE OUTPUT.npz
"""

import sys
from pathlib import Path

import numpy as np
import torch

from speechbrain_lmac import inference
from speechbrain_lmac.dsp.audio import read_mono
from speechbrain_lmac.utils.errors import InputError


def outputs_of(model, wav: torch.Tensor) -> dict[str, np.ndarray]:
    """What a model says of a waveform (N,) at its rate: name to array."""
    if isinstance(model, inference.AudioExplainer):
        explained = model.explain_batch(wav[None])
        names = ("logits", "mask", "explanation")
        return {name: getattr(explained, name).cpu().numpy() for name in names}
    return {"probabilities": model.classify_batch(wav[None])[0].cpu().numpy()}


def main(folder, interface, output) -> None:
    """Load the model on the CPU and write what it says."""
    interface = getattr(inference, interface)
    model = interface.from_hparams(folder, run_opts={"device": "cpu"})
    wav = read_mono(Path(folder) / "example.wav", model.sample_rate)
    np.savez(output, **outputs_of(model, wav))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except InputError as error:
        sys.exit(str(error))
