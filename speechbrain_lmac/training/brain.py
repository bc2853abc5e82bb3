"""Base Brains of classifiers and of interpreters."""

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
from speechbrain_lmac.data.dataset import ClipBatch
from speechbrain_lmac.evidence import gather_evidence, training_evidence
from speechbrain_lmac.explainers import AmortizedExplainer
from speechbrain_lmac.explainers.gradient_check import check_gradient
from speechbrain_lmac.interpreters.trained import check_classifier
from speechbrain_lmac.training.base_brain import NOISE_PARTS, RecordingBrain
from speechbrain_lmac.training.listening_samples import write_samples
from speechbrain_lmac.training.targets import PredictedClass, Targets
from speechbrain_lmac.types import Evidence, Explanation


class ClassificationBrain(RecordingBrain):
    """A Brain for the training of a classifier: padding, accuracy, confusion matrix."""

    def padding_of(
        self, lengths: torch.Tensor | None, stage: sb.Stage
    ) -> tuple[torch.Tensor | None, bool]:
        """Return the lengths (B,) to use, and whether the model masks padding.

        In training, a model that does not mask padding gets no lengths, and is trained
        on the padding as well: with lengths it would run clip by clip, and batch norm
        could not average over the batch.
        """
        masks = masks_padding(self.modules.model)
        if stage == sb.Stage.TRAIN and lengths is not None and not masks:
            warn_of_padding(type(self.modules.model).__name__)
            lengths = None
        return lengths, masks

    def record_labels(
        self,
        logits: torch.Tensor,
        targets: torch.Tensor,
        batch: ClipBatch,
        stage: sb.Stage,
    ) -> None:
        """Record the accuracy; in the test, also update the confusion matrix.

        Arguments
        ---------
        logits : torch.Tensor
            Shape (B, C).
        targets : torch.Tensor
            Probabilities of the classes, (B, C).
        batch : ClipBatch
            With labels.
        stage : sb.Stage
        """
        predicted = logits.argmax(1)
        self.record("accuracy", (predicted == targets.argmax(1)).float())
        if stage == sb.Stage.TEST:
            assert batch.label is not None
            pairs = zip(batch.label.tolist(), predicted.tolist(), strict=True)
            for true, guess in pairs:
                self.confusion[true, guess] += 1

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Reset the confusion matrix before the test."""
        super().on_stage_start(stage, epoch)
        if stage == sb.Stage.TEST:
            n_classes = len(self.hparams.labels)
            self.confusion = np.zeros((n_classes, n_classes), dtype=int)


class InterpreterBrain(RecordingBrain):
    """A Brain for the training of an interpreter of a frozen classifier.

    A subclass defines `compute_forward` and `compute_objectives`; see
    recipes/train_lmac.py.
    """

    NEEDED = ("dataset", "domain", "classifier", "interpreter", "objective")  # keys

    @cached_property
    def explainer(self) -> AmortizedExplainer:
        """The interpreter in training (wrapped by DDP, if used) as an explainer.

        It is created at the first batch, after `fit` wrapped and compiled the modules.
        """
        return AmortizedExplainer(
            self.modules.domain, self.hparams.classifier, self.modules.interpreter
        )

    def before_training(self, wav: torch.Tensor) -> None:
        """Check that interpreter and classifier match, and that gradients pass.

        `wav` are validation clips, (B, N); see `gradient_check.check_gradient`.
        """
        check_classifier(self.modules.interpreter, self.hparams.classifier)
        check_gradient(self.modules.domain, self.hparams.classifier, wav)

    def sampled(self, batch: ClipBatch, stage: sb.Stage) -> Targets:
        """Return the classes to explain, by default the predicted ones.

        The key `targets` of the YAML is their sampler.
        """
        targets = getattr(self.hparams, "targets", None) or PredictedClass()
        return targets.sample(self.keys(batch, stage), NOISE_PARTS[stage])

    def evidence_of(
        self,
        explanation: Explanation,
        stage: sb.Stage,
        support: torch.Tensor | None = None,
    ) -> Evidence:
        """Return the logits of `rep * mask` and of `rep * (1 - mask)`.

        Arguments
        ---------
        explanation : Explanation
            With masks (B, T, F).
        stage : sb.Stage
            In training the evidence has a gradient.
        support : torch.Tensor, optional
            Degree to which the target is present in each clip, (B,), 0 to 1.

        Returns
        -------
        evidence : Evidence
        """
        gather = training_evidence if stage == sb.Stage.TRAIN else gather_evidence
        evidence = gather(self.modules.domain, self.hparams.classifier, explanation)
        if support is None:
            return evidence
        return replace(evidence, support=support.to(self.device))

    def record_metrics(self, evidence: Evidence | None, stage: sb.Stage) -> None:
        """Record the metrics, except in training; detect dead masks in the validation.

        Without evidence, as in trainings of LMAC-ZS, nothing is recorded.
        """
        if stage == sb.Stage.TRAIN or evidence is None:
            return
        for metric in self.hparams.metrics:
            self.record(metric.name, metric(evidence))
        if stage == sb.Stage.VALID:
            self.masks.update(evidence.mask, evidence.frames)

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Reset the stored first batch before the validation."""
        super().on_stage_start(stage, epoch)
        if stage == sb.Stage.VALID:
            self.first_batch: ClipBatch | None = None

    def evaluate_batch(self, batch: ClipBatch, stage: sb.Stage) -> torch.Tensor:
        """Store the first batch of a validation; return the loss, shape ()."""
        if stage == sb.Stage.VALID and self.first_batch is None:
            self.first_batch = batch
        return super().evaluate_batch(batch, stage)

    def end_epoch(self, epoch: int, valid_means: dict[str, float]) -> None:
        """See `RecordingBrain`; then write samples, if `samples_every` is set."""
        super().end_epoch(epoch, valid_means)
        # SpeechBrain's own loggers have no `samples_every`: they log numbers only.
        every = getattr(self.hparams.train_logger, "samples_every", 0)
        due = every and epoch % every == 0 and self.modules.domain.listenable
        if due and if_main_process() and not self.debug:
            self.write_samples(epoch)

    @torch.no_grad()
    def write_samples(self, epoch: int) -> None:
        """Write explanations of the first validation clips to `samples`."""
        assert self.first_batch is not None
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
