"""From sounds to L2I's explanations, by the commands that a user types."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from speechbrain_lmac.recipes.train_l2i import train_l2i
from speechbrain_lmac.recipes.train_nmf import train_nmf
from speechbrain_lmac.training.base_brain import RecordingBrain
from tests.integration.conftest import assert_best_epoch

ROOT = Path(__file__).resolve().parents[2]
NMF, L2I = "tests/hparams/toy_nmf.yaml", "tests/hparams/toy_l2i.yaml"


def written(folder):
    """The files of a training, all of them whole."""
    assert not [path for path in folder.rglob("*") if ".part" in path.name]
    return {path.name for path in folder.iterdir() if path.is_file()}


def test_a_dictionary_is_trained_and_the_best_is_kept(trained_nmf):
    assert {"dictionary.ckpt", "train_log.txt", "train_nmf.py"} <= written(trained_nmf)
    epochs = pd.read_csv(trained_nmf / "epochs.csv")
    assert epochs["epoch"].tolist() == [1, 2]
    errors = epochs[["train_loss", "valid_loss", "valid_relative_error"]].to_numpy()
    assert np.isfinite(errors).all()
    assert assert_best_epoch(trained_nmf) == 2
    state = torch.load(trained_nmf / "dictionary.ckpt")
    assert state["spectra"].shape == (513, 100)
    assert (state["spectra"] >= 0).all() and state["spectra"].any()
    assert state["front_end"][:4].tolist() == [16000, 1024, 186, 372]


def test_l2i_is_trained_upon_it(trained_l2i, trained_nmf):
    assert {"interpreter.ckpt", "training.json", "train_l2i.py"} <= written(trained_l2i)
    epochs = pd.read_csv(trained_l2i / "epochs.csv")
    terms = ["reconstruction", "activations_l1", "distillation", "loss", "fidelity"]
    names = [f"{split}_{term}" for split in ("train", "valid") for term in terms]
    assert np.isfinite(epochs[names].to_numpy()).all()
    weighted = (
        10 * epochs["valid_reconstruction"]
        + 0.8 * epochs["valid_activations_l1"]
        + epochs["valid_distillation"]
    )
    assert epochs["valid_loss"].tolist() == pytest.approx(weighted.tolist(), rel=1e-5)
    # The dictionary that was learned is the one that explains, as it was.
    before = torch.load(trained_nmf / "dictionary.ckpt")
    after = torch.load(trained_l2i / "interpreter.ckpt")
    for name, value in before.items():
        assert torch.equal(after[f"dictionary.{name}"], value), name


def test_training_l2i_does_not_change_the_classifier_in_memory(
    call, trained_classifier, classifier, dictionary, tiny, short, unchanged
):
    call(train_l2i, L2I, *tiny, *short, classifier, dictionary, "--output_folder=out")

    unchanged(trained_classifier)


class PowerCutError(BaseException):
    """What ends a training that runs in the process of the tests."""


@pytest.mark.parametrize("recipe", [train_nmf, train_l2i])
def test_a_training_that_was_cut_off_ends_as_an_undisturbed_one(
    recipe, call, tiny, classifier, dictionary, monkeypatch
):
    yaml, weights, options = NMF, "dictionary.ckpt", []
    if recipe is train_l2i:
        yaml, weights, options = L2I, "interpreter.ckpt", [classifier, dictionary]
    options = [yaml, *tiny, *options, "--number_of_epochs=3", "--batch_size=6"]
    call(recipe, *options, "--output_folder=whole")

    before = RecordingBrain.on_fit_batch_start

    def cut(brain, batch, should_step):
        if (brain.epoch, brain.step) == (3, 2):
            raise PowerCutError
        before(brain, batch, should_step)

    monkeypatch.setattr(RecordingBrain, "on_fit_batch_start", cut)
    with pytest.raises(PowerCutError):
        call(recipe, *options, "--output_folder=part")
    assert not (Path("part") / weights).exists()
    monkeypatch.setattr(RecordingBrain, "on_fit_batch_start", before)
    call(recipe, *options, "--output_folder=part")

    whole, part = (torch.load(Path(name) / weights) for name in ("whole", "part"))
    assert whole.keys() == part.keys()
    for name, value in whole.items():
        assert torch.equal(value, part[name]), name


# --- Bad input ------------------------------------------------------------------------


def test_no_dictionary_yet(refused, classifier, tiny):
    message = refused(train_l2i, L2I, *tiny, classifier, "--output_folder=out")
    assert "results/toy_nmf/1234/dictionary.ckpt" in message
    assert "train_nmf.py" in message


def test_a_dictionary_of_another_rate(refused, classifier, dictionary, tiny):
    domain = "--domain={hop_length_ms: 10.0}"
    options = [*tiny, classifier, dictionary, domain, "--output_folder=out"]
    message = refused(train_l2i, L2I, *options)
    assert "hop_length 186" in message and "hop_length 160" in message
    assert "train_nmf.py" in message


def test_a_dictionary_of_other_components(refused, classifier, dictionary, tiny):
    fewer = "--interpreter={n_components: 20}"
    options = [*tiny, classifier, dictionary, fewer, "--output_folder=out"]
    message = refused(train_l2i, L2I, *options)
    for expected in ("spectra", "(513, 100)", "(513, 20)"):
        assert expected in message


def test_a_damaged_dictionary(refused, classifier, trained_nmf, tiny, tmp_path):
    whole = (trained_nmf / "dictionary.ckpt").read_bytes()
    (tmp_path / "half.ckpt").write_bytes(whole[: len(whole) // 2])
    damaged = "--dictionary_checkpoint=half.ckpt"
    message = refused(train_l2i, L2I, *tiny, classifier, damaged, "--output_folder=out")
    assert "half.ckpt" in message and "readable" in message


@pytest.mark.parametrize("recipe, yaml", [(train_nmf, NMF), (train_l2i, L2I)])
def test_a_mel_domain(recipe, yaml, refused, classifier, dictionary, tiny, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        f"parent: {yaml}\n"
        "domain: !include:parts/domain/mel.yaml\n"
        "    sample_rate: !ref <sample_rate>\n"
    )
    options = [classifier, dictionary] if recipe is train_l2i else []
    message = refused(recipe, "mine.yaml", *tiny, *options, "--output_folder=out")
    assert "MelDomain" in message and "STFTDomain" in message
