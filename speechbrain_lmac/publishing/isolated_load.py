"""Outputs of a published model for its example, in a subprocess of publish.py.

python -m speechbrain_lmac.publishing.isolated_load FOLDER INTERFACE OUTPUT.npz
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speechbrain_lmac import inference
from speechbrain_lmac.dsp.audio import read_mono
from speechbrain_lmac.utils.errors import InputError


def outputs_of(
    model: "inference.AudioExplainer | inference.AudioClassifier", wav: torch.Tensor
) -> dict[str, np.ndarray]:
    """Return the outputs of a model for a waveform (N,) at the model's sample rate.

    For an explainer `logits` (1, C), `mask` (1, T, F) and `explanation` (1, N); for a
    classifier `probabilities` (1, C).
    """
    if isinstance(model, inference.AudioExplainer):
        explained = model.explain_batch(wav[None])
        names = ("logits", "mask", "explanation")
        return {name: getattr(explained, name).cpu().numpy() for name in names}
    return {"probabilities": model.classify_batch(wav[None])[0].cpu().numpy()}


def main(folder: str, interface: str, output: str) -> None:
    """Load the model on the CPU and save its outputs for `example.wav`.

    Arguments
    ---------
    folder : str
        The model folder.
    interface : str
        "AudioExplainer" or "AudioClassifier".
    output : str
        The .npz file to write.
    """
    model_class = getattr(inference, interface)
    model = model_class.from_hparams(folder, run_opts={"device": "cpu"})
    wav = read_mono(Path(folder) / "example.wav", model.sample_rate)
    # Any: the stubs of numpy.savez accept no dict of arrays.
    outputs: dict[str, Any] = outputs_of(model, wav)
    np.savez(output, **outputs)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except InputError as error:
        sys.exit(str(error))
