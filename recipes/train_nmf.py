"""Learn a dictionary of spectra, of which L2I composes its explanations.

    python train_nmf.py hparams/esc10_nmf.yaml --data_folder /path/to/ESC-50

writes to `results/esc10_nmf/1234`: `dictionary.ckpt` (which train_l2i.py reads),
`epochs.csv`, `train_log.txt`, `training.json` (test error, time, memory).
Interrupted, the same command goes on where it stopped. Scroll to the bottom first.
"""

from pathlib import Path

from speechbrain_lmac.config.loading import load_experiment, require_keys
from speechbrain_lmac.hub.weights import save_weights
from speechbrain_lmac.interpreters.nmf import front_end_of
from speechbrain_lmac.training.experiment import fit_and_test, start_training
from speechbrain_lmac.training.l2i import DictionaryBrain
from speechbrain_lmac.training.training_record import write_record
from speechbrain_lmac.utils.command import main


def train_nmf(argv):
    """Everything that the command above does."""
    hparams, run_opts, source = load_experiment(argv, training=True, recipe="train_nmf")
    require_keys(
        hparams,
        ["dataset", "domain", "autoencoder", "training", "dictionary_checkpoint"],
        source[0],
    )
    domain, autoencoder = hparams["domain"], hparams["autoencoder"]
    front_end_of(domain)  # refuses a domain that L2I cannot use
    manifests = start_training(hparams, run_opts, source)
    dataset = hparams["dataset"]
    labels = sorted(dataset.categories)
    brain = fit_and_test(
        DictionaryBrain,
        {"autoencoder": autoencoder, "domain": domain},
        hparams,
        run_opts,
        {s: dataset.load(manifests, s, labels) for s in ("train", "valid", "test")},
    )

    def save():
        dictionary = autoencoder.dictionary(domain)
        save_weights(dictionary, hparams["dictionary_checkpoint"])

    write_record(brain, Path(hparams["output_folder"]), autoencoder, argv, save)


if __name__ == "__main__":
    main(train_nmf)
