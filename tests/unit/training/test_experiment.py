"""What an experiment must name to be trained."""

from collections import Counter

import pytest
import torch
from speechbrain.augment.augmenter import Augmenter
from speechbrain.augment.time_domain import RandAmp
from speechbrain.nnet.schedulers import StepScheduler
from speechbrain.utils.checkpoints import Checkpointer
from speechbrain.utils.epoch_loop import EpochCounter
from speechbrain.utils.train_logger import FileTrainLogger

from speechbrain_lmac.data.augment import Augment
from speechbrain_lmac.metrics import AD, AI, metrics_by_name
from speechbrain_lmac.training.parts import check_training
from speechbrain_lmac.utils.errors import InputError

AUGMENTER = Augmenter(augmentations=[RandAmp(0.5, 1.0)])


@pytest.fixture
def hparams(tmp_path):
    """The keys of a training of an interpreter, SpeechBrain's own parts in them."""
    module = torch.nn.Identity()
    return {
        "classifier": module,
        "interpreter": module,
        "model": module,
        "modules": {"interpreter": module, "domain": module, "more": module},
        "opt_class": torch.optim.Adam,
        "lr_annealing": StepScheduler(0.1),
        "epoch_counter": EpochCounter(2),
        "checkpointer": Checkpointer(tmp_path / "save"),
        "train_logger": FileTrainLogger(tmp_path / "log.txt"),
        "dataloader_options": {},
        "augment": Augment(waveform=AUGMENTER),
    }


def test_parts_of_speechbrain_are_taken(hparams):
    check_training(hparams, "mine.yaml")
    check_training({**hparams, "augment": None}, "mine.yaml")


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("modules", {"interpreter": torch.nn.Identity()}, "modules: .*\\['domain'\\]"),
        ("modules", {"domain": torch.nn.Identity()}, "modules: .*\\['interpreter'\\]"),
        ("modules", ["interpreter"], "modules must be a mapping"),
        ("epoch_counter", Counter(), "epoch_counter .*__next__.* Counter"),
        ("epoch_counter", EpochCounter(0), "epoch_counter.limit .*0"),
        ("checkpointer", Counter(), "checkpointer .*save_and_keep_only.* Counter"),
        ("train_logger", Counter(), "train_logger .*log_stats.* Counter"),
        ("lr_annealing", None, "keys ..lr_annealing"),
        ("augment", AUGMENTER, "augment .*data.augment.Augment .*got Augmenter"),
        ("metrics", ["AL"], r"\bAL\b.*: AI"),
    ],
)
def test_invalid_parts_raise_before_the_training(hparams, key, value, message):
    with pytest.raises(InputError, match=message):
        check_training({**hparams, key: value}, "mine.yaml")


@pytest.mark.parametrize("metrics", [["AI", "AD"], metrics_by_name(["AI", "AD"])])
def test_names_become_metrics_before_anything_runs(hparams, metrics):
    check_training(hparams, "mine.yaml")
    assert "metrics" not in hparams
    hparams["metrics"] = metrics
    check_training(hparams, "mine.yaml")
    assert hparams["metrics"] == (AI, AD)
