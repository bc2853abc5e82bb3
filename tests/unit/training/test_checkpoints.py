"""Which checkpoint is the best, in every process and in any order of the folder."""

import math
from collections import defaultdict

import pytest
import torch
from speechbrain.utils import checkpoints as sb_checkpoints

from speechbrain_lmac.training.base_brain import RecordingBrain
from speechbrain_lmac.training.checkpoints import UNFIT, WholeCheckpointer


@pytest.fixture
def best(tmp_path, monkeypatch):
    """`best(loss, ...)`: the epoch that is kept and found, saved one after the other.

    A loss may be a pair: the loss, and why the epoch is unfit.
    """

    def best(*losses):
        layer = torch.nn.Linear(1, 1)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        saver = WholeCheckpointer(folder, {"layer": layer})
        for epoch, loss in enumerate(losses, start=1):
            loss, unfit = loss if isinstance(loss, tuple) else (loss, None)
            torch.nn.init.constant_(layer.weight, epoch)
            meta = {"epoch": epoch, "loss": loss, UNFIT: unfit}
            saver.save_and_keep_only(meta=meta, min_keys=["loss"])
        other = torch.nn.Linear(1, 1)  # of another process
        found = WholeCheckpointer(folder, {"layer": other}).recover_if_possible(
            min_key="loss"
        )
        assert other.weight.item() == found.meta["epoch"]
        assert (
            found.meta["epoch"] == saver.find_checkpoint(min_key="loss").meta["epoch"]
        )
        return found.meta["epoch"]

    return best


def test_the_lowest(best):
    assert best(3.0, 1.0, 2.0) == 2


def test_of_equal_ones_the_earliest(best):
    assert best(2.0, 1.0, 1.0, 1.0) == 2
    assert best(1.0, 1.0) == 1


@pytest.mark.parametrize("newest_first", [True, False])
def test_whatever_order_the_folder_has(best, monkeypatch, newest_first):
    listed = WholeCheckpointer._list_checkpoint_dirs

    def in_order(self):
        return sorted(listed(self), reverse=newest_first)

    monkeypatch.setattr(WholeCheckpointer, "_list_checkpoint_dirs", in_order)
    assert best(2.0, 1.0, 1.0, 3.0) == 2


def test_an_unfit_one_only_where_all_are(best):
    dead = "dead masks: all 0"
    assert best((1.0, dead), 3.0, (2.0, dead)) == 2
    assert best((2.0, dead), (1.0, dead), (1.0, dead)) == 2


def test_nan_is_never_the_lowest(best):
    assert best(math.nan, 2.0, math.nan) == 2
    assert best(math.nan, math.nan) == 1


def test_recency_is_speechbrains(tmp_path):
    layer = torch.nn.Linear(1, 1)
    saver = WholeCheckpointer(tmp_path, {"layer": layer})
    for epoch in (1, 2):
        saver.save_checkpoint(meta={"epoch": epoch, "loss": 1.0})
    newest = max(saver.list_checkpoints(), key=sb_checkpoints.ckpt_recency)
    assert saver.find_checkpoint().path == newest.path


def test_a_checkpoint_within_an_epoch_after_a_first_batch_that_was_skipped(tmp_path):
    brain = RecordingBrain({"net": torch.nn.Linear(1, 1)}, run_opts={"device": "cpu"})
    brain.skipped, brain.scores = 1, defaultdict(list, loss=[], mask_l1=[])
    brain.record("mask_mean", torch.tensor([0.25, 0.5]))
    brain._save(tmp_path / "brain.ckpt")
    brain.skipped, brain.scores = 0, defaultdict(list)
    brain._recover(tmp_path / "brain.ckpt", end_of_epoch=False)
    assert brain.skipped == 1 and list(brain.scores) == ["mask_mean"]
    assert torch.cat(brain.scores["mask_mean"]).tolist() == [0.25, 0.5]
