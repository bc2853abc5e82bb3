"""The training loops of classifiers and of interpreters."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import speechbrain as sb
import torch
import torch.nn.functional as F
from speechbrain.utils.distributed import if_main_process

from speechbrain_lmac.classifiers.padding import (
    lengths_of,
    masks_padding,
    on_recordings,
    warn_of_padding,
)
from speechbrain_lmac.evidence import gather_evidence, training_evidence
from speechbrain_lmac.explainers import AmortizedExplainer
from speechbrain_lmac.explainers.gradient_check import check_gradient
from speechbrain_lmac.losses.lmac_finetuning import GuidedEvidence
from speechbrain_lmac.training.base_brain import NOISE_PARTS, RecordingBrain
from speechbrain_lmac.training.listening_samples import write_samples
from speechbrain_lmac.training.targets import PredictedClass


class ClassifierBrain(RecordingBrain):
    """Train a classifier from waveforms, with augmentation."""

    def compute_forward(self, batch, stage):
        """Clips to logits, and to the targets that augmentation made of the labels."""
        batch = self.noisy(batch, stage)
        targets = F.one_hot(batch.label, len(self.hparams.labels)).float()
        targets = targets.to(batch.wav)
        augment = self.hparams.augment if stage == sb.Stage.TRAIN else None
        wav, lens = batch.wav, batch.lens
        if augment is not None:
            wav, lens, targets = augment.waveforms(wav, lens, targets)
        domain, model = self.modules.domain, self.modules.model
        encoded = domain.encode(wav, lens)
        features, lengths = domain.features(encoded), lengths_of(domain, encoded)
        if augment is not None:
            features, lengths, targets = augment.features(features, lengths, targets)
        masks = masks_padding(model)
        if stage == sb.Stage.TRAIN and lengths is not None and not masks:
            warn_of_padding(type(model).__name__)
            lengths = None  # clip by clip, batch norm would have nothing to average
        return on_recordings(model, features, lengths, masks).logits, targets

    def compute_objectives(self, predictions, batch, stage):
        """Cross-entropy; in training with the label smoothing of the YAML."""
        logits, targets = predictions
        smoothing = self.hparams.label_smoothing if stage == sb.Stage.TRAIN else 0.0
        loss = F.cross_entropy(
            logits.float(), targets, reduction="none", label_smoothing=smoothing
        )
        predicted = logits.argmax(1)
        self.record("loss", loss)
        self.record("accuracy", (predicted == targets.argmax(1)).float())
        if stage == sb.Stage.TEST:
            pairs = zip(batch.label.tolist(), predicted.tolist(), strict=True)
            for true, guess in pairs:
                self.confusion[true, guess] += 1
        return loss.mean()

    def on_stage_start(self, stage, epoch=None):
        """Count confusions in the test."""
        super().on_stage_start(stage, epoch)
        if stage == sb.Stage.TEST:
            n_classes = len(self.hparams.labels)
            self.confusion = np.zeros((n_classes, n_classes), dtype=int)


class ExplainerBrain(RecordingBrain):
    """Train an interpreter against a frozen classifier.

    The terms of the objective are recorded under their own names, in the
    validation also the means of `hparams.metrics`.
    """

    @cached_property
    def explainer(self):
        """The interpreter in training (wrapped for DDP, if so) as an explainer.

        It is made by the first batch: `fit` has wrapped and compiled the modules then.
        """
        return AmortizedExplainer(
            self.modules.domain, self.hparams.classifier, self.modules.interpreter
        )

    def before_training(self, wav):
        """Refuse a classifier that no gradient passes through."""
        check_gradient(self.modules.domain, self.hparams.classifier, wav)

    def on_stage_start(self, stage, epoch=None):
        """Forget the first batch of the last validation."""
        super().on_stage_start(stage, epoch)
        if stage == sb.Stage.VALID:
            self.first_batch = None

    def evaluate_batch(self, batch, stage):
        """Remember the first batch of a validation."""
        if stage == sb.Stage.VALID and self.first_batch is None:
            self.first_batch = batch
        return super().evaluate_batch(batch, stage)

    def end_epoch(self, epoch, valid_means):
        """See `RecordingBrain`; then a few clips to be heard and seen, if asked for."""
        super().end_epoch(epoch, valid_means)
        every = self.hparams.training.samples_every
        due = every and epoch % every == 0 and self.modules.domain.listenable
        if due and if_main_process() and not self.debug:
            self.write_samples(epoch)

    @torch.no_grad()
    def write_samples(self, epoch):
        """Explain the first clips of the validation."""
        classifier = self.hparams.classifier
        batch = self.noisy(self.first_batch, sb.Stage.VALID)
        some = slice(self.hparams.training.n_samples)
        write_samples(
            self.explainer,
            batch.wav[some],
            None if batch.lens is None else batch.lens[some],
            batch.ids[some],
            classifier.labels or [f"class {i}" for i in range(classifier.n_classes)],
            Path(self.hparams.output_folder) / "samples",
            epoch,
            self.hparams.loggers,
        )

    def compute_forward(self, batch, stage):
        """Clips to evidence."""
        return self.explained(self.noisy(batch, stage), stage)[0]

    def explained(self, batch, stage):
        """Evidence of noisy clips, in training with gradient, and the explanation that
        it is of."""
        targets = getattr(self.hparams, "targets", None) or PredictedClass()  # optional
        asked = targets.ask(self.keys(batch, stage), NOISE_PARTS[stage])
        explanation = self.explainer.explain(batch.wav, asked.target, batch.lens)
        gather = training_evidence if stage == sb.Stage.TRAIN else gather_evidence
        evidence = gather(self.modules.domain, self.hparams.classifier, explanation)
        support = asked.support.to(self.device)
        return replace(evidence, support=support), explanation

    def compute_objectives(self, evidence, batch, stage):
        """The weighted terms of the objective."""
        terms = self.hparams.objective(evidence)
        loss = self.hparams.objective.total(terms)
        for name, values in terms.items():
            self.record(name, values)
        self.record("loss", loss)
        if stage != sb.Stage.TRAIN:
            self.judge(evidence, stage)
        return loss.mean()

    def judge(self, evidence, stage):
        """Record the metrics; in the validation look for dead masks."""
        for metric in self.hparams.metrics:
            self.record(metric.name, metric(evidence))
        if stage == sb.Stage.VALID:
            self.masks.update(evidence.mask, evidence.frames)


class FinetuningBrain(ExplainerBrain):
    """Go on training an interpreter, guided by the clip that lies under the noise.

    The YAML's `objective` is a `lmac_finetuning.GuidedObjective`; its terms are
    recorded, and with them the share of clips that it guides, `selected`.
    """

    def compute_forward(self, batch, stage):
        """Clips to evidence, with the clean representation."""
        noisy, clean = self.noisy_and_clean(batch, stage)
        evidence, explanation = self.explained(noisy, stage)
        with torch.no_grad():
            clean = self.modules.domain.encode(clean)
        return GuidedEvidence(
            **vars(evidence),
            rep=explanation.encoded.rep,
            rep_clean=clean.rep,
        )
