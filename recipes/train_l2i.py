"""Train L2I: an interpreter that explains a classifier by spectra of a dictionary.

    python train_l2i.py hparams/esc10_l2i.yaml --data_folder /path/to/ESC-50

needs the trained classifier that the YAML's `classifier_source` names and the
dictionary that train_nmf.py wrote to `dictionary_checkpoint`, and writes to
`results/esc10_l2i/1234`: `interpreter.ckpt` (the dictionary is in it), `epochs.csv`,
`train_log.txt`, `training.json` (test fidelity and error, time, memory).
Interrupted, the same command goes on where it stopped. Scroll to the bottom first.
"""

from speechbrain_lmac.config.loading import load_experiment, require_keys
from speechbrain_lmac.interpreters.nmf import load_dictionary
from speechbrain_lmac.training.experiment import fit_and_test, start_training
from speechbrain_lmac.training.l2i import L2IBrain
from speechbrain_lmac.training.training_record import write_interpreter
from speechbrain_lmac.utils.command import main

NEEDED = [
    "dataset",
    "domain",
    "classifier",
    "interpreter",
    "objective",
    "training",
    "dictionary_checkpoint",
    "interpreter_checkpoint",
]


def train_l2i(argv):
    """Everything that the command above does."""
    hparams, run_opts, source = load_experiment(argv, training=True, recipe="train_l2i")
    require_keys(hparams, NEEDED, source[0])
    domain, interpreter = hparams["domain"], hparams["interpreter"]
    load_dictionary(interpreter.dictionary, hparams["dictionary_checkpoint"], domain)
    manifests = start_training(hparams, run_opts, source)
    dataset = hparams["dataset"]
    labels = dataset.class_order(manifests, hparams["classifier"].labels)
    brain = fit_and_test(
        L2IBrain,
        {"interpreter": interpreter, "domain": domain},
        hparams,
        run_opts,
        {s: dataset.load(manifests, s, labels) for s in ("train", "valid", "test")},
    )
    write_interpreter(brain, hparams, argv)


if __name__ == "__main__":
    main(train_l2i)
