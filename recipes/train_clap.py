"""Train a small CLAP, the zero-shot classifier to be explained by LMAC-ZS.

    python train_clap.py hparams/esc10_clap.yaml --data_folder /path/to/ESC-50

Sounds and captions are brought together by a contrastive loss; the captions are made of
class names and attributes. It writes to `results/esc10_clap/1234`: `clap/` (weights and
words, which `trained_clap` reads), `epochs.csv`, `train_log.txt`, `training.json`: what
is found on the test fold, for combinations that the training heard of and for those
that it did not, with the chance levels; time, memory. Interrupted, the same command
goes on where it stopped. Scroll to the bottom first.
"""

import json
import math
from pathlib import Path

from speechbrain_lmac.classifiers.clap.miniclap import hear_as_classifier, save_clap
from speechbrain_lmac.config.loading import load_experiment, require_keys
from speechbrain_lmac.training.clap import ClapBrain, check_augment
from speechbrain_lmac.training.experiment import fit_and_test, start_training
from speechbrain_lmac.training.training_record import write_record
from speechbrain_lmac.utils.command import main
from speechbrain_lmac.utils.console import show
from speechbrain_lmac.utils.distributed import one_process_only

NEEDED = [
    "dataset",
    "domain",
    "clap",
    "captioned",
    "silence_weight",
    "augment",
    "training",
]


def train_clap(argv):
    """Everything that the command above does."""
    hparams, run_opts, source = load_experiment(
        argv, training=True, recipe="train_clap"
    )
    require_keys(hparams, NEEDED, source[0])
    one_process_only("a CLAP")
    check_augment(hparams["augment"])
    clap, captions = hparams["clap"], hparams["captioned"].captions
    clap.learn_words(captions.words(), hparams["seed"])
    if hparams.get("trunk_source") is not None:
        hear_as_classifier(clap, hparams["trunk_source"])
    manifests = start_training(hparams, run_opts, source)
    dataset = hparams["dataset"]
    labels = hparams["labels"] = sorted(dataset.categories)
    brain = fit_and_test(
        ClapBrain,
        {"clap": clap, "domain": hparams["domain"]},
        hparams,
        run_opts,
        {s: dataset.load(manifests, s, labels) for s in ("train", "valid", "test")},
    )
    found = {n: v for n, v in brain.test_means.items() if not math.isnan(v)}
    brain.test_means = {**found, **captions.chance()}
    folder = Path(hparams["output_folder"])
    if write_record(
        brain, folder, clap, argv, save=lambda: save_clap(clap, folder / "clap")
    ):
        show(json.dumps(brain.test_means, indent=2))


if __name__ == "__main__":
    main(train_clap)
