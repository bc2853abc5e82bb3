"""train_clap.py: what it writes, what it refuses, and that it resumes."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from speechbrain_lmac.classifiers import trained_clap
from speechbrain_lmac.classifiers.clap.classifier import ClapClassifier
from speechbrain_lmac.data.class_captions import TEMPLATES
from speechbrain_lmac.dsp.toy_sounds import TOY_CLASSES
from speechbrain_lmac.recipes.train_clap import train_clap
from speechbrain_lmac.training.base_brain import RecordingBrain

ROOT = Path(__file__).resolve().parents[2]
CLAP = "hparams/toy_clap.yaml"
SCORES = ("accuracy", "template_seen", "pair_seen", "attribute_seen", "nonsense")


@pytest.fixture(scope="module")
def options(tiny, short):
    return [CLAP, *tiny, *short, "--trunk_source=null"]


@pytest.fixture
def trained(call, options, tmp_path):
    call(train_clap, *options, "--output_folder=whole")
    return tmp_path / "whole"


def untrained():
    path = ROOT / "hparams" / "parts" / "classifier" / "miniclap_tiny.yaml"
    return load_hyperpyyaml(f"clap: !include:{path}")["clap"]


def test_what_it_writes_is_a_zero_shot_classifier(trained, call, options):
    record = json.loads((trained / "training.json").read_text())
    test = record["test"]
    for name in SCORES:
        assert 0 <= test[name] <= 1, name
    assert (
        test["nonsense"] == pytest.approx(test["chance_class"]) == pytest.approx(1 / 6)
    )
    assert test["chance_pair"] == pytest.approx(1 / 15)
    epochs = pd.read_csv(trained / "epochs.csv")
    columns = [f"valid_{name}" for name in (*SCORES, "loss")]
    assert np.isfinite(epochs[[*columns, "train_loss"]].to_numpy()).all()

    clap = trained_clap(untrained(), trained / "clap")
    classifier = ClapClassifier(clap, sorted(TOY_CLASSES))
    assert classifier.prompts[0] == TEMPLATES[0].format("burst")
    output = classifier(torch.rand(2, 87, 80))
    assert output.logits.shape == (2, 6)
    assert {"and", "loud", "chirp"} <= set(clap.vocabulary.words)
    assert record["parameters"] == sum(p.numel() for p in clap.parameters())
    # Nothing but the test is done again, and it finds the same.
    call(train_clap, *options, "--output_folder=whole")
    again = json.loads((trained / "training.json").read_text())
    assert again["test"] == test


def test_an_interrupted_training_ends_as_the_other(trained, call, options, monkeypatch):
    before = RecordingBrain.on_fit_batch_start

    def power_cut(brain, batch, should_step):
        if (brain.epoch, brain.step) == (2, 2):
            raise KeyboardInterrupt
        before(brain, batch, should_step)

    monkeypatch.setattr(RecordingBrain, "on_fit_batch_start", power_cut)
    with pytest.raises(KeyboardInterrupt):
        call(train_clap, *options, "--output_folder=part")
    assert not Path("part/clap").exists()
    monkeypatch.setattr(RecordingBrain, "on_fit_batch_start", before)
    call(train_clap, *options, "--output_folder=part")
    whole, part = (
        torch.load(Path(folder) / "clap" / "model.ckpt") for folder in (trained, "part")
    )
    assert all(torch.equal(whole[name], part[name]) for name in whole)
    assert whole.keys() == part.keys()
    tables = [pd.read_csv(f / "epochs.csv") for f in (trained, Path("part"))]
    whole, part = (t.drop(columns=["seconds", "peak_memory_mib"]) for t in tables)
    pd.testing.assert_frame_equal(whole, part, check_exact=True)


def test_both_towers_learn_from_silence(trained, call, options):
    call(train_clap, *options, "--silence_weight=0.0", "--output_folder=published")
    ours, published = (
        torch.load(folder / "clap" / "model.ckpt")
        for folder in (trained, Path("published"))
    )
    for name in ("audio_tower.linear.weight", "text_tower.head.0.weight"):
        assert not torch.allclose(ours[name], published[name], atol=1e-4), name


def test_the_audio_tower_stays_the_classifier(call, options, trained_classifier):
    trunk = trained_classifier / "classifier"
    call(train_clap, *options[:-1], f"--trunk_source={trunk}", "--output_folder=t")
    stored = torch.load(trunk / "model.ckpt")
    trained = torch.load("t/clap/model.ckpt")
    for name, value in stored.items():  # statistics of batch norm among them
        weight = trained[f"audio_tower.{name}"]
        same = weight.shape == value.shape and torch.equal(weight, value)
        assert same != name.startswith("linear."), name
    words = json.loads(Path("t/clap/clap.json").read_text())["words"]
    first = untrained().learn_words(words, seed=1234).words.weight
    learned = (first != trained["words.weight"]).any(1)
    assert learned.float().mean() > 0.5  # of the words, in six steps


def test_a_trunk_of_another_size_is_refused(refused, options, trained_classifier):
    trunk = f"--trunk_source={trained_classifier / 'classifier'}"
    wide = "--clap={audio: {channels: [12, 24, 48, 60]}}"
    message = refused(train_clap, *options[:-1], trunk, wide, "--output_folder=t")
    assert "classifier/model.ckpt" in message and "audio tower" in message
    nowhere = "--trunk_source=nowhere/at/all"
    message = refused(train_clap, *options[:-1], nowhere, "--output_folder=t")
    assert "model.ckpt" in message and "nowhere/at/all" in message


def test_several_processes_do_not_train_it(refused, options, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")  # as torchrun sets it
    message = refused(train_clap, *options, "--output_folder=no")
    assert "torchrun" in message


def with_augment(tmp_path, arguments):
    """The experiment with an augmentation."""
    path = tmp_path / "augmented.yaml"
    part = f"augment: !include:parts/augment/tiny.yaml\n{arguments}"
    path.write_text(f"parent: {CLAP}\n{part}")
    return path


@pytest.mark.parametrize("key", ["mixup", "blank"])
def test_captions_are_not_mixed_as_targets(refused, options, tmp_path, key):
    other = {"mixup": "blank", "blank": "mixup"}[key]
    path = with_augment(tmp_path, f"    {other}: null\n")
    message = refused(train_clap, path, *options[1:], "--output_folder=no")
    assert "mixup and blank" in message


def test_sounds_are_augmented_one_by_one(call, capsys, options, trained, tmp_path):
    path = with_augment(tmp_path, "    mixup: null\n    blank: null\n")
    call(train_clap, path, *options[1:], "--output_folder=augmented")
    losses = [
        pd.read_csv(f"{folder}/epochs.csv")["train_loss"]
        for folder in ("whole", "augmented")
    ]
    assert np.isfinite(losses[1]).all() and (losses[0] != losses[1]).all()
    path = with_augment(
        tmp_path,
        "    mixup: null\n    blank: null\n    waveform:\n        repeat_augment: 2\n",
    )
    with pytest.raises(SystemExit):
        call(train_clap, path, *options[1:], "--output_folder=twice")
    message = capsys.readouterr().err
    assert "got 12 from 6" in message
