"""From sounds to LMAC-TD's explanations, by the commands that a user types."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from speechbrain_lmac.config.loading import load_experiment
from speechbrain_lmac.recipes.evaluate import run_evaluation
from speechbrain_lmac.recipes.explain import explain
from speechbrain_lmac.recipes.train_codec import train_codec
from speechbrain_lmac.recipes.train_lmac_td import train_lmac_td
from speechbrain_lmac.training.base_brain import RecordingBrain
from tests.integration.conftest import assert_alive, blocks_of

ROOT = Path(__file__).resolve().parents[2]
CODEC, TD = "hparams/toy_codec.yaml", "hparams/toy_lmac_td.yaml"


@pytest.fixture(scope="session")
def trained_codec(train_by_script, tiny, short):
    """The output folder of the command line, from inside recipes/."""
    return train_by_script("codec", "train_codec.py", CODEC, *tiny, *short)


@pytest.fixture(scope="session")
def codec(trained_codec):
    """The option that names it."""
    return f"--codec_source={trained_codec / 'codec'}"


@pytest.fixture(scope="session")
def trained_td(train_by_script, classifier, codec, tiny, short):
    """The output folder of the command line, from the root."""
    script = ["recipes/train_lmac_td.py", TD]
    folder = train_by_script("td", *script, *tiny, *short, classifier, codec)
    assert_alive(folder)
    return folder


@pytest.fixture(scope="module")
def once():
    """Options of a training of one epoch of 3 steps."""
    return ("--number_of_epochs=1", "--batch_size=6")


@pytest.fixture
def learning(tmp_path):
    """The YAML with the codec trained along: one word is another."""
    path = tmp_path / "learning.yaml"
    path.write_text(
        f"parent: {TD}\n"
        "domain:\n"
        "    codec: !apply:speechbrain_lmac.domains.codec.pretrained_codec\n"
        "        codec: !ref <codec>\n"
        "        source: !ref <codec_source>\n"
    )
    return str(path)


def test_a_codec_is_trained_and_its_reconstruction_is_written_down(trained_codec):
    record = json.loads((trained_codec / "training.json").read_text())
    assert record["test"]["si_sdr"] > 80
    assert record["parameters"] == 2 * 32 * 64
    setting = json.loads((trained_codec / "codec" / "codec.json").read_text())
    assert setting == {
        "sample_rate": 16000,
        "kernel_size": 32,
        "stride": 16,
        "n_channels": 64,
    }


def test_a_codec_that_loses_something_learns(call, tiny):
    options = ("--codec={n_channels: 32}", "--lr=0.003", "--number_of_epochs=5")
    small = [*options, "--batch_size=3", "--output_folder=small"]
    call(train_codec, CODEC, *tiny, *small)
    losses = pd.read_csv("small/epochs.csv")["valid_loss"]
    assert losses.iloc[-1] < losses.iloc[0] - 0.2  # dB


def test_td_is_trained_upon_it(trained_td, trained_codec):
    epochs = pd.read_csv(trained_td / "epochs.csv")
    terms = ["mask_in", "mask_out", "spectrogram_l1", "sum_to_input", "loss"]
    names = [f"{split}_{term}" for split in ("train", "valid") for term in terms]
    assert np.isfinite(epochs[names].to_numpy()).all()
    weighted = (
        4 * epochs["valid_mask_in"]
        + 0.2 * epochs["valid_mask_out"]
        + 0.4 * epochs["valid_spectrogram_l1"]
    )
    assert epochs["valid_loss"].tolist() == pytest.approx(weighted.tolist(), rel=1e-5)
    assert (epochs["valid_sum_to_input"] < -80).all()  # the frozen codec's
    assert epochs["valid_MM-heard"].between(0, 1).all()
    assert (trained_td / "interpreter.ckpt").is_file()
    assert not (trained_td / "codec").exists()


def test_an_interrupted_training_ends_as_the_other_and_leaves_the_codec(
    call, trained_td, trained_codec, classifier, codec, tiny, short, monkeypatch
):
    options = [TD, *tiny, *short, classifier, codec, "--output_folder=part"]
    before, kept = RecordingBrain.on_fit_batch_start, {}

    def power_cut(brain, batch, should_step):
        if (brain.epoch, brain.step) == (2, 2):
            raise KeyboardInterrupt
        before(brain, batch, should_step)

    def keep(brain, batch, should_step):
        kept["codec"] = brain.modules.domain.codec
        before(brain, batch, should_step)

    monkeypatch.setattr(RecordingBrain, "on_fit_batch_start", power_cut)
    with pytest.raises(KeyboardInterrupt):
        call(train_lmac_td, *options)
    monkeypatch.setattr(RecordingBrain, "on_fit_batch_start", keep)
    call(train_lmac_td, *options)
    whole = torch.load(trained_td / "interpreter.ckpt")
    part = torch.load("part/interpreter.ckpt")
    assert all(torch.equal(whole[name], part[name]) for name in whole)
    frozen = torch.load(trained_codec / "codec" / "codec.ckpt")
    for name, value in kept["codec"].state_dict().items():
        assert torch.equal(value, frozen[name]), name


def test_a_codec_trained_along_is_written_beside_and_asked_for(
    call, refused, learning, classifier, codec, trained_codec, tiny, once, toy
):
    options = [*tiny, *once, classifier, codec, "--lr=0.001"]
    options.append("--objective={weights: {sum_to_input: 0.01}}")
    call(train_lmac_td, learning, *options, "--output_folder=out")
    before = torch.load(trained_codec / "codec" / "codec.ckpt")
    after = torch.load("out/codec/codec.ckpt")
    assert not any(torch.equal(before[name], after[name]) for name in before)

    clip = str(toy / "audio" / "5-24-A-0.wav")
    told = [
        TD,
        clip,
        *tiny,
        classifier,
        "--interpreter_checkpoint=out/interpreter.ckpt",
    ]
    message = refused(explain, *told, codec, "--output_folder=no")
    assert "--codec_source=out/codec" in message
    call(explain, *told, "--codec_source=out/codec", "--output_folder=yes")
    assert Path("yes/explanations.csv").is_file()


@pytest.mark.parametrize(
    "rate, n_samples, channels", [(44100, 30001, 2), (16000, 80000, 1), (8000, 1601, 1)]
)
def test_files_of_any_rate_and_length_are_explained(
    call, trained_td, classifier, codec, tiny, rate, n_samples, channels
):
    samples = 0.1 * np.random.default_rng(0).standard_normal((n_samples, channels))
    soundfile.write("clip.wav", samples, rate, subtype="FLOAT")
    interpreter = f"--interpreter_checkpoint={trained_td / 'interpreter.ckpt'}"
    options = [*tiny, classifier, codec, interpreter, "--output_folder=out"]
    call(explain, TD, "clip.wav", *options)
    parts = {}
    for part in ("input", "explanation", "rest"):
        parts[part], written = soundfile.read(f"out/clip_{part}.wav")
        assert written == rate and parts[part].shape == (n_samples,)
    # The decoder is linear and the codec exact: the parts are the input.
    total = parts["explanation"] + parts["rest"]
    assert np.abs(total - parts["input"]).max() < 1e-3
    assert Path("out/clip.png").is_file()


def test_both_domains_stand_in_one_table(
    call, trained_td, trained_lmac, classifier, tiny
):
    # One training stands for all three.
    td = {f"LMAC-TD, alpha={alpha}": trained_td for alpha in ("1.00", "0.75", "0.00")}
    options = [*tiny, classifier, blocks_of(STFT={"L-MAC": trained_lmac}, TD=td)]
    options += ["--conditions=clean,noise,mixtures", "--curves=null", "--sanity=null"]
    options += ["--methods=[L-MAC, LMAC-TD*, random blocks, all ones]"]
    options += ["--together=[STFT, TD]", "--reference=LMAC-TD, alpha=0.75"]
    options += ["--metrics=[AI, AD, AG, FF, Fid-In, SPS-heard, COMP-heard, MM-heard]"]
    options += ["--n_clips=2", "--output_folder=out"]
    call(run_evaluation, "hparams/toy_table.yaml", *options)
    rows = pd.read_csv("out/per_clip.csv")
    assert set(rows["block"]) == {"STFT", "TD"}
    clean = rows[rows["condition"] == "clean"]
    ones = clean[clean["method"] == "all ones"].set_index(["block", "id"])
    assert (ones["MM-heard"] > 0.95).all() and (ones["SI-SAR"] > 80).all()
    for score in ("p", "SI-SDR", "IRM overlap-heard", "MM-heard"):
        stft, td = (ones.loc[block, score].sort_index() for block in ("STFT", "TD"))
        np.testing.assert_allclose(stft, td, rtol=2e-2, err_msg=score)
    named = clean[clean["method"].isin(["L-MAC", "LMAC-TD, alpha=0.75"])]
    heard = named[["SPS-heard", "COMP-heard", "MM-heard", "SI-SIR", "SI-SAR"]]
    assert np.isfinite(heard.to_numpy()).all()
    assert "SPS-heard" in Path("out/summary.md").read_text()


def test_what_is_saved_is_the_codec_of_the_domain(codec, classifier):
    hparams, _, _ = load_experiment([str(ROOT / TD), codec, classifier])
    assert hparams["codec"] is hparams["domain"].codec
    assert (hparams["interpreter"].upsampler.hop, hparams["codec"].stride) == (186, 16)
    assert hparams["interpreter"].upsampler.stride == hparams["codec"].stride


def test_a_missing_codec_is_told(refused, classifier, tiny, short):
    options = [*tiny, *short, classifier, "--codec_source=nowhere/at/all"]
    message = refused(train_lmac_td, TD, *options, "--output_folder=out")
    assert "codec.json" in message and "train_codec.py" in message


def test_bfloat16_runs_on_the_cpu(call, classifier, codec, tiny, once):
    options = [*tiny, *once, classifier, codec, "--precision=bf16"]
    call(train_lmac_td, TD, *options, "--output_folder=out")
    losses = pd.read_csv("out/epochs.csv")[["train_loss", "valid_loss"]]
    assert np.isfinite(losses.to_numpy()).all()


def test_two_processes_train_one_interpreter(two_ranks, classifier, codec, tiny, once):
    two_ranks("train_lmac_td.py", TD, *tiny, *once, classifier, codec)


def test_several_processes_do_not_train_a_codec(
    refused, learning, classifier, codec, tiny, once, monkeypatch
):
    monkeypatch.setenv("WORLD_SIZE", "2")  # as torchrun says it
    options = [*tiny, *once, classifier, codec, "--output_folder=no"]
    message = refused(train_lmac_td, learning, *options)
    assert "codec" in message and "process" in message and "freeze" in message
    message = refused(train_codec, CODEC, *tiny, *once, "--output_folder=no")
    assert "codec" in message and "process" in message
