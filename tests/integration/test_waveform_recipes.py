"""From sounds to explanations of classifiers of waveforms, by YAML files alone."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForAudioClassification

from speechbrain_lmac.recipes.evaluate import run_evaluation
from speechbrain_lmac.recipes.explain import explain
from speechbrain_lmac.recipes.train_classifier import train_classifier
from speechbrain_lmac.recipes.train_lmac import train_lmac

ROOT = Path(__file__).resolve().parents[2]
SHORT = ("--number_of_epochs=1", "--batch_size=6")


def test_an_ast_is_trained_explained_evaluated_and_decoded(call, toy, tiny, tmp_path):
    call(train_classifier, "hparams/toy_ast_classifier.yaml", *tiny, *SHORT)
    folder = tmp_path / "results/toy_ast_classifier/1234/classifier"
    # transformers reads what was written, with the names of the classes.
    model = AutoModelForAudioClassification.from_pretrained(folder)
    names = ["burst", "chirp", "click", "hum", "siren", "tone"]
    assert list(model.config.id2label.values()) == names
    before = (folder / "model.safetensors").read_bytes()

    call(train_lmac, "hparams/toy_ast_lmac.yaml", *tiny, *SHORT)
    assert (folder / "model.safetensors").read_bytes() == before
    epochs = pd.read_csv(tmp_path / "results/toy_ast_lmac/1234/epochs.csv")
    assert epochs.drop(columns="unfit").notna().all(axis=None)

    few = "--blocks={STFT: {SmoothGrad: {n_samples: 2}, IG: {n_steps: 2}}}"
    call(run_evaluation, "hparams/toy_ast_evaluate.yaml", *tiny, few)
    out = tmp_path / "results/toy_ast_evaluate/1234"
    summary = pd.read_csv(out / "summary.csv").set_index("method")
    controls = ["random cells", "all ones"]
    assert [*summary.index] == ["Saliency", "SmoothGrad", "IG", "L-MAC", *controls]
    assert (summary["n"] == 6).all()
    assert summary.loc["all ones", ["AI", "AD", "AG"]].tolist() == [0, 0, 0]

    clip = toy / "audio" / "5-24-A-0.wav"
    call(explain, "hparams/toy_ast_lmac.yaml", clip, *tiny, "--output_folder", "heard")
    table = pd.read_csv(tmp_path / "heard" / "explanations.csv")
    assert table["predicted"][0] in names
    assert (tmp_path / "heard" / "5-24-A-0_explanation.wav").stat().st_size > 1000


def test_lmac_for_a_classifier_of_speechbrain(call, ecapa_folder, tiny, tmp_path):
    text = (ROOT / "hparams/toy_ast_lmac.yaml").read_text(encoding="utf-8")
    text = text.replace("classifier/hf.yaml", "classifier/speechbrain.yaml")
    text = text.replace("!include:", f"!include:{ROOT}/hparams/")
    (tmp_path / "ecapa.yaml").write_text(text)
    source = f"--classifier_source={ecapa_folder}"
    call(train_lmac, "ecapa.yaml", *tiny, *SHORT, source, "--output_folder=out")
    record = json.loads((tmp_path / "out/training.json").read_text())
    assert record["test"]["loss"] == pytest.approx(record["test"]["loss"])  # no NaN
    assert (tmp_path / "out/interpreter.ckpt").is_file()


def test_a_user_model_is_trained_and_explained(call, tiny, tmp_path):
    call(train_classifier, "hparams/toy_waveform_classifier.yaml", *tiny, *SHORT)
    folder = tmp_path / "results/toy_waveform_classifier/1234/classifier"
    before = torch.load(folder / "model.ckpt")
    call(train_lmac, "hparams/toy_waveform_lmac.yaml", *tiny, *SHORT)
    after = torch.load(folder / "model.ckpt")
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert (tmp_path / "results/toy_waveform_lmac/1234/interpreter.ckpt").is_file()


def test_two_processes_in_bfloat16_leave_the_classifier_as_it_was(
    two_ranks, hf_folder, tiny, tmp_path
):
    source = hf_folder("wav2vec2")  # its dropout is 0.5
    options = [f"--classifier_source={source}", *tiny, *SHORT, "--precision=bf16"]
    two_ranks("train_lmac.py", "hparams/toy_wav2vec2_lmac.yaml", *options)
    stored = load_file(source / "model.safetensors")
    for rank in range(2):
        held = torch.load(tmp_path / f"classifier{rank}.ckpt")
        assert not any(held["training"]) and not any(held["trainable"])
        weights = {
            name.removeprefix("model.model."): value
            for name, value in held["state"].items()
        }
        assert weights.keys() == stored.keys()
        assert all(torch.equal(weights[name], stored[name]) for name in stored)
