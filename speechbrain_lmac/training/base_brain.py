"""What all trainings share: seeds, schedule, curves, checkpoints, faults."""

import logging
import random
import time
from collections import defaultdict
from dataclasses import replace
from functools import cached_property
from pathlib import Path

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

from speechbrain_lmac.data.dataset import lens_on
from speechbrain_lmac.training.checkpoints import UNFIT
from speechbrain_lmac.training.dead_masks import DeadMaskDetector
from speechbrain_lmac.training.schedules import Annealing
from speechbrain_lmac.utils.compiling import without_forward
from speechbrain_lmac.utils.csv_files import read_csv, write_csv
from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.seeding import seed_of
from speechbrain_lmac.utils.system import peak_memory_mib

# Which part of a noise each stage draws from.
NOISE_PARTS = {
    sb.Stage.TRAIN: "train",
    sb.Stage.VALID: "valid",
    sb.Stage.TEST: "test",
}


logger = logging.getLogger(__name__)


class NotFiniteError(Exception):
    """A loss or a gradient with a NaN or an infinity: nothing to learn from."""


@register_checkpoint_hooks
class RecordingBrain(sb.Brain):
    """What all trainings share: seeds, schedule, curves, checkpoints.

    Every random draw of a step is seeded by (seed, epoch, step, rank), those of Python
    and NumPy too, so that a resumed run draws what an undisturbed one does. After each
    epoch the means over clips go to `train_log.txt`, TensorBoard and `epochs.csv`, and
    a checkpoint is kept if it is the newest or the one with the lowest validation loss,
    which is what the test uses.

    A subclass calls `record(name, values)` with one value per clip, "loss" among
    them, or `record_all`. One that makes masks gives those of the validation to
    `masks`, which notices when they are dead: such an epoch is not taken as the best.

    Of the YAML it reads `seed`, `output_folder`, `noise`, `lr_annealing`,
    `epoch_counter` and `train_logger`.
    """

    @cached_property
    def annealing(self) -> Annealing:
        """Calls the YAML's `lr_annealing`."""
        return Annealing(self.hparams.lr_annealing)

    def before_training(self, wav: torch.Tensor) -> None:
        """Look for what would make the training useless, before it begins.

        Arguments
        ---------
        wav : torch.Tensor
            Clips of the validation, (B, N), on the brain's device.
        """

    def _fit_train(self, train_set, epoch: int, enable: bool) -> None:
        """Tell the schedule how long an epoch is, then train it."""
        self.steps_per_epoch = -(-len(train_set) // self.grad_accumulation_factor)
        super()._fit_train(train_set, epoch, enable)

    def _compile(self) -> None:
        """Compile what has a `forward`; checkpoints are those of the modules as is.

        Raises
        ------
        InputError
            When `--compile_module_keys` names a module that there is not.
        """
        named = self.compile_module_keys if self.compile else None
        unknown = sorted(set(named or ()) - set(self.modules))
        if unknown:
            raise InputError(
                f"--compile_module_keys names {some_of(unknown)}; the modules of this "
                f"training are {some_of(self.modules)}"
            )
        left = without_forward(self.modules) if self.compile and not named else []
        if left:
            logger.info("not compiled, having no forward: %s", some_of(left))
        everything = self.modules
        self.modules = torch.nn.ModuleDict(
            {name: module for name, module in everything.items() if name not in left}
        )
        super()._compile()
        everything.update(self.modules)  # in place: the optimizer's state has an order
        self.modules = everything

    def _wrap_distributed(self):
        """On the CPU without SyncBatchNorm, which needs a GPU."""
        if not self.distributed_launch or torch.device(self.device).type != "cpu":
            return super()._wrap_distributed()
        for name, module in self.modules.items():
            if any(p.requires_grad for p in module.parameters()):
                self.modules[name] = DistributedDataParallel(module)

    def fit_batch(self, batch) -> torch.Tensor:
        """One step; it changes nothing where loss or gradient are not finite."""
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

    def skip(self, batch, reason: str) -> None:
        """Count a batch that could not be learned from, and stop where it is too much.

        Raises
        ------
        InputError
            Beyond `nonfinite_patience`, SpeechBrain's option, in an epoch.
        """
        self.skipped += 1
        where = f"epoch {self.epoch}, step {self.step}, clips {some_of(batch.ids, 3)}"
        logger.warning("%s is not finite (%s): skipped", reason, where)
        if self.skipped > self.nonfinite_patience:
            raise InputError(
                f"{reason} was not finite in {self.skipped} batches of epoch "
                f"{self.epoch}, the last at step {self.step} with the clips "
                f"{some_of(batch.ids, 3)}. Lower the learning rate (--lr) or, if they "
                f"are to be skipped, raise --nonfinite_patience {2 * self.skipped}"
            )

    def check_loss_isfinite(self, loss: torch.Tensor) -> None:
        """In all processes together: one that steps alone would wait for ever."""
        finite = loss.detach().isfinite().all().float()
        if self.distributed_launch:
            torch.distributed.all_reduce(finite, torch.distributed.ReduceOp.MIN)
        if not finite:
            raise NotFiniteError("the loss")

    def optimizers_step(self) -> None:
        """A step, unless the gradient is not finite (mixed precision sees to it)."""
        gradients = [p.grad for p in self.modules.parameters() if p.grad is not None]
        if not self.scaler.is_enabled() and gradients:
            if not torch.nn.utils.get_total_norm(gradients).isfinite():
                raise NotFiniteError("the gradient")
        super().optimizers_step()
        self.annealing.after_step(self.optimizer, self.optimizer_step)

    def record(self, name: str, values: torch.Tensor) -> None:
        """Keep one value per clip of this stage; their mean is reported."""
        self.scores[name].append(values.detach().float().cpu())

    def record_all(self, values: dict[str, torch.Tensor]) -> None:
        """`record` each of a dict."""
        for name, value in values.items():
            self.record(name, value)

    def noisy(self, batch, stage):
        """The batch with the noise of the YAML, if any, on the brain's device.

        The noise is drawn for each epoch and clip in the training; in validation and
        test a clip has the same noise whenever it is heard.
        """
        return self.noisy_and_clean(batch, stage)[0]

    def noisy_and_clean(self, batch, stage) -> tuple:
        """The noisy batch, and what is clip in its waveforms, (B, N)."""
        noise = getattr(self.hparams, "noise", None)  # an optional key
        clean = batch.wav
        if noise is not None:
            keys, part = self.keys(batch, stage), NOISE_PARTS[stage]
            wav, clean = noise.mix(batch.wav, keys, part)
            batch = batch.with_wav(wav, [noise.adds(key, part) for key in keys])
        wav, lens = batch.wav.to(self.device), lens_on(batch, self.device)
        return replace(batch, wav=wav, lens=lens), clean.to(self.device)

    def augment_of(self, stage):
        """The augmentation of the YAML, an optional key; None but in training."""
        augment = getattr(self.hparams, "augment", None)
        return augment if stage == sb.Stage.TRAIN else None

    def keys(self, batch, stage) -> list:
        """What the draws for each clip depend on; not on the epoch but in training."""
        when = self.epoch if stage == sb.Stage.TRAIN else "every epoch"
        return [(self.hparams.seed, when, clip) for clip in batch.ids]

    def on_stage_start(self, stage, epoch: int | None = None) -> None:
        """Forget the last stage, but not what a checkpoint within this epoch knew."""
        if stage != sb.Stage.TRAIN or not self.step:
            self.scores = defaultdict(list)
            if stage == sb.Stage.TRAIN:
                self.skipped = 0
        if stage == sb.Stage.VALID:
            self.masks = DeadMaskDetector()
        if stage == sb.Stage.TRAIN:
            self.epoch = epoch
            self.rate = None  # of its last step
            self.started = time.perf_counter()

    def on_fit_batch_start(self, batch, should_step: bool) -> None:
        """Seed the draws of the step, and set its learning rate."""
        rank = getattr(self, "rank", 0)
        seed = seed_of(self.hparams.seed, self.epoch, self.step, rank)
        torch.manual_seed(seed)
        random.seed(seed)  # SpeechBrain's Augmenter draws from it
        np.random.seed(seed % 2**32)  # as augmentations of others do
        self.annealing.before_step(
            self.optimizer, self.optimizer_step, self.steps_per_epoch
        )
        self.rate = self.optimizer.param_groups[0]["lr"]

    def on_stage_end(self, stage, stage_loss: float, epoch: int | None = None) -> None:
        """Report the means over clips; after the validation keep a checkpoint."""
        means = {
            name: float(torch.cat(values).nanmean())
            for name, values in self.scores.items()
            if values
        }
        if stage == sb.Stage.TRAIN:
            if "loss" not in means and not self.skipped:
                raise InputError(
                    f"epoch {epoch} had no batch to learn from: look at drop_last, "
                    "batch_size and the sampler of dataloader_options"
                )
            if "loss" not in means:
                self.refuse(
                    f"nothing was learned in epoch {epoch}: loss or gradient were not "
                    f"finite in all {self.skipped} batches"
                )
            self.train_means = means
        elif stage == sb.Stage.VALID:
            loss = torch.cat(self.scores["loss"])
            finite = loss.isfinite()
            if not finite.any():
                self.refuse(
                    f"the validation loss of epoch {epoch} is not finite in any of "
                    f"{len(loss)} clips"
                )
            means["loss"] = float(loss[finite].mean())
            self.end_epoch(epoch, means)
        else:
            self.test_means = means
            self.hparams.train_logger.log_stats(
                {"epoch loaded": self.loaded_epoch()}, test_stats=means
            )

    def refuse(self, what: str) -> None:
        """End the training with one line: nothing can be learned."""
        raise InputError(
            f"{what}. Lower the learning rate (--lr), or start from another seed; what "
            "was reached before is kept"
        )

    def unfit(self) -> str | None:
        """Why the weights must not be the best ones, or None; after a validation."""
        infinite = ~torch.cat(self.scores["loss"]).isfinite()
        if infinite.any():
            return f"validation loss not finite in {int(infinite.sum())} clips"
        dead = self.masks.cause
        return None if dead is None else f"dead masks: {dead}"

    def end_epoch(self, epoch: int, valid_means: dict[str, float]) -> None:
        """Log an epoch, move the schedule on, keep a checkpoint."""
        unfit = self.unfit()
        if unfit is not None:
            logger.warning(
                "epoch %d: %s. It is not taken as the best while there is another",
                epoch,
                unfit,
            )
        lr = self.rate or self.optimizer.param_groups[0]["lr"]
        self.annealing.after_epoch(self.optimizer, epoch, valid_means["loss"])
        counter = self.hparams.epoch_counter
        if hasattr(counter, "update_metric"):  # SpeechBrain's that stops early
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
        """Also the scores so far, for a checkpoint within an epoch."""
        super()._save(path)
        # Of a batch that was skipped an empty list may be left.
        scores = {n: torch.cat(v).tolist() for n, v in self.scores.items() if v}
        with open(path, "a", encoding="utf-8") as file:
            saved = {"scores": scores, "skipped": self.skipped}
            yaml.dump(saved, file, sort_keys=False)  # they are columns in their order

    @mark_as_loader
    def _recover(self, path: Path, end_of_epoch: bool) -> None:
        super()._recover(path, end_of_epoch)
        if not end_of_epoch:
            with open(path, encoding="utf-8") as file:
                saved = yaml.safe_load(file)
            self.skipped, scores = saved["skipped"], saved["scores"]
            kept = {name: [torch.tensor(values)] for name, values in scores.items()}
            self.scores = defaultdict(list, kept)

    def loaded_epoch(self) -> int:
        """The epoch of the checkpoint with the lowest validation loss."""
        found = self.checkpointer.find_checkpoint(min_key="loss")
        return None if found is None else found.meta["epoch"]


def append_epoch(path: Path, row: dict[str, float]) -> None:
    """Add a row to the table of epochs, atomically; rows from there on are replaced."""
    rows = pd.DataFrame([row])
    if path.is_file():
        before = read_csv(path)
        rows = pd.concat([before[before["epoch"] < row["epoch"]], rows])
    write_csv(rows, path)
