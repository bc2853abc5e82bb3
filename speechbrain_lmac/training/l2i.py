"""The training loops of L2I: its dictionary, then its interpreter."""

import speechbrain as sb
import torch

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.data.dataset import lens_on
from speechbrain_lmac.explainers.l2i import masks_of
from speechbrain_lmac.interpreters.nmf import relative_error, squared_error
from speechbrain_lmac.losses.l2i import Attempt, fidelity
from speechbrain_lmac.training.base_brain import RecordingBrain


class DictionaryBrain(RecordingBrain):
    """Train an autoencoder whose decoder is the dictionary."""

    def compute_forward(self, batch, stage):
        """Clips to their representation and its reconstruction."""
        with torch.no_grad():
            rep = self.modules.domain.encode(batch.wav.to(self.device)).rep
        return self.modules.autoencoder(rep).float(), rep

    def compute_objectives(self, predictions, batch, stage):
        """The mean squared error."""
        loss = squared_error(*predictions)
        self.record("relative_error", relative_error(*predictions))
        self.record("loss", loss)
        return loss.mean()


class L2IBrain(RecordingBrain):
    """Train an interpreter to explain the input, and to decide as the classifier does.

    Recorded are the terms of the objective under their own names, `fidelity` (whether
    it decides so) and `relative_error` of the reconstruction.
    """

    def compute_forward(self, batch, stage):
        """Clips to an attempt."""
        with torch.no_grad():
            wav, lens = batch.wav.to(self.device), lens_on(batch, self.device)
            encoded = self.modules.domain.encode(wav, lens)
            output = classify(self.modules.domain, self.hparams.classifier, encoded)
        interpretation = self.modules.interpreter(output.hidden, encoded)
        return Attempt(encoded.rep, output.logits, interpretation)

    def compute_objectives(self, attempt, batch, stage):
        """The weighted terms of the objective."""
        terms = self.hparams.objective(attempt)
        loss = self.hparams.objective.total(terms)
        for name, values in terms.items():
            self.record(name, values)
        reconstruction = attempt.interpretation.reconstruction
        self.record("relative_error", relative_error(reconstruction, attempt.rep))
        self.record("fidelity", fidelity(attempt))
        if stage == sb.Stage.VALID:
            self.masks.update(
                masks_of(attempt.interpretation, attempt.logits.argmax(1))
            )
        self.record("loss", loss)
        return loss.mean()
