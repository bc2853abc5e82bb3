"""Loggers of numbers, audio and figures: files, TensorBoard, Weights & Biases."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speechbrain.utils.distributed import if_main_process

from speechbrain_lmac.utils.errors import InputError, check_counts


def _drop(record: logging.LogRecord) -> bool:
    return False


# Its import warns of a missing torchvision, which we do not need.
_log = logging.getLogger("speechbrain.utils.train_logger")
_log.addFilter(_drop)
from speechbrain.utils.train_logger import (  # noqa: E402
    FileTrainLogger,
    TensorboardLogger,
    WandBLogger,
)

_log.removeFilter(_drop)


class TensorboardSamples(TensorboardLogger):
    """TensorBoard, with audio and figures."""

    def log_sample(
        self,
        name: str,
        sounds: dict[str, torch.Tensor],
        picture: np.ndarray,
        sample_rate: int,
        epoch: int,
    ) -> None:
        """See `TrainLoggers.log_sample`: waveforms (N,), an RGB image (H, W, 3)."""
        for part, wav in sounds.items():
            self.writer.add_audio(f"{name}/{part}", wav[None], epoch, sample_rate)
        self.writer.add_image(f"{name}/picture", picture, epoch, dataformats="HWC")


class WandBSamples(WandBLogger):
    """Weights & Biases, with audio and figures.

    Arguments
    ---------
    folder : Path
        Output folder of the training, for its files. Its path is the run's id: a
        resumed training is the same run.
    settings : dict
        Arguments of `wandb.init`: project, name, mode ("offline" needs no network), ...

    Raises
    ------
    InputError
        If wandb is not installed, or does not take the settings.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        try:
            import wandb
        except ImportError as error:
            raise InputError(
                "train_logger: missing package wandb: pip install wandb"
            ) from error
        self.wandb = wandb
        chosen = {"dir": str(folder), "id": run_id(folder), "resume": "allow"}
        try:
            super().__init__(wandb.init, **{**chosen, **settings})
        except TypeError as error:  # SpeechBrain's, if wandb.init fails
            raise InputError(
                f"train_logger: wandb.init({settings}) failed: {error.__context__}"
            ) from error

    def log_sample(
        self,
        name: str,
        sounds: dict[str, torch.Tensor],
        picture: np.ndarray,
        sample_rate: int,
        epoch: int,
    ) -> None:
        """See `TrainLoggers.log_sample`: waveforms (N,), an RGB image (H, W, 3)."""
        logged = {f"{name}/picture": self.wandb.Image(picture)}
        for part, wav in sounds.items():
            audio = self.wandb.Audio(np.asarray(wav), sample_rate=sample_rate)
            logged[f"{name}/{part}"] = audio
        self.run.log(logged, step=epoch)


def run_id(folder: Path | str) -> str:
    """Return the id of a folder's run: the last two parts of its path.

    Example
    -------
    >>> run_id("results/esc10_lmac/1234")
    'esc10_lmac-1234'
    """
    return "-".join(Path(folder).parts[-2:]).replace(" ", "_")


class TrainLoggers:
    """`train_log.txt`, and optionally TensorBoard and Weights & Biases.

    It replaces SpeechBrain's loggers as `train_logger` of the YAML, and also logs
    audio and figures.

    Arguments
    ---------
    save_file : str
        The log. `tb_logs` of TensorBoard and the files of W&B are beside it.
    tensorboard : bool
        Whether to log to TensorBoard, too.
    wandb : dict, optional
        Arguments of `wandb.init`, to log to Weights & Biases, too. Empty: do not.
    samples_every : int
        Interval in epochs at which the first clips of the validation are explained, in
        `samples` beside the log (and in TensorBoard, W&B); 0: never.
    n_samples : int
        Number of these clips, at most a batch.
    """

    def __init__(
        self,
        save_file: str,
        tensorboard: bool = False,
        wandb: dict[str, Any] | None = None,
        samples_every: int = 0,
        n_samples: int = 3,
    ) -> None:
        check_counts(n_samples=n_samples)
        check_counts(low=0, samples_every=samples_every)
        self.save_file = Path(save_file)
        self.tensorboard = tensorboard
        self.wandb = dict(wandb or {})
        self.samples_every = samples_every
        self.n_samples = n_samples
        self.opened: list[Any] = []

    def open(self) -> None:
        """Open the loggers, in the main process, before the training begins."""
        if self.opened:
            return
        folder = self.save_file.parent
        self.opened = [FileTrainLogger(str(self.save_file), precision=4)]
        if self.tensorboard and if_main_process():
            self.opened.append(TensorboardSamples(str(folder / "tb_logs")))
        if self.wandb and if_main_process():
            self.opened.append(WandBSamples(folder, self.wandb))

    def log_stats(self, *args: Any, **kwargs: Any) -> None:
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
        """Log the audio and the figure of an explanation.

        Arguments
        ---------
        name : str
            Name of the clip.
        sounds : dict
            Name of the part to waveform, (N,).
        picture : np.ndarray
            RGB image, (H, W, 3), uint8.
        sample_rate : int
            Sample rate of the waveforms, Hz.
        epoch : int
        """
        self.open()
        for train_logger in self.opened:
            if hasattr(train_logger, "log_sample"):
                train_logger.log_sample(name, sounds, picture, sample_rate, epoch)
