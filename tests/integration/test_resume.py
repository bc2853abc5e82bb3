"""A training that was killed ends as if it had not been.

Equal means bit by bit: on the CPU, with the same number of threads.
"""

import signal
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from speechbrain_lmac.recipes.train_classifier import train_classifier
from speechbrain_lmac.recipes.train_lmac import train_lmac
from speechbrain_lmac.training.base_brain import RecordingBrain

ROOT = Path(__file__).resolve().parents[2]
EPOCHS = ("--number_of_epochs=4", "--batch_size=6")  # of 3 steps
LMAC = (train_lmac, "hparams/toy_lmac.yaml", "interpreter.ckpt")
# With mixup, shift, gain, SpecAugment, blanks and dropout.
CLASSIFIER = (train_classifier, "hparams/toy_classifier.yaml", "classifier/model.ckpt")


class PowerCutError(BaseException):
    """What ends a training that runs in the process of the tests."""


@pytest.fixture
def power_cut(monkeypatch):
    """`power_cut(epoch, step)`: the next training ends there, before the step."""

    def power_cut(epoch, step):
        before = RecordingBrain.on_fit_batch_start

        def on_fit_batch_start(brain, batch, should_step):
            if (brain.epoch, brain.step) == (epoch, step):
                monkeypatch.setattr(RecordingBrain, "on_fit_batch_start", before)
                raise PowerCutError
            before(brain, batch, should_step)

        monkeypatch.setattr(RecordingBrain, "on_fit_batch_start", on_fit_batch_start)

    return power_cut


def outcome(folder, weights):
    """What must be equal: the weights, and the table but for time and memory."""
    epochs = pd.read_csv(folder / "epochs.csv")
    table = epochs.drop(columns=["seconds", "peak_memory_mib"])
    return torch.load(folder / weights), table


def assert_same(first, second):
    """Bit by bit."""
    (weights, epochs), (other_weights, other_epochs) = first, second
    pd.testing.assert_frame_equal(epochs, other_epochs, check_exact=True)
    assert weights.keys() == other_weights.keys()
    for name, value in weights.items():
        assert torch.equal(value, other_weights[name]), name


@pytest.fixture
def options_of(tiny, classifier):
    """`options_of(recipe, yaml)`: of a training without its epochs and folder."""

    def options_of(recipe, yaml):
        return [yaml, *tiny, *([classifier] if recipe is train_lmac else [])]

    return options_of


@pytest.fixture
def undisturbed(train_once, options_of):
    """`undisturbed(recipe, yaml, weights)`: options, and the outcome of all epochs."""

    def undisturbed(recipe, yaml, weights):
        options = options_of(recipe, yaml)
        folder = train_once(f"whole_{recipe.__name__}", recipe, *options, *EPOCHS)
        return options, outcome(folder, weights)

    return undisturbed


KILLED = """
import os, runpy, signal, sys
from speechbrain_lmac.training.base_brain import RecordingBrain

before = RecordingBrain.on_fit_batch_start

def on_fit_batch_start(brain, batch, should_step):
    if (brain.epoch, brain.step) == (3, 2):
        os.kill(os.getpid(), signal.SIGKILL)
    before(brain, batch, should_step)

RecordingBrain.on_fit_batch_start = on_fit_batch_start
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


def test_lmac_after_sigkill(run, call, undisturbed, tmp_path):
    options, whole = undisturbed(*LMAC)
    (tmp_path / "killed.py").write_text(KILLED)
    script = [sys.executable, "killed.py", ROOT / "recipes" / "train_lmac.py"]
    done = run([*script, *options, *EPOCHS, "--output_folder=part"], tmp_path)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(pd.read_csv("part/epochs.csv")) == 2
    assert not Path("part/interpreter.ckpt").exists()

    call(train_lmac, *options, *EPOCHS, "--output_folder=part")
    assert_same(outcome(Path("part"), "interpreter.ckpt"), whole)


@pytest.mark.parametrize("recipe", [LMAC, CLASSIFIER], ids=["lmac", "classifier"])
@pytest.mark.parametrize("saving", [(), ("--ckpt_interval_steps=1",)])
def test_training_that_ended_within_an_epoch(
    recipe, saving, call, undisturbed, power_cut
):
    # Without the option it goes on after epoch 2, with it within epoch 1: then the
    # columns of epochs.csv come from the checkpoint, too.
    run_recipe, _, weights = recipe
    options, whole = undisturbed(*recipe)
    options = [*options, *EPOCHS, *saving, "--output_folder=part"]
    power_cut(epoch=1 if saving else 3, step=3)
    with pytest.raises(PowerCutError):
        call(run_recipe, *options)
    assert not (Path("part") / weights).exists()

    call(run_recipe, *options)
    assert_same(outcome(Path("part"), weights), whole)


@pytest.fixture(params=["generated", "folder"])
def noisy(request, tmp_path):
    """`noisy(yaml)`: that experiment with noise of a kind in its training."""
    rng = np.random.default_rng(3)
    (tmp_path / "sounds").mkdir()
    for i in range(30):
        sound = 0.1 * rng.standard_normal(4000 + 900 * i)
        soundfile.write(tmp_path / "sounds" / f"{i}.wav", sound, 16000)
    part = f"noise: !include:{ROOT}/hparams/parts/noise/{request.param}.yaml\n"
    part += "    sample_rate: !ref <sample_rate>\n"
    if request.param == "folder":
        part += f"    corpus:\n        data_folder: {tmp_path}/sounds\n"
        part += f"        manifest_folder: {tmp_path}/noise\n"

    def noisy(yaml):
        text = (ROOT / yaml).read_text(encoding="utf-8") + part
        text = text.replace("!include:parts", f"!include:{ROOT}/hparams/parts")
        path = tmp_path / "noisy.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return noisy


@pytest.mark.parametrize("recipe", [LMAC, CLASSIFIER], ids=["lmac", "classifier"])
def test_training_with_noise_that_ended_within_an_epoch(
    recipe, call, undisturbed, options_of, power_cut, noisy
):
    run_recipe, yaml, weights = recipe
    options = [*options_of(run_recipe, noisy(yaml)), *EPOCHS]
    call(run_recipe, *options, "--output_folder=whole")
    whole = outcome(Path("whole"), weights)
    power_cut(epoch=3, step=3)
    with pytest.raises(PowerCutError):
        call(run_recipe, *options, "--output_folder=part")
    call(run_recipe, *options, "--output_folder=part")
    assert_same(outcome(Path("part"), weights), whole)

    _, (_, epochs) = undisturbed(*recipe)  # without the noise
    for column in ("train_loss", "valid_loss"):  # which was heard in both
        assert not np.isclose(epochs[column], whole[1][column]).any()


def test_more_epochs_than_at_first(call, undisturbed):
    # The cosine knows the length of the training, so it is given beforehand.
    options, whole = undisturbed(*LMAC)
    options += ["--batch_size=6", "--lr_annealing={number_of_epochs: 4}"]
    call(train_lmac, *options, "--number_of_epochs=2", "--output_folder=part")
    assert len(pd.read_csv("part/epochs.csv")) == 2
    call(train_lmac, *options, "--number_of_epochs=4", "--output_folder=part")
    assert_same(outcome(Path("part"), "interpreter.ckpt"), whole)
