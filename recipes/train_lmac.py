"""Train L-MAC: a decoder that makes a mask from a frozen classifier's hidden maps.

    python train_lmac.py hparams/esc10_lmac.yaml --data_folder /path/to/ESC-50

needs the trained classifier that the YAML's `classifier_source` names, and writes to
`results/esc10_lmac/1234`: `interpreter.ckpt` (which explain.py and evaluate.py read),
`epochs.csv`, `train_log.txt`, `training.json` (test metrics, time, memory).
Interrupted, the same command goes on where it stopped. Scroll to the bottom first.

The finetuning stage and the ablations are other YAMLs of the same command:

    python train_lmac.py hparams/esc10_lmac_finetune.yaml --data_folder /path/to/ESC-50

starts from the interpreter that `pretrained_interpreter` names (a file, a folder or a
hub id).
"""

from pathlib import Path

from speechbrain_lmac.brains import ExplainerBrain
from speechbrain_lmac.classifiers.checkpoint import save_weights
from speechbrain_lmac.experiment import (
    fit_and_test,
    main,
    start_experiment,
    write_record,
)
from speechbrain_lmac.interpreters.trained import load_interpreter
from speechbrain_lmac.loading import load_experiment, require_keys


def train_lmac(argv):
    """Everything that the command above does."""
    hparams, run_opts, source = load_experiment(argv)
    require_keys(
        hparams,
        ["dataset", "domain", "classifier", "interpreter", "objective", "training"],
        source[0],
    )
    start = hparams.get("pretrained_interpreter")
    if start is not None:
        load_interpreter(hparams["interpreter"], start, "pretrained_interpreter")
    manifests = start_experiment(hparams, run_opts, source)
    dataset = hparams["dataset"]
    labels = dataset.class_order(manifests, hparams["classifier"].labels)
    brain = fit_and_test(
        hparams.get("brain", ExplainerBrain),
        {"interpreter": hparams["interpreter"], "domain": hparams["domain"]},
        hparams,
        run_opts,
        {s: dataset.load(manifests, s, labels) for s in ("train", "valid", "test")},
    )
    folder = Path(hparams["output_folder"])
    if write_record(brain, folder, hparams["interpreter"], argv):
        save_weights(hparams["interpreter"], hparams["interpreter_checkpoint"])


if __name__ == "__main__":
    main(train_lmac)
