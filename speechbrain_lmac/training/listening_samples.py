"""Audio and figures of a few explanations during training."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from speechbrain_lmac.dsp.audio import write_sound
from speechbrain_lmac.inference.explain_batch import explain_batch
from speechbrain_lmac.plots.figures import write_explanation_picture

if TYPE_CHECKING:
    from speechbrain_lmac.training.loggers import TrainLoggers


def write_samples(
    explainer: Any,
    wavs: torch.Tensor,
    lens: torch.Tensor | None,
    ids: Sequence[str],
    labels: list[str],
    folder: Path | str,
    epoch: int,
    logger: "TrainLoggers | None" = None,
) -> None:
    """Write the explanation and a figure of some clips after an epoch.

    Arguments
    ---------
    explainer : Explainer
        With `domain` (listenable) and `classifier`.
    wavs : torch.Tensor
        Shape (B, N), on the explainer's device.
    lens : torch.Tensor or None
        Shape (B,), in (0, 1]: share of each that is not padding.
    ids : sequence of str
        B names of clips.
    labels : list of str
        Class names in the order of the logits.
    folder : str or Path
        Where to write `epoch_NNN/ID_explanation.wav`, `ID_rest.wav` and `ID.png`.
    epoch : int
        From 1.
    logger : loggers.TrainLoggers, optional
        Logs the audio and the figure, too.
    """
    domain = explainer.domain
    explained = explain_batch(explainer, wavs, labels, None, lens)
    epoch_folder, rate = Path(folder) / f"epoch_{epoch:03}", domain.sample_rate
    for index, clip in enumerate(ids):
        name = "".join(c if c.isalnum() or c in "-_+" else "-" for c in str(clip))
        sounds = {
            part: getattr(explained, part)[index].float().cpu()
            for part in ("explanation", "rest")
        }
        for part, wav in sounds.items():
            write_sound(epoch_folder / f"{name}_{part}.wav", wav, rate)
        write_explanation_picture(
            epoch_folder / f"{name}.png",
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
        with Image.open(epoch_folder / f"{name}.png") as image:
            picture = np.asarray(image.convert("RGB"))
        if logger is not None:
            logger.log_sample(name, sounds, picture, rate, epoch)
