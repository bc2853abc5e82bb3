"""The `metrics` of a training are what those of a table are."""

import pytest
import torch

from speechbrain_lmac.metrics import AD, AI, metrics_by_name
from speechbrain_lmac.training.experiment import TRAINING_KEYS, check_training
from speechbrain_lmac.training.schedules import CosineSchedule
from speechbrain_lmac.utils.errors import InputError


def training(**keys):
    """The keys that `check_training` asks for."""
    schedule = CosineSchedule(lr=0.1, warmup_epochs=1, number_of_epochs=2)
    modules = {"interpreter": torch.nn.Linear(1, 1)}
    made = {"modules": modules, "lr_annealing": schedule, **keys}
    return {**dict.fromkeys(TRAINING_KEYS, {}), **made}


@pytest.mark.parametrize("metrics", [["AI", "AD"], metrics_by_name(["AI", "AD"])])
def test_names_become_metrics_before_anything_runs(metrics):
    hparams = training(metrics=metrics)
    check_training(hparams, "mine.yaml")
    assert hparams["metrics"] == (AI, AD)


def test_a_misspelt_metric_is_told_before_anything_runs():
    with pytest.raises(InputError, match="called AL; known: AI"):
        check_training(training(metrics=["AL"]), "mine.yaml")


def test_a_training_without_metrics_gets_none():
    hparams = training()
    check_training(hparams, "mine.yaml")
    assert "metrics" not in hparams
