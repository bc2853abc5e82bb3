"""What an interpreter in training makes of a few clips, to be heard as it learns."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from speechbrain_lmac.dsp.audio import write_sound
from speechbrain_lmac.inference.explain_batch import explain_batch
from speechbrain_lmac.plots.figures import write_explanation_picture


def write_samples(
    explainer,
    wavs: torch.Tensor,
    lens,
    ids: list[str],
    labels: list[str],
    folder: Path,
    epoch: int,
    logger=None,
) -> None:
    """Write the explanation and a picture of some clips after an epoch.

    Arguments
    ---------
    explainer : Explainer
        With `domain`, which can be listened to, and `classifier`.
    wavs : torch.Tensor
        Shape (B, N), on the explainer's device.
    lens : torch.Tensor or None
        Shape (B,): the share of each that is recording.
    ids : sequence of str
        B names of clips.
    labels : list
        Class names in the order of the logits.
    folder : Path
        `epoch_NNN/ID_explanation.wav`, `ID_rest.wav` and `ID.png` go there.
    epoch : int
    logger : loggers.TrainLoggers or None
        Gets the sounds and the picture, too.
    """
    domain = explainer.domain
    explained = explain_batch(explainer, wavs, labels, None, lens)
    place, rate = Path(folder) / f"epoch_{epoch:03}", domain.sample_rate
    for index, clip in enumerate(ids):
        name = "".join(c if c.isalnum() or c in "-_+" else "-" for c in str(clip))
        sounds = {
            part: getattr(explained, part)[index].float().cpu()
            for part in ("explanation", "rest")
        }
        for part, wav in sounds.items():
            write_sound(place / f"{name}_{part}.wav", wav, rate)
        write_explanation_picture(
            place / f"{name}.png",
            {
                "input": explained.magnitude[index].float().cpu(),
                "mask": explained.mask[index].float().cpu(),
                "explanation": explained.masked_magnitude[index].float().cpu(),
            },
            extent=(wavs.shape[1] / rate, rate / 2),
            title=f"{clip}, epoch {epoch}: {explained.labels[index]}, confidence "
            f"{explained.confidence[index]:.2f}, explanation alone "
            f"{explained.heard_confidence_in[index]:.2f}, rest "
            f"{explained.heard_confidence_out[index]:.2f}",
        )
        with Image.open(place / f"{name}.png") as image:
            picture = np.asarray(image.convert("RGB"))
        if logger is not None:
            logger.log_sample(name, sounds, picture, rate, epoch)
