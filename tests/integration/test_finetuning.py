"""From a trained interpreter to a finetuned one, and to the table of ablations."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from speechbrain_lmac.recipes.ablations import run_ablations
from speechbrain_lmac.recipes.train_lmac import train_lmac

ROOT = Path(__file__).resolve().parents[2]
FINETUNE_YAML = "hparams/toy_lmac_finetune.yaml"


def test_all_terms_and_how_many_were_selected_are_logged(trained_finetune):
    epochs = pd.read_csv(trained_finetune / "epochs.csv")
    terms = "mask_in mask_out mask_l1 total_variation guidance selected loss".split()
    names = [f"{split}_{term}" for split in ("train", "valid") for term in terms]
    assert np.isfinite(epochs[names].to_numpy()).all()
    for split in ("train", "valid"):
        selected = epochs[f"{split}_selected"]
        assert selected.between(0, 1).all()
        # A clip has guidance or L1, never both: without selected clips no guidance.
        assert ((epochs[f"{split}_guidance"] > 0) == (selected > 0)).all()
        assert ((epochs[f"{split}_mask_l1"] > 0) == (selected < 1)).all()
    assert "selected" in (trained_finetune / "train_log.txt").read_text()


def test_it_starts_from_the_trained_interpreter(
    call, trained_lmac, classifier, tiny, tmp_path
):
    # A learning rate of 0 leaves the weights as they were; only the statistics of the
    # batch norm move.
    start = f"--pretrained_interpreter={trained_lmac}"  # a folder will do
    options = [*tiny, classifier, start, "--number_of_epochs=1", "--batch_size=6"]
    out = f"--output_folder={tmp_path / 'out'}"
    call(train_lmac, FINETUNE_YAML, *options, out, "--lr=0.0")
    before = torch.load(trained_lmac / "interpreter.ckpt")
    after = torch.load(tmp_path / "out" / "interpreter.ckpt")
    assert before.keys() == after.keys()
    for name in before:
        if "running" not in name and "num_batches" not in name:
            assert torch.equal(before[name], after[name]), name


def test_a_missing_start_is_named_before_anything_is_written(refused, classifier, tiny):
    options = [*tiny, classifier, "--output_folder=out"]
    start = "--pretrained_interpreter=no/interpreter.ckpt"
    message = refused(train_lmac, FINETUNE_YAML, *options, start)
    assert "no/interpreter.ckpt" in message
    assert "--pretrained_interpreter" in message


def test_missing_stems_are_named(
    call, capsys, toy, trained_lmac, classifier, tiny, tmp_path
):
    data = tmp_path / "toy"
    shutil.copytree(toy, data)
    shutil.rmtree(data / "stems" / "foreground")
    start = f"--pretrained_interpreter={trained_lmac}"
    options = [*tiny[1:], f"--data_folder={data}", classifier, start]
    with pytest.raises(SystemExit, match="2"):
        call(train_lmac, FINETUNE_YAML, *options, f"--output_folder={tmp_path / 'o'}")
    assert str(data / "stems" / "foreground") in capsys.readouterr().err


def test_ablations_are_trained_and_compared(
    call, capsys, classifier, tiny, tmp_path, warm_children
):
    (tmp_path / "one_map.yaml").write_text(
        f"# One map.\nparent: {ROOT}/hparams/toy_lmac.yaml\noutput_folder: out_one\n"
        "interpreter: {hidden_channels: [null, null, null, 64]}\n"
    )
    every = [tiny[1], classifier, "--number_of_epochs=1", "--batch_size=6"]
    yaml = tmp_path / "ablations.yaml"
    call_options = [*tiny, f"--output_folder={tmp_path / 'out'}"]
    text = f"""\
seed: 1234
__set_seed: !apply:speechbrain.utils.seed_everything [!ref <seed>]
data_folder: data/toy
output_folder: none
split: test
batch_size: 8
dataset: !include:{ROOT}/hparams/parts/dataset/toy.yaml
    data_folder: !ref <data_folder>
    sample_rate: 16000
conditions:
    clean: !include:{ROOT}/hparams/parts/condition/stems.yaml
        folder: !ref <data_folder>/stems
experiments:
    L-MAC: hparams/toy_lmac.yaml
    x 1/2:
        what: without the logarithm
        parent: hparams/toy_lmac.yaml
        output_folder: !ref out_magnitude/<number_of_epochs>
        domain: !include:{ROOT}/hparams/parts/domain/stft_magnitude.yaml
            sample_rate: !ref <sample_rate>
    one map: one_map.yaml
options: {every}
metrics: !apply:speechbrain_lmac.metrics.metrics_by_name
    - [AI, FF, MM]
"""
    yaml.write_text(text)
    call(run_ablations, yaml, *call_options)
    page = (tmp_path / "out" / "summary.md").read_text()
    names = ["L-MAC", "x 1/2", "one map"]
    for name in names:
        assert f"| **{name}** |" in page
    assert "toy_lmac: without the logarithm" in page
    assert (tmp_path / "out_magnitude" / "1" / "interpreter.ckpt").is_file()
    summary = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert summary["method"].tolist() == names
    assert {"SI-SDR", "AI", "FF", "MM"} <= set(summary.columns)
    comparison = pd.read_csv(tmp_path / "out" / "comparison.csv")
    assert set(comparison["reference"]) == {"x 1/2", "one map"}
    assert page in capsys.readouterr().out
