"""Learn a dictionary of spectra, of which L2I composes its explanations.

    python train_nmf.py hparams/esc10_nmf.yaml --data_folder /path/to/ESC-50

writes to `results/esc10_nmf/1234`: `dictionary.ckpt` (which train_l2i.py reads),
`epochs.csv`, `train_log.txt`, `training.json` (test error, time, memory).
Interrupted, the same command goes on where it stopped. Scroll to the bottom first.
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
        """Clips to their reconstruction and their representation, (B, T, F) each."""
        with torch.no_grad():
            rep = self.modules.domain.encode(batch.wav.to(self.device)).rep
        return self.modules.autoencoder(rep).float(), rep

    def compute_objectives(self, predictions, batch, stage):
        """The mean squared error."""
        loss = squared_error(*predictions)
        self.record("relative_error", relative_error(*predictions))
        self.record("loss", loss)
        return loss.mean()


def train_nmf(argv):
    """Everything that the command above does."""
    hparams, run_opts, source = load_experiment(argv, recipe="train_nmf")
    require_keys(hparams, NEEDED, source[0])
    domain, autoencoder = hparams["domain"], hparams["autoencoder"]
    front_end_of(domain)  # refuses a domain that L2I cannot use
    brain = train(NMF, hparams, run_opts, source)

    def save():
        dictionary = autoencoder.dictionary(domain)
        save_weights(dictionary, hparams["dictionary_checkpoint"])

    write_record(brain, Path(hparams["output_folder"]), autoencoder, argv, save)


if __name__ == "__main__":
    main(train_nmf)
