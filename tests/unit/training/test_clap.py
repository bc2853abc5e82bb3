"""What silence is in a CLAP's training, and what it costs."""

import math
from types import SimpleNamespace

import pytest
import speechbrain as sb
import torch

from speechbrain_lmac.recipes.train_clap import ClapBrain
from speechbrain_lmac.training.clap import nearly_silent


def turned_down(wav, quiet):
    return 20 * torch.log10(quiet.norm(dim=1) / wav.norm(dim=1))


def test_clips_are_turned_down_by_50_to_100_db_and_not_all_alike():
    wav = torch.randn(64, 200, generator=torch.Generator().manual_seed(0))
    keys = [(1234, 1, f"clip {i}") for i in range(64)]
    gain_db = turned_down(wav, nearly_silent(wav, keys))
    assert -100 <= gain_db.min() < -90
    assert -60 < gain_db.max() <= -50


def test_how_far_depends_on_the_key_and_not_on_the_batch():
    wav = torch.randn(3, 200, generator=torch.Generator().manual_seed(0))
    keys = [(1234, 1, name) for name in "abc"]
    whole = nearly_silent(wav, keys)
    torch.testing.assert_close(
        whole[1:2], nearly_silent(wav[1:2], keys[1:2]), rtol=0, atol=0
    )
    other_epoch = nearly_silent(wav, [(1234, 2, name) for name in "abc"])
    assert (turned_down(wav, whole) - turned_down(wav, other_epoch)).abs().min() > 0.1


def test_the_loss_is_the_contrastive_one_and_the_weighted_silence():
    recorded = {}
    brain = SimpleNamespace(
        hparams=SimpleNamespace(silence_weight=4.0),
        record_all=recorded.update,
        record_retrieval=lambda *_: None,
    )
    cosines = torch.tensor([[0.6, -0.8], [0.0, 0.0]])  # 1/2 and 0: 1/4 in the mean
    predictions = torch.zeros(2, 2), torch.eye(2).bool(), cosines
    loss = ClapBrain.compute_objectives(brain, predictions, None, sb.Stage.TRAIN)
    assert loss.item() == pytest.approx(math.log(2) + 4 / 4)
    assert recorded["silence"].tolist() == pytest.approx([0.5, 0.0])
    assert recorded["loss"].mean().item() == pytest.approx(loss.item())
