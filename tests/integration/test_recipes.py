"""From sounds to explanations, by the commands that a user types."""

import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from speechbrain_lmac.recipes.train_lmac import train_lmac
from tests.integration.conftest import assert_best_epoch

ROOT = Path(__file__).resolve().parents[2]

# What SpeechBrain users look for after any training, and what we add.
OF_ANY_RUN = ["log.txt", "env.log", "hyperparams.yaml"]
OF_TRAINING = [*OF_ANY_RUN, "train_log.txt", "epochs.csv", "training.json"]


def assert_files(folder, names):
    """They exist and are not empty, and no file was left half written."""
    for name in names:
        assert (folder / name).stat().st_size > 0, name
    assert not [path for path in folder.rglob("*") if ".part" in path.name]


def checkpoints(folder):
    """The names of the checkpoints that a training keeps."""
    return sorted(path.name for path in (folder / "save").glob("CKPT+*"))


def test_a_classifier_is_trained_from_the_root(trained_classifier):
    written = ["train_classifier.py", "confusion.csv", "confusion.png"]
    written += ["classifier/model.ckpt", "classifier/label_encoder.txt"]
    assert_files(trained_classifier, [*OF_TRAINING, *written])
    assert 1 <= len(checkpoints(trained_classifier)) <= 2  # the best and the newest

    record = json.loads((trained_classifier / "training.json").read_text())
    assert record["epochs"] == 2
    assert record["epoch_tested"] in (1, 2)
    assert "train_classifier.py hparams/toy_classifier.yaml" in record["command"]
    # The confusion matrix has the 6 test clips, and agrees with the accuracy.
    confusion = pd.read_csv(trained_classifier / "confusion.csv", index_col=0)
    counts = confusion.to_numpy()
    assert counts.shape == (6, 6)
    assert counts.sum() == 6
    assert np.trace(counts) / 6 == pytest.approx(record["test"]["accuracy"])


def test_lmac_is_trained_from_inside_recipes(trained_lmac):
    written = ["train_lmac.py", "interpreter.ckpt"]
    assert_files(trained_lmac, [*OF_TRAINING, *written])
    assert 1 <= len(checkpoints(trained_lmac)) <= 2

    epochs = pd.read_csv(trained_lmac / "epochs.csv")
    assert epochs["epoch"].tolist() == [1, 2]
    terms = ["mask_in", "mask_out", "mask_l1", "total_variation", "loss"]
    names = [f"{split}_{term}" for split in ("train", "valid") for term in terms]
    assert np.isfinite(epochs[[*names, "valid_Fid-In"]].to_numpy()).all()
    # What is kept is the best epoch by the validation loss, and that was tested.
    record = json.loads((trained_lmac / "training.json").read_text())
    assert assert_best_epoch(trained_lmac) == 2
    weights = torch.load(trained_lmac / "interpreter.ckpt")
    assert 0 < record["parameters"] <= sum(map(torch.numel, weights.values()))


def test_lmac_from_the_root_leaves_the_classifier_alone_and_debug_keeps_nothing(
    run, trained_classifier, classifier, tiny, tmp_path
):
    files = [path for path in trained_classifier.rglob("*") if path.is_file()]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    script = ["recipes/train_lmac.py", "hparams/toy_lmac.yaml"]
    options = [*tiny, classifier, f"--output_folder={tmp_path / 'out'}", "--debug"]
    done = run([sys.executable, *script, *options])

    assert done.returncode == 0, done.stderr
    assert_files(tmp_path / "out", [*OF_ANY_RUN, "train_lmac.py"])
    assert checkpoints(tmp_path / "out") == []
    for name in ("epochs.csv", "training.json", "interpreter.ckpt"):
        assert not (tmp_path / "out" / name).exists(), name
    after = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
    assert after == before


def test_training_lmac_does_not_change_the_classifier_in_memory(
    call, trained_classifier, classifier, tiny, short, tmp_path, unchanged
):
    options = [*tiny, *short, classifier, f"--output_folder={tmp_path / 'out'}"]
    call(train_lmac, "hparams/toy_lmac.yaml", *options)

    unchanged(trained_classifier)


def test_evaluation_writes_its_tables(run, one_method, tmp_path):
    script = ["evaluate.py", *one_method, f"--output_folder={tmp_path / 'out'}"]
    done = run([sys.executable, *script], ROOT / "recipes")

    assert done.returncode == 0, done.stderr
    tables = ["per_clip.csv", "summary.csv", "summary.md", "evaluate.py"]
    assert_files(tmp_path / "out", [*OF_ANY_RUN, *tables])
    assert not (tmp_path / "out" / "save").exists()
    methods = ["L-MAC", "random cells", "random blocks", "all ones"]
    summary = pd.read_csv(tmp_path / "out" / "summary.csv").set_index("method")
    assert summary.index.tolist() == methods
    assert (summary["n"] == 6).all()
    # The all-ones mask changes nothing; the controls have the size of the explanation.
    assert summary.loc["all ones", ["AI", "AD", "AG"]].tolist() == [0, 0, 0]
    for control in ("random cells", "random blocks"):
        assert summary.loc[control, "MM"] == pytest.approx(
            summary.loc["L-MAC", "MM"], abs=0.01
        )
    assert "foreground share" in summary
    per_clip = pd.read_csv(tmp_path / "out" / "per_clip.csv")
    assert len(per_clip) == 4 * 6
    assert done.stdout.endswith((tmp_path / "out" / "summary.md").read_text())


def test_files_are_explained_from_the_root(
    run, toy, classifier, interpreter, tiny, tmp_path
):
    clips = [toy / "audio" / name for name in ("5-24-A-0.wav", "5-29-A-5.wav")]
    script = ["recipes/explain.py", "hparams/toy_lmac.yaml", *clips]
    options = ["--output_folder", tmp_path / "out", *tiny, classifier, interpreter]
    done = run([sys.executable, *script, *options])

    assert done.returncode == 0, done.stderr
    parts = ("_input.wav", "_explanation.wav", "_rest.wav", ".png")
    names = [f"{clip.stem}{part}" for clip in clips for part in parts]
    assert_files(tmp_path / "out", [*names, "explanations.csv"])
    # And the table, and what is known of the files in it.
    assert len(list((tmp_path / "out").iterdir())) == len(names) + 2
    table = pd.read_csv(tmp_path / "out" / "explanations.csv")
    assert table["file"].tolist() == list(map(str, clips))
    assert table[["confidence", "mask_mean"]].stack().between(0, 1).all()
    given, _ = soundfile.read(clips[0])
    heard, rate = soundfile.read(tmp_path / "out" / "5-24-A-0_input.wav")
    assert rate == 16000
    np.testing.assert_allclose(heard, given, atol=1e-6)
    assert str(tmp_path / "out") in done.stdout


def test_bfloat16_runs_on_the_cpu(call, classifier, tiny, short, tmp_path):
    options = [*tiny, *short, classifier, "--precision=bf16"]
    call(train_lmac, "hparams/toy_lmac.yaml", *options, "--output_folder=out")
    epochs = pd.read_csv(tmp_path / "out" / "epochs.csv")
    assert np.isfinite(epochs[["train_loss", "valid_loss"]].to_numpy()).all()
    weights = torch.load(tmp_path / "out" / "interpreter.ckpt")
    assert torch.bfloat16 not in {value.dtype for value in weights.values()}


def test_tensorboard_gets_the_curves(call, classifier, tiny, short, tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    options = [*tiny, *short, classifier, "--train_logger={tensorboard: True}"]
    call(train_lmac, "hparams/toy_lmac.yaml", *options, "--output_folder=out")

    events = accumulator.EventAccumulator(str(tmp_path / "out" / "tb_logs"))
    events.Reload()
    curve = [event.value for event in events.Scalars("loss/valid")]
    epochs = pd.read_csv(tmp_path / "out" / "epochs.csv")
    assert curve == pytest.approx(epochs["valid_loss"].tolist())


def test_two_processes_train_one_interpreter(two_ranks, classifier, tiny, short):
    options = [*tiny, *short, classifier]
    out = two_ranks("train_lmac.py", "hparams/toy_lmac.yaml", *options, literally=True)
    assert_files(out, [*OF_TRAINING, "interpreter.ckpt"])
    epochs = pd.read_csv(out / "epochs.csv")
    assert epochs["epoch"].tolist() == [1, 2]
    assert len(re.findall("epoch: ", (out / "train_log.txt").read_text())) == 2


def test_a_yaml_that_is_not_there_gets_a_list_of_those_that_are(run, tmp_path):
    script = [sys.executable, ROOT / "recipes" / "train_lmac.py"]
    done = run([*script, "hparams/toy_lmax.yaml"], tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "hparams/toy_lmax.yaml" in done.stderr
    assert "toy_lmac.yaml" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_second_call_adds_no_epoch(call, classifier, tiny, short, tmp_path):
    options = [*tiny, *short, classifier, "--output_folder=out"]
    call(train_lmac, "hparams/toy_lmac.yaml", *options)
    weights = (tmp_path / "out" / "interpreter.ckpt").read_bytes()
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    call(train_lmac, "hparams/toy_lmac.yaml", *options)
    assert (tmp_path / "out" / "interpreter.ckpt").read_bytes() == weights
    again = json.loads((tmp_path / "out" / "training.json").read_text())
    assert again["test"] == record["test"]
    assert math.isfinite(again["seconds"])
    assert again["epochs"] == 2
