"""What the Brains of classifiers and of interpreters share beside the method."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import speechbrain as sb
import torch
from speechbrain.utils.distributed import if_main_process

from speechbrain_lmac.classifiers.padding import (
    masks_padding,
    warn_of_padding,
)
from speechbrain_lmac.evidence import gather_evidence, training_evidence
from speechbrain_lmac.explainers import AmortizedExplainer
from speechbrain_lmac.explainers.gradient_check import check_gradient
from speechbrain_lmac.interpreters.trained import check_classifier
from speechbrain_lmac.training.base_brain import NOISE_PARTS, RecordingBrain
from speechbrain_lmac.training.listening_samples import write_samples
from speechbrain_lmac.training.targets import PredictedClass


class LabellingBrain(RecordingBrain):
    """What the training of a classifier needs: padding, accuracy, confusions."""

    def padding_of(self, lengths: torch.Tensor | None, stage) -> tuple:
        """Lengths (B,) of padded features as they are heard, and whether the model
        masks the padding.

        One that does not is trained on it, too, and the lengths are None: clip by clip,
        batch norm would have nothing to average.
        """
        masks = masks_padding(self.modules.model)
        if stage == sb.Stage.TRAIN and lengths is not None and not masks:
            warn_of_padding(type(self.modules.model).__name__)
            lengths = None
        return lengths, masks

    def record_labels(
        self, logits: torch.Tensor, targets: torch.Tensor, batch, stage
    ) -> None:
        """Record the accuracy of logits (B, C); in the test count confusions."""
        predicted = logits.argmax(1)
        self.record("accuracy", (predicted == targets.argmax(1)).float())
        if stage == sb.Stage.TEST:
            pairs = zip(batch.label.tolist(), predicted.tolist(), strict=True)
            for true, guess in pairs:
                self.confusion[true, guess] += 1

    def on_stage_start(self, stage, epoch: int | None = None) -> None:
        """Count confusions in the test."""
        super().on_stage_start(stage, epoch)
        if stage == sb.Stage.TEST:
            n_classes = len(self.hparams.labels)
            self.confusion = np.zeros((n_classes, n_classes), dtype=int)


class InterpreterBrain(RecordingBrain):
    """What the training of an interpreter for a frozen classifier needs.

    A subclass has `compute_forward` and `compute_objectives`; see
    recipes/train_lmac.py.
    """

    NEEDED = ("dataset", "domain", "classifier", "interpreter", "objective")  # keys

    @cached_property
    def explainer(self) -> AmortizedExplainer:
        """The interpreter in training (wrapped for DDP, if so) as an explainer.

        It is made by the first batch: `fit` has wrapped and compiled the modules then.
        """
        return AmortizedExplainer(
            self.modules.domain, self.hparams.classifier, self.modules.interpreter
        )

    def before_training(self, wav: torch.Tensor) -> None:
        """Refuse a classifier that no gradient passes through, or another one's."""
        check_classifier(self.modules.interpreter, self.hparams.classifier)
        check_gradient(self.modules.domain, self.hparams.classifier, wav)

    def asked(self, batch, stage):
        """Which classes are asked for: `targets.Asked`; the predicted ones, unless the
        YAML has `targets`."""
        targets = getattr(self.hparams, "targets", None) or PredictedClass()
        return targets.ask(self.keys(batch, stage), NOISE_PARTS[stage])

    def evidence_of(self, explanation, stage, support: torch.Tensor | None = None):
        """What the classifier says of `rep * mask` and of `rep * (1 - mask)`: the
        `types.Evidence` of an explanation, in training with gradient."""
        gather = training_evidence if stage == sb.Stage.TRAIN else gather_evidence
        evidence = gather(self.modules.domain, self.hparams.classifier, explanation)
        if support is None:
            return evidence
        return replace(evidence, support=support.to(self.device))

    def judge(self, evidence, stage) -> None:
        """But in training record the metrics; in the validation look for dead masks."""
        if stage == sb.Stage.TRAIN:
            return  # LMAC-ZS has no evidence then
        for metric in self.hparams.metrics:
            self.record(metric.name, metric(evidence))
        if stage == sb.Stage.VALID:
            self.masks.update(evidence.mask, evidence.frames)

    def on_stage_start(self, stage, epoch: int | None = None) -> None:
        """Forget the first batch of the last validation."""
        super().on_stage_start(stage, epoch)
        if stage == sb.Stage.VALID:
            self.first_batch = None

    def evaluate_batch(self, batch, stage) -> torch.Tensor:
        """Remember the first batch of a validation."""
        if stage == sb.Stage.VALID and self.first_batch is None:
            self.first_batch = batch
        return super().evaluate_batch(batch, stage)

    def end_epoch(self, epoch: int, valid_means: dict[str, float]) -> None:
        """See `RecordingBrain`; then a few clips to be heard and seen, if asked for."""
        super().end_epoch(epoch, valid_means)
        # SpeechBrain's loggers take numbers only.
        every = getattr(self.hparams.train_logger, "samples_every", 0)
        due = every and epoch % every == 0 and self.modules.domain.listenable
        if due and if_main_process() and not self.debug:
            self.write_samples(epoch)

    @torch.no_grad()
    def write_samples(self, epoch: int) -> None:
        """Explain the first clips of the validation."""
        classifier, train_logger = self.hparams.classifier, self.hparams.train_logger
        batch = self.noisy(self.first_batch, sb.Stage.VALID)
        some = slice(train_logger.n_samples)
        write_samples(
            self.explainer,
            batch.wav[some],
            None if batch.lens is None else batch.lens[some],
            batch.ids[some],
            classifier.labels or [f"class {i}" for i in range(classifier.n_classes)],
            Path(self.hparams.output_folder) / "samples",
            epoch,
            train_logger,
        )
