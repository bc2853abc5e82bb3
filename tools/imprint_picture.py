"""The picture of docs/results/checks.md: a mask on its clip and on other sounds.

    python tools/imprint_picture.py /path/to/ESC-50 imprint.png

The clips are those of the README's example, the model is the shipped `esc10-lmac`.
`make explanation-checks` calls it.
"""

import sys
from pathlib import Path

import torch
from PIL import Image

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.domains.masked_audio import MaskedAudio
from speechbrain_lmac.dsp.audio import read_mono
from speechbrain_lmac.inference import AudioExplainer
from speechbrain_lmac.metrics.checks.carriers import NOISES, at_level_of
from speechbrain_lmac.plots.imprint_figure import write_imprint_figure

MODEL = "esc10-lmac"
# docs/example/README.md names their authors.
CLIP, OTHER = "5-203128-A-0", "5-220955-A-40"
SEED = 1234
COLOURS = 256  # of the PNG: a third of the file size


@torch.no_grad()
def write_picture(data_folder, output):
    """Write the picture.

    Arguments
    ---------
    data_folder : str
        ESC-50 or ESC-10.
    output : str
        The PNG file.
    """
    model = AudioExplainer.from_hparams(MODEL)
    domain, classifier = model.explainer.domain, model.explainer.classifier
    rate = domain.sample_rate
    clip, other = (
        read_mono(next(Path(data_folder, "audio").glob(f"{name}.*")), rate)[None]
        for name in (CLIP, OTHER)
    )
    clip = clip / clip.abs().max()
    noise = NOISES["white"](("picture", SEED), clip.shape[1], rate)[None]
    mask = model.explainer.explain(clip).mask

    def named(encoded):
        logits = classify(domain, classifier, encoded).logits
        confidence, index = logits[0].softmax(0).max(0)
        return f"{model.labels[index].replace('_', ' ')} {confidence:.2f}"

    sounds = {}
    for name, wav in (
        ("the clip", clip),
        ("white noise", at_level_of(noise, clip)),
        ("another clip", at_level_of(other[:, : clip.shape[1]], clip)),
    ):
        encoded = domain.encode(wav)
        masked = MaskedAudio(domain, encoded, mask)
        sounds[f"{name}: {named(encoded)}"] = (
            domain.magnitude(encoded)[0],
            f"masked: {named(masked.masked_in)}",
            masked.magnitude[0],
        )
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    extent = (clip.shape[1] / rate, rate / 2)
    title = f"The mask of {MODEL} for the clip, on three sounds of one level"
    write_imprint_figure(output, mask[0], sounds, extent, title)
    picture = Image.open(output).convert("RGB")
    picture = picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE)
    picture.save(output, optimize=True)


if __name__ == "__main__":
    write_picture(*sys.argv[1:])
