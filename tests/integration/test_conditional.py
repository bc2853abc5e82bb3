"""From sounds to the explanation of any class, by the commands that a user types."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from speechbrain_lmac.interpreters import ConvInterpreter
from speechbrain_lmac.recipes.explain import explain
from speechbrain_lmac.recipes.train_lmac import train_lmac
from speechbrain_lmac.recipes.two_sources import run_two_sources
from tests.integration.conftest import assert_alive

ROOT = Path(__file__).resolve().parents[2]
YAML = "tests/hparams/toy_lmac_conditional.yaml"


@pytest.fixture(scope="session")
def trained(train_once, classifier, tiny, short):
    """The output folder of a training."""
    folder = train_once("conditional", train_lmac, YAML, *tiny, *short, classifier)
    assert_alive(folder)
    return folder


def test_the_terms_of_any_class_are_in_the_log(trained):
    epochs = pd.read_csv(trained / "epochs.csv")
    terms = ["supported_mask_in", "unsupported_mask_in", "supported_mask_out"]
    names = [f"{part}_{term}" for part in ("train", "valid") for term in terms]
    values = epochs[names].to_numpy()
    assert np.isfinite(values).all()
    assert (values != 0).all()  # classes that are there, and such as are not


def test_a_resumed_training_asks_what_an_undisturbed_one_does(
    call, trained, classifier, tiny, short, tmp_path
):
    options = [*tiny, "--batch_size=6", classifier, "--output_folder=out"]
    # The learning rate of an epoch depends on their number.
    schedule = "--lr_annealing={number_of_epochs: 2}"
    call(train_lmac, YAML, *options, schedule, "--number_of_epochs=1")
    call(train_lmac, YAML, *options, schedule, "--number_of_epochs=2")
    resumed = torch.load(tmp_path / "out" / "interpreter.ckpt")
    undisturbed = torch.load(trained / "interpreter.ckpt")
    for name, value in undisturbed.items():
        assert torch.equal(value, resumed[name]), name


def test_a_file_is_explained_for_the_class_asked_for(
    call, toy, classifier, trained, tiny, tmp_path
):
    clip = toy / "audio" / "5-24-A-0.wav"
    options = [
        *tiny,
        classifier,
        f"--interpreter_checkpoint={trained}/interpreter.ckpt",
    ]
    rows = {}
    for target in ("chirp", "hum"):
        folder = f"--output_folder={tmp_path / target}"
        call(explain, YAML, clip, f"--target={target}", folder, *options)
        (rows[target],) = pd.read_csv(tmp_path / target / "explanations.csv").to_dict(
            "records"
        )
        assert rows[target]["explained"] == target
    assert rows["chirp"]["predicted"] == rows["hum"]["predicted"]
    assert rows["chirp"]["mask_mean"] != rows["hum"]["mask_mean"]
    confidences = [row["confidence"] for row in rows.values()]
    assert 0 < sum(confidences) < 1


def test_an_unknown_class(refused, toy, classifier, tiny, tmp_path):
    clip = toy / "audio" / "5-24-A-0.wav"
    options = [*tiny, classifier, f"--output_folder={tmp_path / 'out'}"]
    message = refused(explain, YAML, clip, "--target=chrip", *options)
    assert "'chrip'" in message and "chirp" in message
    assert "burst" in message and "tone" in message


def test_a_target_needs_a_conditioned_interpreter(
    refused, toy, classifier, interpreter, tiny, tmp_path
):
    clip = toy / "audio" / "5-24-A-0.wav"
    options = [*tiny, classifier, interpreter, f"--output_folder={tmp_path / 'out'}"]
    message = refused(explain, "hparams/toy_lmac.yaml", clip, "--target=hum", *options)
    assert "interpreter" in message and "lmac_conditional.yaml" in message


def test_random_targets_need_noise(refused, classifier, tiny):
    message = refused(train_lmac, YAML, *tiny, classifier, "--noise=null")
    assert "noise must not be null" in message


@pytest.fixture
def two_sources(tiny, classifier, trained_lmac, trained):
    """Options of the experiment."""
    rows = {"L-MAC, any class": trained, "L-MAC": trained_lmac}
    blocks = f"--blocks={json.dumps({'STFT': rows}, default=str)}"
    return [*tiny, classifier, blocks, "--n_clips=4"]


def test_two_sources_writes_its_tables_and_goes_on(
    call, two_sources, tmp_path, monkeypatch, capsys
):
    script = "tests/hparams/toy_two_sources.yaml"
    call(run_two_sources, script, *two_sources, "--output_folder=out")
    out = tmp_path / "out"
    rows = pd.read_csv(out / "per_clip.csv")
    methods = ["Saliency", "IG", "GradCAM", "L-MAC, any class", "L-MAC", "all ones"]
    assert rows["method"].unique().tolist() == methods
    assert (rows.groupby("method").size() == 4).all()
    assert (rows["label"] != rows["other"]).all()
    by_method = rows.groupby("method")
    # Unconditioned methods have one mask for both targets.
    for method in ("L-MAC", "all ones"):
        rows_of = by_method.get_group(method)
        np.testing.assert_allclose(rows_of["nearer A"], -rows_of["nearer B"], atol=1e-9)
        assert (rows_of["both nearer"] == 0).all()
    assert capsys.readouterr().out.endswith((out / "summary.md").read_text())

    def stop(*_, **__):
        raise AssertionError("a finished row was explained again")

    monkeypatch.setattr(ConvInterpreter, "forward", stop)
    call(run_two_sources, script, *two_sources, "--output_folder=out")
    assert pd.read_csv(out / "per_clip.csv").equals(rows)


def test_two_sources_need_a_listenable_domain(
    refused, tiny, classifier, trained_lmac_mel
):
    rows = {"L-MAC, any class": None, "L-MAC": trained_lmac_mel}
    blocks = f"--blocks={json.dumps({'STFT': rows}, default=str)}"
    script = [run_two_sources, "tests/hparams/toy_two_sources.yaml"]
    message = refused(*script, *tiny, classifier, blocks)
    assert "block STFT" in message and "domain" in message


def test_without_targets_the_predicted_class_is_explained(
    call, classifier, tiny, short, tmp_path
):
    options = [*tiny, *short, classifier, "--targets=null", "--noise=null"]
    call(train_lmac, YAML, *options, "--output_folder=out")
    epochs = pd.read_csv(tmp_path / "out" / "epochs.csv")
    # The predicted class is there, and Target-In is Fid-In.
    assert (epochs["valid_unsupported_mask_in"] == 0).all()
    assert (epochs["valid_supported_mask_in"] > 0).all()
