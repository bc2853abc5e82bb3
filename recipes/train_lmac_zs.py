"""Train LMAC-ZS: a decoder that makes a mask for any prompt of a zero-shot classifier.

    python train_lmac_zs.py hparams/esc10_lmac_zs_stft.yaml --data_folder ESC50_FOLDER

needs a CLAP (train_clap.py) and tells first how many clips of the test split it gets
right by the prompts of their classes. Then it trains on every pair of a clip and a
prompt of its batch, and writes to `results/esc10_lmac_zs_stft/1234` what train_lmac.py
writes; `training.json` has the zero-shot accuracy. Interrupted, the same command goes
on where it stopped. explain.py takes any prompt. Scroll to the bottom first.
"""

import logging

import torch
from speechbrain.utils.distributed import if_main_process
from torch.utils.data import DataLoader

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.config.loading import load_experiment, require_keys
from speechbrain_lmac.data.dataset import lens_on
from speechbrain_lmac.training.experiment import fit_and_test, start_training
from speechbrain_lmac.training.training_record import write_interpreter
from speechbrain_lmac.training.zero_shot import ZeroShotBrain
from speechbrain_lmac.utils.command import main
from speechbrain_lmac.utils.console import show
from speechbrain_lmac.utils.devices import check_device
from speechbrain_lmac.utils.errors import check_counts

logger = logging.getLogger(__name__)

NEEDED = [
    "dataset",
    "domain",
    "classifier",
    "interpreter",
    "objective",
    "pairs_at_once",
    "training",
]


def train_lmac_zs(argv):
    """Everything that the command above does."""
    hparams, run_opts, source = load_experiment(
        argv, training=True, recipe="train_lmac_zs"
    )
    require_keys(hparams, NEEDED, source[0])
    check_counts(pairs_at_once=hparams["pairs_at_once"])
    manifests = start_training(hparams, run_opts, source)
    dataset, classifier = hparams["dataset"], hparams["classifier"]
    labels = dataset.class_order(manifests, classifier.labels)
    clips = {s: dataset.load(manifests, s, labels) for s in ("train", "valid", "test")}
    before = zero_shot_accuracy(hparams, clips["test"], check_device(run_opts.device))
    if if_main_process():
        line = accuracy_line(before, classifier.prompts)
        show(line)
        logger.info(line)
    brain = fit_and_test(
        hparams.get("brain", ZeroShotBrain),
        {"interpreter": hparams["interpreter"], "domain": hparams["domain"]},
        hparams,
        run_opts,
        clips,
    )
    write_interpreter(brain, hparams, argv, before=before)


@torch.no_grad()
def zero_shot_accuracy(hparams, clips, device):
    """What the classifier gets right of clips as they are, before anything is trained.

    Returns
    -------
    told : dict
        `zero_shot_accuracy`, 0 to 1, and `zero_shot_clips`; empty where captions
        stand in place of classes.
    """
    domain = hparams["domain"].to(device)
    classifier = hparams["classifier"].to(device)
    right = []
    for batch in DataLoader(clips, **hparams["training"].loader):
        if batch.label is None:
            return {}
        encoded = domain.encode(batch.wav.to(device), lens_on(batch, device))
        logits = classify(domain, classifier, encoded).logits
        right.append(logits.argmax(1).cpu() == batch.label)
    right = torch.cat(right)
    return {
        "zero_shot_accuracy": right.float().mean().item(),
        "zero_shot_clips": len(right),
    }


def accuracy_line(told, prompts):
    """What of it is printed.

    Example
    -------
    >>> accuracy_line({"zero_shot_accuracy": 0.5, "zero_shot_clips": 8}, ["dog", "cat"])
    "zero-shot: 50.0 % of 8 clips of the test split are right, by 2 prompts such as \
'dog'"
    """
    if not told:
        return "zero-shot: the test split has captions and no classes, so no accuracy"
    return (
        f"zero-shot: {100 * told['zero_shot_accuracy']:.1f} % of "
        f"{told['zero_shot_clips']} clips of the test split are right, by "
        f"{len(prompts)} prompts such as {prompts[0]!r}"
    )


if __name__ == "__main__":
    main(train_lmac_zs)
