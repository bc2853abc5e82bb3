"""Train L2I: an interpreter that explains a classifier by spectra of a dictionary.

    python train_l2i.py hparams/esc10_l2i.yaml --data_folder /path/to/ESC-50

It needs the trained classifier that the YAML's `classifier_source` names and the
dictionary that train_nmf.py wrote to `dictionary_checkpoint`, and writes to
`results/esc10_l2i/1234`: `interpreter.ckpt` (the dictionary is in it), `epochs.csv`,
`train_log.txt`, `training.json` (test fidelity and error, time, memory). The same
command resumes an interrupted run. Scroll to the bottom first.
"""

import speechbrain as sb
import torch

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.config.loading import load_experiment, require_keys
from speechbrain_lmac.data.dataset import lens_on
from speechbrain_lmac.explainers.l2i import masks_of
from speechbrain_lmac.interpreters.nmf import load_dictionary, relative_error
from speechbrain_lmac.losses.l2i import L2IEvidence, fidelity
from speechbrain_lmac.training.base_brain import RecordingBrain
from speechbrain_lmac.training.experiment import train
from speechbrain_lmac.training.training_record import write_interpreter
from speechbrain_lmac.utils.command import main

NEEDED = "dataset domain classifier interpreter objective".split()
NEEDED += ["dictionary_checkpoint", "interpreter_checkpoint"]


class L2I(RecordingBrain):
    """Activations of dictionary spectra that also predict the classifier's decision."""

    def compute_forward(self, batch, stage):
        """Return `L2IEvidence`: rep, the classifier's logits, interpretation."""
        wav, lens = batch.wav.to(self.device), lens_on(batch, self.device)
        with torch.no_grad():
            encoded = self.modules.domain.encode(wav, lens)
            output = classify(self.modules.domain, self.hparams.classifier, encoded)
        interpretation = self.modules.interpreter(output.hidden, encoded)
        return L2IEvidence(encoded.rep, output.logits, interpretation)

    def compute_objectives(self, attempt, batch, stage):
        """Return the weighted sum of the objective's terms (`losses.l2i`)."""
        terms = self.hparams.objective(attempt)
        loss = self.hparams.objective.total(terms)
        error = relative_error(attempt.interpretation.reconstruction, attempt.rep)
        self.record_all({**terms, "relative_error": error})
        self.record_all({"fidelity": fidelity(attempt), "loss": loss})
        if stage == sb.Stage.VALID:  # detect dead masks
            predicted = attempt.logits.argmax(1)
            self.masks.update(masks_of(attempt.interpretation, predicted))
        return loss.mean()


def train_l2i(argv):
    """Run the command above."""
    hparams, run_opts, source = load_experiment(argv, recipe="train_l2i")
    require_keys(hparams, NEEDED, source[0])
    dictionary = hparams["interpreter"].dictionary
    load_dictionary(dictionary, hparams["dictionary_checkpoint"], hparams["domain"])
    write_interpreter(train(L2I, hparams, run_opts, source), hparams, argv)


if __name__ == "__main__":
    main(train_l2i)
