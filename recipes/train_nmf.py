"""Learn a dictionary of spectra, for the explanations of L2I.

    python train_nmf.py hparams/esc10_nmf.yaml --data_folder /path/to/ESC-50

It writes to `results/esc10_nmf/1234`: `dictionary.ckpt` (which train_l2i.py reads),
`epochs.csv`, `train_log.txt`, `training.json` (test error, time, memory). The same
command resumes an interrupted run. Scroll to the bottom first.
"""

from pathlib import Path

import torch

from speechbrain_lmac.config.loading import load_experiment, require_keys
from speechbrain_lmac.hub.weights import save_weights
from speechbrain_lmac.interpreters.nmf import (
    front_end_of,
    relative_error,
    squared_error,
)
from speechbrain_lmac.training.base_brain import RecordingBrain
from speechbrain_lmac.training.experiment import train
from speechbrain_lmac.training.training_record import write_record
from speechbrain_lmac.utils.command import main

NEEDED = ["dataset", "domain", "autoencoder", "dictionary_checkpoint"]


class NMF(RecordingBrain):
    """An autoencoder whose decoder is the dictionary: all its weights are positive."""

    def compute_forward(self, batch, stage):
        """Return the reconstruction and the representation, (B, T, F) each."""
        with torch.no_grad():
            rep = self.modules.domain.encode(batch.wav.to(self.device)).rep
        return self.modules.autoencoder(rep).float(), rep

    def compute_objectives(self, predictions, batch, stage):
        """Return the mean squared error."""
        loss = squared_error(*predictions)
        self.record("relative_error", relative_error(*predictions))
        self.record("loss", loss)
        return loss.mean()


def train_nmf(argv):
    """Run the command above."""
    hparams, run_opts, source = load_experiment(argv, recipe="train_nmf")
    require_keys(hparams, NEEDED, source[0])
    domain, autoencoder = hparams["domain"], hparams["autoencoder"]
    front_end_of(domain)  # raises for a domain that L2I cannot use
    brain = train(NMF, hparams, run_opts, source)

    def save():
        dictionary = autoencoder.dictionary(domain)
        save_weights(dictionary, hparams["dictionary_checkpoint"])

    write_record(brain, Path(hparams["output_folder"]), autoencoder, argv, save)


if __name__ == "__main__":
    main(train_nmf)
