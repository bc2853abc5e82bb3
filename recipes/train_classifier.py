"""Train a sound classifier, to be explained later.

    python train_classifier.py hparams/esc10_classifier_compact.yaml \
        --data_folder /path/to/ESC-50

It writes to `results/esc10_classifier_compact/1234`: `classifier/` (weights and class
names, which train_lmac.py reads), `epochs.csv`, `train_log.txt`, the confusion matrix
of the test fold as csv and picture, `training.json` (accuracy, time, memory). The same
command resumes an interrupted run. Scroll to the bottom first.
"""

import speechbrain as sb
import torch.nn.functional as F

from speechbrain_lmac.classifiers.padding import lengths_of, on_recordings
from speechbrain_lmac.config.loading import load_experiment, require_keys
from speechbrain_lmac.training.brain import ClassificationBrain
from speechbrain_lmac.training.experiment import train
from speechbrain_lmac.training.training_record import write_classifier
from speechbrain_lmac.utils.command import main
from speechbrain_lmac.utils.errors import check_numbers


class ClassifierBrain(ClassificationBrain):
    """A classifier of waveforms, trained with augmentation."""

    def compute_forward(self, batch, stage):
        """Return logits (B, C) and targets (B, C), both of augmented clips."""
        batch, model = self.noisy(batch, stage), self.modules.model
        targets = F.one_hot(batch.label, len(self.hparams.labels)).to(batch.wav)
        augment = self.augment_of(stage)
        wav, lens = batch.wav, batch.lens
        if augment is not None:
            wav, lens, targets = augment.waveforms(wav, lens, targets)
        domain = self.modules.domain
        encoded = domain.encode(wav, lens)
        features, lengths = domain.features(encoded), lengths_of(domain, encoded)
        if augment is not None:
            features, lengths, targets = augment.features(features, lengths, targets)
        padding = self.padding_of(lengths, stage)
        return on_recordings(model, features, *padding).logits, targets

    def compute_objectives(self, predictions, batch, stage):
        """Return the cross-entropy, with label smoothing in training."""
        logits, targets = predictions
        smoothing = self.hparams.label_smoothing if stage == sb.Stage.TRAIN else 0.0
        loss = F.cross_entropy(
            logits.float(), targets, reduction="none", label_smoothing=smoothing
        )
        self.record("loss", loss)
        self.record_labels(logits, targets, batch, stage)
        return loss.mean()


def train_classifier(argv):
    """Run the command above."""
    hparams, run_opts, source = load_experiment(argv, recipe="train_classifier")
    require_keys(hparams, ["dataset", "domain", "model"], source[0])
    check_numbers(0, 1, label_smoothing=hparams.get("label_smoothing", 0.0))
    brain = train(ClassifierBrain, hparams, run_opts, source)
    write_classifier(brain, hparams, argv)


if __name__ == "__main__":
    main(train_classifier)
