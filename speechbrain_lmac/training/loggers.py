"""Where the numbers, sounds and pictures of a training go: files, TensorBoard, W&B."""

import logging
from pathlib import Path

import numpy as np
import torch
from speechbrain.utils.distributed import if_main_process

from speechbrain_lmac.utils.errors import InputError, check_counts


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

    def log_sample(
        self,
        name: str,
        sounds: dict[str, torch.Tensor],
        picture: np.ndarray,
        sample_rate: int,
        epoch: int,
    ) -> None:
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

    def __init__(self, folder: Path, settings: dict[str, str]):
        try:
            import wandb
        except ImportError as error:
            raise InputError(
                "train_logger: wandb needs the package wandb: pip install wandb"
            ) from error
        self.wandb = wandb
        chosen = {"dir": str(folder), "id": run_id(folder), "resume": "allow"}
        try:
            super().__init__(wandb.init, **{**chosen, **settings})
        except TypeError as error:  # what SpeechBrain raises when wandb.init fails
            raise InputError(
                f"train_logger: wandb.init refused {settings}: {error.__context__}"
            ) from error

    def log_sample(
        self,
        name: str,
        sounds: dict[str, torch.Tensor],
        picture: np.ndarray,
        sample_rate: int,
        epoch: int,
    ) -> None:
        """Sounds (N,) by name, and a picture (H, W, 3) of bytes."""
        logged = {f"{name}/picture": self.wandb.Image(picture)}
        for part, wav in sounds.items():
            audio = self.wandb.Audio(np.asarray(wav), sample_rate=sample_rate)
            logged[f"{name}/{part}"] = audio
        self.run.log(logged, step=epoch)


def run_id(folder: Path | str) -> str:
    """The id of a folder's run: the last two parts of its path.

    Example
    -------
    >>> run_id("results/esc10_lmac/1234")
    'esc10_lmac-1234'
    """
    return "-".join(Path(folder).parts[-2:]).replace(" ", "_")


class TrainLoggers:
    """`train_log.txt`, and TensorBoard or Weights & Biases if asked for.

    It takes the place of one of SpeechBrain's loggers as `train_logger` of the YAML,
    and also logs sounds and pictures.

    Arguments
    ---------
    save_file : str
        The log. `tb_logs` of TensorBoard and the files of W&B come beside it.
    tensorboard : bool
        Write the curves to TensorBoard as well.
    wandb : dict
        Settings of `wandb.init`: write them to Weights & Biases as well. Empty: do not.
    samples_every : int
        After so many epochs the first clips of the validation are explained, to be
        heard and seen in `samples` beside the log (and in TensorBoard, W&B); 0: never.
    n_samples : int
        How many clips these are, at most a batch.
    """

    def __init__(
        self,
        save_file: str,
        tensorboard: bool = False,
        wandb: dict[str, str] | None = None,
        samples_every: float = 0,
        n_samples: int = 3,
    ):
        check_counts(n_samples=n_samples)
        check_counts(low=0, samples_every=samples_every)
        self.save_file = Path(save_file)
        self.tensorboard = tensorboard
        self.wandb = dict(wandb or {})
        self.samples_every = samples_every
        self.n_samples = n_samples
        self.opened = None

    def open(self) -> None:
        """Open what is asked for, in the main process, before the training begins."""
        if self.opened is not None:
            return
        folder = self.save_file.parent
        self.opened = [FileTrainLogger(str(self.save_file), precision=4)]
        if self.tensorboard and if_main_process():
            self.opened.append(TensorboardSamples(str(folder / "tb_logs")))
        if self.wandb and if_main_process():
            self.opened.append(WandBSamples(folder, self.wandb))

    def log_stats(self, *args, **kwargs) -> None:
        """Log numbers; see `speechbrain.utils.train_logger.TrainLogger`."""
        self.open()
        for train_logger in self.opened:
            train_logger.log_stats(*args, **kwargs)

    def log_sample(
        self,
        name: str,
        sounds: dict[str, torch.Tensor],
        picture: np.ndarray,
        sample_rate: int,
        epoch: int,
    ) -> None:
        """Log sounds (N,) by name, and a picture (H, W, 3) of bytes."""
        self.open()
        for train_logger in self.opened:
            if hasattr(train_logger, "log_sample"):
                train_logger.log_sample(name, sounds, picture, sample_rate, epoch)
