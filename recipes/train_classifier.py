"""Train a sound classifier, the thing to be explained later.

    python train_classifier.py hparams/esc10_classifier_compact.yaml \
        --data_folder /path/to/ESC-50

writes to `results/esc10_classifier_compact/1234`: `classifier/` (weights and class
names, which train_lmac.py reads), `epochs.csv`, `train_log.txt`, the confusion matrix
of the test fold as csv and picture, `training.json` (accuracy, time, memory).
Interrupted, the same command goes on where it stopped. Scroll to the bottom first.
"""

from pathlib import Path

from speechbrain_lmac.config.loading import load_experiment, require_keys
from speechbrain_lmac.plots.charts import write_confusion
from speechbrain_lmac.training.brain import ClassifierBrain
from speechbrain_lmac.training.experiment import fit_and_test, start_training
from speechbrain_lmac.training.training_record import write_record
from speechbrain_lmac.utils.command import main
from speechbrain_lmac.utils.errors import check_numbers


def train_classifier(argv):
    """Everything that the command above does."""
    hparams, run_opts, source = load_experiment(
        argv, training=True, recipe="train_classifier"
    )
    require_keys(hparams, ["dataset", "domain", "model", "training"], source[0])
    check_numbers(0, 1, label_smoothing=hparams.get("label_smoothing", 0.0))
    manifests = start_training(hparams, run_opts, source)
    dataset = hparams["dataset"]
    labels = hparams["labels"] = sorted(dataset.categories)
    brain = fit_and_test(
        ClassifierBrain,
        {"model": hparams["model"], "domain": hparams["domain"]},
        hparams,
        run_opts,
        {s: dataset.load(manifests, s, labels) for s in ("train", "valid", "test")},
    )
    folder = Path(hparams["output_folder"])

    def save():
        hparams["model"].save(labels, folder / "classifier")
        write_confusion(brain.confusion, labels, folder)

    write_record(brain, folder, hparams["model"], argv, save)


if __name__ == "__main__":
    main(train_classifier)
