"""The common base of all Brains: seeds, schedule, curves, checkpoints, faults."""

import logging
import random
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import speechbrain as sb
import torch
import yaml
from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from speechbrain.utils.distributed import if_main_process
from torch.nn.parallel import DistributedDataParallel

from speechbrain_lmac.data.dataset import ClipBatch, lens_on
from speechbrain_lmac.training.checkpoints import UNFIT
from speechbrain_lmac.training.dead_masks import DeadMaskDetector
from speechbrain_lmac.training.schedules import Annealing
from speechbrain_lmac.utils.compiling import without_forward
from speechbrain_lmac.utils.csv_files import read_csv, write_csv
from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.seeding import seed_of
from speechbrain_lmac.utils.system import peak_memory_mib

# The part of a noise that each stage draws from.
NOISE_PARTS = {
    sb.Stage.TRAIN: "train",
    sb.Stage.VALID: "valid",
    sb.Stage.TEST: "test",
}


logger = logging.getLogger(__name__)


class NotFiniteError(Exception):
    """A NaN or infinity in a loss or gradient."""


@register_checkpoint_hooks
class RecordingBrain(sb.Brain):
    """The base of all Brains: seeds, schedule, curves, checkpoints.

    Every random draw of a step, in torch, Python and NumPy, is seeded by (seed, epoch,
    step, rank): a resumed run equals an uninterrupted one. After each epoch the means
    over clips go to `train_log.txt`, TensorBoard and `epochs.csv`; the newest
    checkpoints and the one with the lowest validation loss, which is tested, are kept.

    A subclass calls `record(name, values)` with one value per clip, "loss" among
    them, or `record_all`. A subclass with masks passes those of the validation to
    `masks.update`: an epoch with dead masks is never the best one.

    Keys of the YAML: `seed`, `output_folder`, `noise`, `lr_annealing`,
    `epoch_counter` and `train_logger`.
    """

    modules: Any  # torch.nn.ModuleDict, with the YAML's modules as attributes
    scores: defaultdict[str, list[torch.Tensor]]  # of the stage, a tensor per batch

    @cached_property
    def annealing(self) -> Annealing:
        """The schedule of the YAML's `lr_annealing`."""
        return Annealing(self.hparams.lr_annealing)

    def before_training(self, wav: torch.Tensor) -> None:
        """Raise if the training cannot succeed; called before it begins.

        Arguments
        ---------
        wav : torch.Tensor
            Clips of the validation, (B, N), on the brain's device.
        """

    def _fit_train(self, train_set: Any, epoch: int, enable: bool) -> None:
        """Train an epoch, with `steps_per_epoch` set for the schedule."""
        self.steps_per_epoch = -(-len(train_set) // self.grad_accumulation_factor)
        super()._fit_train(train_set, epoch, enable)

    def _compile(self) -> None:
        """Compile the modules that have a `forward`; checkpoints do not change.

        Raises
        ------
        InputError
            If `--compile_module_keys` names an unknown module.
        """
        named = self.compile_module_keys if self.compile else None
        unknown = sorted(set(named or ()) - set(self.modules))
        if unknown:
            raise InputError(
                f"--compile_module_keys: unknown module {some_of(unknown)}; known: "
                f"{some_of(self.modules)}"
            )
        left = without_forward(self.modules) if self.compile and not named else []
        if left:
            logger.info("not compiled (no forward): %s", some_of(left))
        everything = self.modules
        self.modules = torch.nn.ModuleDict(
            {name: module for name, module in everything.items() if name not in left}
        )
        super()._compile()
        everything.update(self.modules)  # in place: the optimizer's state has an order
        self.modules = everything

    def _wrap_distributed(self) -> None:
        """Wrap modules in DDP, on the CPU without SyncBatchNorm (it needs a GPU)."""
        if not self.distributed_launch or torch.device(self.device).type != "cpu":
            super()._wrap_distributed()
            return
        for name, module in self.modules.items():
            if any(p.requires_grad for p in module.parameters()):
                self.modules[name] = DistributedDataParallel(module)

    def fit_batch(self, batch: ClipBatch) -> torch.Tensor:
        """Train one step and return the loss, shape ().

        Nothing changes, and the loss is NaN, if loss or gradient are not finite.
        """
        recorded = {name: len(values) for name, values in self.scores.items()}
        buffers = {
            buffer: buffer.clone()
            for module in self.modules.values()
            if any(p.requires_grad for p in module.parameters())
            for buffer in module.buffers()
        }
        try:
            return super().fit_batch(batch)
        except NotFiniteError as reason:
            self.zero_grad(set_to_none=True)
            for buffer, value in buffers.items():  # running means of the batch
                buffer.copy_(value)
            for name, values in self.scores.items():
                del values[recorded.get(name, 0) :]
            self.skip(batch, str(reason))
            return torch.tensor(float("nan"))

    def skip(self, batch: ClipBatch, reason: str) -> None:
        """Count a skipped batch, and raise if there are too many.

        Raises
        ------
        InputError
            After more than `nonfinite_patience`, SpeechBrain's option, in an epoch.
        """
        self.skipped += 1
        where = f"epoch {self.epoch}, step {self.step}, clips {some_of(batch.ids, 3)}"
        logger.warning("%s is not finite (%s): skipped", reason, where)
        if self.skipped > self.nonfinite_patience:
            raise InputError(
                f"{reason} was not finite in {self.skipped} batches of epoch "
                f"{self.epoch}, the last at step {self.step} with the clips "
                f"{some_of(batch.ids, 3)}. Lower the learning rate (--lr) or, to skip "
                f"more of them, raise --nonfinite_patience {2 * self.skipped}"
            )

    def check_loss_isfinite(self, loss: torch.Tensor) -> None:
        """Raise `NotFiniteError` if the loss, shape (), is not finite in any process.

        All processes raise together: one that stepped alone would wait forever.
        """
        finite = loss.detach().isfinite().all().float()
        if self.distributed_launch:
            torch.distributed.all_reduce(finite, torch.distributed.ReduceOp.MIN)
        if not finite:
            raise NotFiniteError("the loss")

    def optimizers_step(self) -> None:
        """Step, unless the gradient is not finite (mixed precision checks itself)."""
        gradients = [p.grad for p in self.modules.parameters() if p.grad is not None]
        if not self.scaler.is_enabled() and gradients:
            if not torch.nn.utils.get_total_norm(gradients).isfinite():
                raise NotFiniteError("the gradient")
        super().optimizers_step()
        self.annealing.after_step(self.optimizer, self.optimizer_step)

    def record(self, name: str, values: torch.Tensor) -> None:
        """Record one value per clip, shape (B,); the stage reports their mean."""
        self.scores[name].append(values.detach().float().cpu())

    def record_all(self, values: Mapping[str, torch.Tensor]) -> None:
        """`record` each value, shape (B,), of a dict."""
        for name, value in values.items():
            self.record(name, value)

    def noisy(self, batch: ClipBatch, stage: sb.Stage) -> ClipBatch:
        """Return the batch with the noise of the YAML, if any, on the brain's device.

        In training the noise is drawn for each epoch and clip; in validation and test
        a clip has the same noise in every epoch.
        """
        return self.noisy_and_clean(batch, stage)[0]

    def noisy_and_clean(
        self, batch: ClipBatch, stage: sb.Stage
    ) -> tuple[ClipBatch, torch.Tensor]:
        """Return the noisy batch, and the clip's part of its waveforms, (B, N)."""
        noise = getattr(self.hparams, "noise", None)  # an optional key
        clean = batch.wav
        if noise is not None:
            keys, part = self.keys(batch, stage), NOISE_PARTS[stage]
            wav, clean = noise.mix(batch.wav, keys, part)
            batch = batch.with_wav(wav, [noise.adds(key, part) for key in keys])
        wav, lens = batch.wav.to(self.device), lens_on(batch, self.device)
        return replace(batch, wav=wav, lens=lens), clean.to(self.device)

    def augment_of(self, stage: sb.Stage) -> Any:
        """Return the augmentation of the YAML in training, else None."""
        augment = getattr(self.hparams, "augment", None)
        return augment if stage == sb.Stage.TRAIN else None

    def keys(
        self, batch: ClipBatch, stage: sb.Stage
    ) -> list[tuple[int, int | str | None, str]]:
        """Return the seeds of each clip's draws: (seed, epoch, clip).

        Outside training the epoch is always "every epoch".
        """
        when = self.epoch if stage == sb.Stage.TRAIN else "every epoch"
        return [(self.hparams.seed, when, clip) for clip in batch.ids]

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Reset the scores, unless a checkpoint within this epoch restored them."""
        if stage != sb.Stage.TRAIN or not self.step:
            self.scores = defaultdict(list)
            if stage == sb.Stage.TRAIN:
                self.skipped = 0
        if stage == sb.Stage.VALID:
            self.masks = DeadMaskDetector()
        if stage == sb.Stage.TRAIN:
            self.epoch = epoch
            self.rate: float | None = None  # of its last step
            self.started = time.perf_counter()

    def on_fit_batch_start(self, batch: ClipBatch, should_step: bool) -> None:
        """Seed the draws of the step, and set its learning rate."""
        rank = getattr(self, "rank", 0)
        seed = seed_of(self.hparams.seed, self.epoch, self.step, rank)
        torch.manual_seed(seed)
        random.seed(seed)  # SpeechBrain's Augmenter draws from it
        np.random.seed(seed % 2**32)  # for augmentations of other libraries
        self.annealing.before_step(
            self.optimizer, self.optimizer_step, self.steps_per_epoch
        )
        self.rate = self.optimizer.param_groups[0]["lr"]

    def on_stage_end(
        self, stage: sb.Stage, stage_loss: float | None, epoch: int | None = None
    ) -> None:
        """Report the means over clips; after the validation keep a checkpoint.

        Arguments
        ---------
        stage : sb.Stage
        stage_loss : float or None
            SpeechBrain's mean over batches. Not used.
        epoch : int, optional
            From 1; None in the test.

        Raises
        ------
        InputError
            If no loss of the stage is finite, or no batch was trained.
        """
        means = {
            name: float(torch.cat(values).nanmean())
            for name, values in self.scores.items()
            if values
        }
        if stage == sb.Stage.TRAIN:
            if "loss" not in means and not self.skipped:
                raise InputError(
                    f"epoch {epoch} had no batches: check drop_last, batch_size and "
                    "the sampler of dataloader_options"
                )
            if "loss" not in means:
                self.stop(
                    f"epoch {epoch} trained nothing: loss or gradient were not finite "
                    f"in all {self.skipped} batches"
                )
            self.train_means = means
        elif stage == sb.Stage.VALID:
            loss = torch.cat(self.scores["loss"])
            finite = loss.isfinite()
            if not finite.any():
                self.stop(
                    f"the validation loss of epoch {epoch} is not finite in any of "
                    f"{len(loss)} clips"
                )
            means["loss"] = float(loss[finite].mean())
            assert epoch is not None
            self.end_epoch(epoch, means)
        else:
            self.test_means = means
            self.hparams.train_logger.log_stats(
                {"epoch loaded": self.loaded_epoch()}, test_stats=means
            )

    def stop(self, reason: str) -> NoReturn:
        """Raise `InputError`: the training cannot continue."""
        raise InputError(
            f"{reason}. Lower the learning rate (--lr), or change the seed; earlier "
            "checkpoints are kept"
        )

    def unfit(self) -> str | None:
        """Return why the validated weights must not be the best ones, or None."""
        infinite = ~torch.cat(self.scores["loss"]).isfinite()
        if infinite.any():
            return f"validation loss not finite in {int(infinite.sum())} clips"
        dead = self.masks.cause
        return None if dead is None else f"dead masks: {dead}"

    def end_epoch(self, epoch: int, valid_means: dict[str, float]) -> None:
        """Log an epoch, step the schedule, and keep a checkpoint."""
        unfit = self.unfit()
        if unfit is not None:
            logger.warning(
                "epoch %d: %s. It can be the best epoch only if all are unfit",
                epoch,
                unfit,
            )
        lr = self.rate or self.optimizer.param_groups[0]["lr"]
        self.annealing.after_epoch(self.optimizer, epoch, valid_means["loss"])
        counter = self.hparams.epoch_counter
        if hasattr(counter, "update_metric"):  # SpeechBrain's early stopping
            counter.update_metric(valid_means["loss"])
        self.hparams.train_logger.log_stats(
            {"epoch": epoch, "lr": lr},
            train_stats=self.train_means,
            valid_stats=valid_means,
        )
        row = {
            "epoch": epoch,
            "seconds": time.perf_counter() - self.started,
            "peak_memory_mib": peak_memory_mib(),
            "lr": lr,
            "skipped_batches": self.skipped,
            "unfit": unfit,
            **{f"train_{name}": value for name, value in self.train_means.items()},
            **{f"valid_{name}": value for name, value in valid_means.items()},
        }
        if if_main_process() and not self.debug:
            append_epoch(Path(self.hparams.output_folder) / "epochs.csv", row)
        self.checkpointer.save_and_keep_only(
            meta={"epoch": epoch, UNFIT: unfit, **valid_means}, min_keys=["loss"]
        )

    @mark_as_saver
    def _save(self, path: Path) -> None:
        """Save the scores so far, too, for a checkpoint within an epoch."""
        super()._save(path)
        # A skipped batch may leave an empty list.
        scores = {n: torch.cat(v).tolist() for n, v in self.scores.items() if v}
        with open(path, "a", encoding="utf-8") as file:
            saved = {"scores": scores, "skipped": self.skipped}
            yaml.dump(saved, file, sort_keys=False)  # in the order of the columns

    @mark_as_loader
    def _recover(self, path: Path, end_of_epoch: bool) -> None:
        super()._recover(path, end_of_epoch)
        if not end_of_epoch:
            with open(path, encoding="utf-8") as file:
                saved = yaml.safe_load(file)
            self.skipped, scores = saved["skipped"], saved["scores"]
            restored = {name: [torch.tensor(v)] for name, v in scores.items()}
            self.scores = defaultdict(list, restored)

    def loaded_epoch(self) -> int | None:
        """Return the epoch of the checkpoint with the lowest validation loss."""
        found = self.checkpointer.find_checkpoint(min_key="loss")
        return None if found is None else found.meta["epoch"]


def append_epoch(path: Path, row: Mapping[str, Any]) -> None:
    """Add a row to the table of epochs, atomically; replace later epochs."""
    rows = pd.DataFrame([row])
    if path.is_file():
        before = read_csv(path)
        rows = pd.concat([before[before["epoch"] < row["epoch"]], rows])
    write_csv(rows, path)
