"""A folder holds one training: what goes on in it, what is refused, what is kept."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import soundfile
import torch

from speechbrain_lmac.config.loading import load_experiment
from speechbrain_lmac.config.run_options import RunOptions
from speechbrain_lmac.interpreters import TrainedInterpreter
from speechbrain_lmac.recipes.explain import explain
from speechbrain_lmac.recipes.publish import publish
from speechbrain_lmac.recipes.train_classifier import train_classifier
from speechbrain_lmac.recipes.train_lmac import LMAC, train_lmac
from speechbrain_lmac.training.base_brain import RecordingBrain
from speechbrain_lmac.training.training_settings import (
    SETTINGS_FILE,
    differences,
    settings_of,
)
from speechbrain_lmac.utils.hashing import fingerprint_of

YAML = "hparams/toy_lmac.yaml"
OUT = "--output_folder=out"
# A weight at which no mask survives: 10,000 times 0.5 is the loss of half a mask.
DEADLY = ("--objective={weights: {mask_l1: 10000.0}}", "--lr=0.5")


@pytest.fixture
def options(tiny, short, classifier):
    """Options of the training that lies in `out`."""
    return [*tiny, *short, classifier, OUT]


def changed(options, *changes):
    """Options with others in place of those of the same name."""
    names = {change.split("=")[0] for change in changes}
    return [o for o in options if o.split("=")[0] not in names] + list(changes)


@pytest.fixture
def out(trained_lmac, tmp_path):
    """A copy of a finished training."""
    return Path(shutil.copytree(trained_lmac, tmp_path / "out"))


def content(folder):
    """Path to bytes of everything in a folder, but what any run leaves."""
    return {
        path: path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (".lock", ".running.json")
    }


def record_of(folder):
    return json.loads((Path(folder) / "training.json").read_text())


# --- Other settings in a folder with a training ---------------------------------------


@pytest.mark.parametrize(
    "changes, lines",
    [
        (["--lr=0.01"], ["lr: 0.004 in the folder, now 0.01"]),
        (
            ["--objective={weights: {mask_l1: 1.0}}"],
            ["objective.weights.mask_l1: 6.4 in the folder, now 1.0"],
        ),
        (["--batch_size=3"], ["batch_size: 6 in the folder, now 3"]),
        (["--precision=bf16"], ["--precision: unset in the folder, now bf16"]),
        (["--max_grad_norm=1.0"], ["--max_grad_norm: unset in the folder, now 1.0"]),
        (
            ["--number_of_epochs=1"],
            ["number_of_epochs: 2 in the folder, now 1 (it can only be raised)"],
        ),
        (
            ["--dataset={clip_seconds: 0.5}"],
            ["dataset.clip_seconds: 1.0 in the folder, now 0.5"],
        ),
    ],
)
def test_other_options_are_refused(refused, options, out, changes, lines):
    before = content(out)
    message = refused(train_lmac, YAML, *changed(options, *changes))
    assert message.startswith("error: out ")
    for line in lines:
        assert f"\n  {line}\n" in message
    assert "--output_folder" in message and "--start_over" in message
    assert content(out) == before


def test_another_classifier_is_refused(refused, options, out, trained_classifier):
    other = shutil.copytree(trained_classifier / "classifier", "other")
    state = torch.load(f"{other}/model.ckpt")
    state["linear.bias"][0] += 1e-3
    torch.save(state, f"{other}/model.ckpt")
    before = content(out)
    source = f"--classifier_source={other}"
    message = refused(train_lmac, YAML, *changed(options, source))
    assert "of the classifier: " in message
    assert content(out) == before


def test_another_table_of_the_data_is_refused(refused, options, out, toy, tmp_path):
    data = Path(shutil.copytree(toy, tmp_path / "toy"))
    table = data / "meta" / "esc50.csv"
    rows = pd.read_csv(table)
    rows[rows["filename"] != "1-0-A-0.wav"].to_csv(table, index=False)
    before = content(out)
    options = changed(options, f"--data_folder={data}")
    message = refused(train_lmac, YAML, *options)
    assert "train table of" in message
    assert "valid table" not in message
    assert content(out) == before


def test_what_changes_no_weight_may_differ(
    call, options, out, toy, trained_classifier, tmp_path
):
    before = record_of(out)
    data = shutil.copytree(toy, tmp_path / "elsewhere")
    moved = shutil.copytree(trained_classifier, tmp_path / "moved")
    options = changed(
        options,
        f"--data_folder={data}",
        f"--classifier_source={moved / 'classifier'}",
        "--nonfinite_patience=5",
        "--train_logger={samples_every: 7, tensorboard: True}",
        "--dataset={clip_seconds: 1.0, cache_folder: null}",
        "--num_workers=1",
        "--ckpt_interval_steps=1",
    )
    call(train_lmac, YAML, *options)
    after = record_of(out)
    assert after["weights"] == before["weights"] and after["test"] == before["test"]
    settings = json.loads((out / SETTINGS_FILE).read_text())
    assert str(tmp_path) not in json.dumps(settings)


def test_from_the_resolved_file_it_is_the_same_training(call, options, out):
    call(train_lmac, out / "hyperparams.yaml", *options)
    assert record_of(out)["epochs"] == 2


def test_start_over_moves_the_old_training_aside(call, options, out, tmp_path):
    before = content(out)
    call(train_lmac, YAML, *options, "--lr=0.01", "--start_over")
    (aside,) = tmp_path.glob("out_before_*")
    moved = {out / path.relative_to(aside): b for path, b in content(aside).items()}
    assert moved == before
    assert record_of(out)["weights"] != record_of(aside)["weights"]
    assert "--lr=0.01" in record_of(out)["command"]
    assert len(pd.read_csv(out / "epochs.csv")) == 2
    assert str(aside) in (out / "log.txt").read_text()


@pytest.mark.parametrize(
    "changes, message",
    [
        (["--data_folder=music"], "error: music"),
        (["--test_only"], "--start_over and --test_only"),
        (["--debug"], "--start_over and --debug"),
    ],
)
def test_start_over_with_an_error_moves_nothing(
    refused, options, out, changes, message
):
    Path("music").mkdir()
    Path("music/song.wav").touch()
    before = content(out)
    options = changed(options, *changes)
    assert message in refused(train_lmac, YAML, *options, "--start_over")
    assert content(out) == before


def test_start_over_in_a_new_folder_is_a_training(call, options, tmp_path):
    call(train_lmac, YAML, *options, "--start_over")
    assert not list(tmp_path.glob("out_*"))


def test_a_folder_of_an_earlier_version_is_adopted(call, options, out):
    (out / SETTINGS_FILE).unlink()
    call(train_lmac, YAML, *options)
    log = (out / "log.txt").read_text().splitlines()
    warnings = [line for line in log if f"without {SETTINGS_FILE}" in line]
    assert len(warnings) == 1 and "out " in warnings[0]
    assert (out / SETTINGS_FILE).is_file()


def test_only_a_training_can_be_tested(refused, options):
    message = refused(train_lmac, YAML, *options, "--test_only")
    assert "--test_only: out " in message
    message = refused(train_lmac, YAML, *options, "--debug", "--debug_persistently")
    assert "--debug_persistently " in message and "--optimizer_step_limit" in message


def test_a_path_that_no_hash_covers_is_a_setting():
    yaml = "model: !new:a.Net {{weights: !new:b.Net {{checkpoint: {}}}}}\n"
    yaml += "classifier_source: {}\nclassifier: !new:c.Net {{source: {}}}"
    one, other = (
        settings_of(yaml.format(n, f"{n}c", f"{n}c"), RunOptions()) for n in "ab"
    )
    (line,) = differences(one, other)
    assert line == "model.weights.checkpoint: a in the folder, now b"


def test_a_run_option_in_the_yaml_counts_as_on_the_command_line():
    yaml = "device: cpu\nmax_grad_norm: 1.0\nlr: 0.1"
    given = RunOptions(device="cpu", max_grad_norm=1.0)
    assert settings_of(yaml, given) == settings_of("lr: 0.1", given)
    assert settings_of(yaml, given) == {"lr": 0.1, "--max_grad_norm": 1.0}


def test_a_damaged_settings_file_is_told(refused, options, out):
    (out / SETTINGS_FILE).write_text("{")
    message = refused(train_lmac, YAML, *options)
    assert "cannot read out/settings.json" in message


def test_the_record_describes_the_weights_beside_it(refused, out, tmp_path):
    state = torch.load(out / "interpreter.ckpt")
    name = next(iter(state))
    state[name] = state[name] + 1
    torch.save(state, out / "interpreter.ckpt")
    message = refused(publish, out, "--repo=me/lmac", "--dry-run")
    assert re.search(r"training\.json .*weights", message)


# --- An interpreter and its classifier --------------------------------------------


def test_the_path_of_the_weights_is_no_setting_of_an_interpreter(trained_lmac):
    hparams = load_experiment([str(trained_lmac / "hyperparams.yaml")])[0]
    file = trained_lmac / "interpreter.ckpt"
    paths = [file, file.parent / ".." / file.parent.name / file.name]
    one, other = (TrainedInterpreter(hparams["interpreter"], p) for p in paths)
    assert fingerprint_of(one) == fingerprint_of(other)


def other_classifier(trained_classifier):
    """A folder with a classifier of other weights."""
    other = shutil.copytree(trained_classifier / "classifier", "another")
    state = torch.load(f"{other}/model.ckpt")
    state["linear.weight"] *= 1.01
    torch.save(state, f"{other}/model.ckpt")
    return other


def test_an_interpreter_refuses_another_classifier(
    refused, call, toy, tiny, short, classifier, interpreter, trained_classifier
):
    clip = toy / "audio" / "5-24-A-0.wav"
    other = f"--classifier_source={other_classifier(trained_classifier)}"
    pattern = r"interpreter\.ckpt .*classifier"
    message = refused(
        explain, YAML, clip, "--output_folder", "heard", *tiny, other, interpreter
    )
    assert re.search(pattern, message)
    start = interpreter.replace("interpreter_checkpoint", "pretrained_interpreter")
    finetune = ["hparams/toy_lmac_finetune.yaml", *tiny, *short, other, start, OUT]
    assert re.search(pattern, refused(train_lmac, *finetune))


# --- Trainings that die -------------------------------------------------------------


def test_a_dead_mask_is_told_and_not_published(call, refused, options):
    call(train_lmac, YAML, *options, *DEADLY)
    log = Path("out/log.txt").read_text().splitlines()
    warnings = [line for line in log if "masks: all 0" in line]
    assert len(warnings) == 3  # each epoch, and the end
    record = record_of("out")
    assert record["unfit"] == "dead masks: all 0"
    assert record["unfit_epochs"] == [1, 2]
    assert set(pd.read_csv("out/epochs.csv")["unfit"]) == {"dead masks: all 0"}
    message = refused(publish, "out", "--repo=me/lmac", "--dry-run")
    assert "masks: all 0" in message and "out: " in message


def test_a_living_epoch_is_the_best_though_a_dead_one_has_a_lower_loss(
    call, options, monkeypatch
):
    validations = []
    objectives = LMAC.compute_objectives

    def half_dead(brain, evidence, batch, stage):
        loss = objectives(brain, evidence, batch, stage)
        if stage.name == "VALID" and brain.epoch == 2:
            brain.masks.__init__()
            brain.masks.update(torch.zeros_like(evidence.mask))
            brain.scores["loss"][-1] -= 100.0
            validations.append(brain.epoch)
        return loss

    monkeypatch.setattr(LMAC, "compute_objectives", half_dead)
    call(train_lmac, YAML, *options)
    epochs = pd.read_csv("out/epochs.csv")
    assert validations and epochs["valid_loss"].argmin() == 1
    record = record_of("out")
    assert record["epoch_tested"] == 1 and record["unfit"] is None
    assert record["unfit_epochs"] == [2]


def not_finite(monkeypatch, name, clips=slice(None)):
    """Losses of a stage become NaN."""
    record = RecordingBrain.record

    def broken(brain, term, values):
        if term == "loss" and brain.stage == name:
            values = values.clone()
            values[clips] = float("nan")
        record(brain, term, values)

    start = RecordingBrain.on_stage_start

    def on_stage_start(brain, stage, epoch=None):
        brain.stage = stage.name
        start(brain, stage, epoch)

    monkeypatch.setattr(RecordingBrain, "record", broken)
    monkeypatch.setattr(RecordingBrain, "on_stage_start", on_stage_start)


@pytest.mark.parametrize("recipe", ["lmac", "classifier"])
def test_a_validation_of_nan_ends_at_the_first_epoch(
    call, options, monkeypatch, capsys, recipe
):
    not_finite(monkeypatch, "VALID")
    recipes = {"lmac": train_lmac, "classifier": train_classifier}
    given = [o for o in options if recipe == "lmac" or "classifier_source" not in o]
    with pytest.raises(SystemExit, match="2"):
        call(recipes[recipe], f"hparams/toy_{recipe}.yaml", *given)
    message = capsys.readouterr().err
    message = message[message.index("error: ") :]
    assert message.count("\n") == 1
    assert re.search("validation loss .*epoch 1 .*6 clips", message)
    assert not Path("out/training.json").exists()


def test_some_clips_of_nan_make_an_epoch_unfit(call, options, monkeypatch):
    not_finite(monkeypatch, "VALID", clips=slice(0, 2))
    call(train_lmac, YAML, *options)
    assert record_of("out")["unfit"] == "validation loss not finite in 2 clips"


def test_nothing_learned_in_an_epoch_is_one_line(call, options, monkeypatch, capsys):
    def broken(brain, loss):
        return check(brain, loss * float("nan"))

    check = RecordingBrain.check_loss_isfinite
    monkeypatch.setattr(RecordingBrain, "check_loss_isfinite", broken)
    with pytest.raises(SystemExit, match="2"):
        call(train_lmac, YAML, *options)  # 3 steps, 3 may be skipped
    message = capsys.readouterr().err
    message = message[message.index("error: ") :]
    assert message.count("\n") == 1
    assert re.search("epoch 1 .* 3 batches", message)


def test_a_classifier_without_a_gradient_is_refused(call, options, capsys, monkeypatch):
    from speechbrain_lmac.classifiers.frozen import Frozen

    forward = Frozen.forward

    def without(self, *args):
        with torch.no_grad():
            return forward(self, *args)

    monkeypatch.setattr(Frozen, "forward", without)
    with pytest.raises(SystemExit, match="2"):
        call(train_lmac, YAML, *options)
    message = capsys.readouterr().err
    assert re.search("gradient .*CompactClassifier", message)
    assert not Path("out/interpreter.ckpt").exists()


def test_silence_in_the_data_is_no_such_fault(call, options, toy, tmp_path):
    data = Path(shutil.copytree(toy, tmp_path / "toy"))
    for path in data.glob("audio/4-*.wav"):  # the validation
        wav, rate = soundfile.read(path)
        soundfile.write(path, 0 * wav, rate)
    call(train_lmac, YAML, *changed(options, f"--data_folder={data}"))
    assert record_of("out")["epochs"] == 2
