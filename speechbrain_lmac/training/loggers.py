"""Where the numbers, sounds and pictures of a training go: files, TensorBoard, W&B."""

import logging
from pathlib import Path

import numpy as np
from speechbrain.utils.distributed import if_main_process

from speechbrain_lmac.utils.errors import InputError


def _drop(record):
    return False


# When it is imported it warns of a missing torchvision, which nothing here uses.
_log = logging.getLogger("speechbrain.utils.train_logger")
_log.addFilter(_drop)
from speechbrain.utils.train_logger import (  # noqa: E402
    FileTrainLogger,
    TensorboardLogger,
    WandBLogger,
)

_log.removeFilter(_drop)


class TensorboardSamples(TensorboardLogger):
    """TensorBoard, also for sounds and pictures."""

    def log_sample(self, name, sounds, picture, sample_rate, epoch):
        """Sounds (N,) by name, and a picture (H, W, 3) of bytes."""
        for part, wav in sounds.items():
            self.writer.add_audio(f"{name}/{part}", wav[None], epoch, sample_rate)
        self.writer.add_image(f"{name}/picture", picture, epoch, dataformats="HWC")


class WandBSamples(WandBLogger):
    """Weights & Biases, also for sounds and pictures.

    Arguments
    ---------
    folder : Path
        Of the training: its files are kept there, and its path is the run's id, so
        that a training that goes on is one run.
    settings : dict
        Of `wandb.init`: project, name, mode ("offline" needs no network), ...

    Raises
    ------
    InputError
        When wandb is not installed, or does not take the settings.
    """

    def __init__(self, folder, settings):
        try:
            import wandb
        except ImportError as error:
            raise InputError(
                "training: wandb needs the package wandb: pip install wandb"
            ) from error
        self.wandb = wandb
        chosen = {"dir": str(folder), "id": run_id(folder), "resume": "allow"}
        try:
            super().__init__(wandb.init, **{**chosen, **settings})
        except TypeError as error:  # what SpeechBrain raises when wandb.init fails
            raise InputError(
                f"training: wandb.init refused {settings}: {error.__context__}"
            ) from error

    def log_sample(self, name, sounds, picture, sample_rate, epoch):
        """Sounds (N,) by name, and a picture (H, W, 3) of bytes."""
        logged = {f"{name}/picture": self.wandb.Image(picture)}
        for part, wav in sounds.items():
            audio = self.wandb.Audio(np.asarray(wav), sample_rate=sample_rate)
            logged[f"{name}/{part}"] = audio
        self.run.log(logged, step=epoch)


def run_id(folder):
    """The id of a folder's run: the last two parts of its path.

    Example
    -------
    >>> run_id("results/esc10_lmac/1234")
    'esc10_lmac-1234'
    """
    return "-".join(Path(folder).parts[-2:]).replace(" ", "_")


def build_loggers(hparams):
    """`train_log.txt`, and TensorBoard or Weights & Biases if asked for."""
    folder, training = Path(hparams["output_folder"]), hparams["training"]
    loggers = [FileTrainLogger(str(folder / "train_log.txt"), precision=4)]
    if training.use_tensorboard and if_main_process():
        loggers.append(TensorboardSamples(str(folder / "tb_logs")))
    if training.wandb and if_main_process():
        loggers.append(WandBSamples(folder, training.wandb))
    return loggers
