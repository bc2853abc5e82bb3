"""What a user can get wrong: one message that helps, and nothing half written.

The fixture `refused` checks what is the same everywhere: exit status 2, no traceback,
and a folder in which nothing is new.
"""

import importlib
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from speechbrain_lmac.recipes import explain_corpus
from speechbrain_lmac.recipes.evaluate import run_evaluation
from speechbrain_lmac.recipes.explain import explain
from speechbrain_lmac.recipes.train_classifier import train_classifier
from speechbrain_lmac.recipes.train_lmac import train_lmac
from tools import tables

ROOT = Path(__file__).resolve().parents[2]
RATE = 16000
CLASSIFIER_YAML = "hparams/toy_classifier.yaml"
LMAC_YAML = "hparams/toy_lmac.yaml"
OUT = "--output_folder=out"
TRAINING_CLIP = "1-0-A-0.wav"  # fold 1, class chirp


@pytest.fixture
def data(toy, tmp_path):
    """A copy of the toy dataset, to be damaged."""
    return Path(shutil.copytree(toy, tmp_path / "toy"))


@pytest.fixture
def clip(data):
    """The file of a training clip, to be damaged."""
    return data / "audio" / TRAINING_CLIP


@pytest.fixture
def of(data, tiny):
    """The options of `tiny`, with the dataset that is to be damaged."""
    return (f"--data_folder={data}", *tiny[1:])


@pytest.fixture
def copy_of(tmp_path):
    """`copy_of(yaml, old, new)`: a user's YAML file with something replaced."""

    def copy_of(yaml, old, new):
        text = (ROOT / yaml).read_text(encoding="utf-8")
        assert old in text
        text = text.replace(old, new)
        path = tmp_path / "mine.yaml"
        parts = f"!include:{ROOT / 'hparams' / 'parts'}"
        path.write_text(text.replace("!include:parts", parts), encoding="utf-8")
        return path

    return copy_of


def noise(seconds, rate=RATE, channels=1):
    """Noise at a tenth of full scale, (samples, channels)."""
    rng = np.random.default_rng(0)
    return 0.1 * rng.standard_normal((round(seconds * rate), channels))


# --- The dataset --------------------------------------------------------------


def test_no_dataset_and_no_network(refused, monkeypatch, tmp_path):
    monkeypatch.setenv("no_proxy", "*")
    url = "http://127.0.0.1:9/ESC-50.zip"  # nobody listens
    message = refused(
        train_classifier,
        "hparams/esc10_classifier_compact.yaml",
        f"--dataset={{prepare: {{url: '{url}'}}}}",
    )
    assert f"cannot download {url}" in message
    assert f"{tmp_path / 'data/ESC-50/meta/esc50.csv'} exists" in message
    assert "--data_folder" in message


def test_folder_of_something_else(refused, tmp_path, tiny):
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "song.wav").touch()
    options = ["--data_folder=music", *tiny[1:], OUT]
    message = refused(train_classifier, CLASSIFIER_YAML, *options)
    assert "music" in message and "meta/esc50.csv" in message
    assert "--data_folder" in message


def test_table_without_a_column(refused, data, of):
    table = data / "meta" / "esc50.csv"
    pd.read_csv(table).drop(columns="category").to_csv(table, index=False)
    message = refused(train_classifier, CLASSIFIER_YAML, *of, OUT)
    assert re.search(rf"{re.escape(str(table))}.* category.* filename, fold", message)


def cut(path):
    """The first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def put_nan(path):
    """A float WAV with one sample that is no number."""
    samples = noise(1.0)
    samples[100] = np.nan
    soundfile.write(path, samples, RATE, subtype="FLOAT")


BAD_CLIPS = [
    (cut, "truncated"),
    (lambda path: path.write_text("no sound\n"), "unreadable"),
    (put_nan, "NaN"),
    (Path.unlink, "missing"),
]


@pytest.mark.parametrize("damage, kind", BAD_CLIPS)
def test_damaged_clip_in_the_dataset(refused, data, clip, of, damage, kind):
    damage(clip)
    message = refused(train_classifier, CLASSIFIER_YAML, *of, OUT)
    assert str(data) in message
    assert re.search(rf"{kind}\b.*: {TRAINING_CLIP}", message)


def test_split_without_a_clip(refused, data, of):
    table = data / "meta" / "esc50.csv"
    rows = pd.read_csv(table)
    rows[rows["fold"] != 4].to_csv(table, index=False)
    message = refused(train_classifier, CLASSIFIER_YAML, *of, OUT)
    assert re.search(r"fold.* 1, 2, 3, 5.* 4$", message, re.MULTILINE)


def test_all_kinds_of_clips_that_are_no_fault(
    call, data, of, short, classifier, interpreter, capsys, tmp_path
):
    """Silence, stereo at 96 kHz, 0.2 s and 70 s: trained on, and explained whole."""
    clips = {
        "1-0-A-0.wav": (np.zeros((RATE, 1)), RATE),
        "1-1-A-1.wav": (noise(1.2, 96000, channels=2), 96000),
        "1-2-A-2.wav": (noise(0.2), RATE),
        "1-3-A-3.wav": (noise(70), RATE),
    }
    files = [data / "audio" / name for name in clips]
    for path, (samples, rate) in zip(files, clips.values(), strict=True):
        soundfile.write(path, samples, rate)

    call(train_lmac, LMAC_YAML, *of, *short, classifier, OUT)

    epochs = pd.read_csv("out/epochs.csv")
    assert np.isfinite(epochs.filter(like="loss").to_numpy()).all()
    weights = torch.load("out/interpreter.ckpt")
    assert all(value.isfinite().all() for value in weights.values())
    assert "silent clips (1): 1-0-A-0.wav" in Path("out/log.txt").read_text()

    options = ["--output_folder", "heard", *of, classifier, interpreter]
    call(explain, LMAC_YAML, *files, *options)
    table = pd.read_csv("heard/explanations.csv")
    assert table["silent"].tolist() == [True, False, False, False]
    assert np.isfinite(table[["confidence", "confidence_rest", "mask_mean"]]).all(None)
    for path, (samples, rate) in zip(files, clips.values(), strict=True):
        for part in ("input", "explanation", "rest"):
            wav, its_rate = soundfile.read(f"heard/{path.stem}_{part}.wav")
            assert (wav.shape, its_rate) == ((len(samples),), rate)
            assert np.isfinite(wav).all()


# --- The YAML file and the command line -------------------------------------------


def test_misspelt_key(refused, copy_of, tiny):
    yaml = copy_of(CLASSIFIER_YAML, "label_smoothing:", "label_smothing:")
    message = refused(train_classifier, yaml, *tiny, OUT)
    assert "unknown key 'label_smothing'" in message
    assert "'label_smoothing'?" in message
    assert str(yaml) in message


def test_misspelt_key_on_the_command_line(refused, tiny):
    message = refused(train_classifier, CLASSIFIER_YAML, *tiny, OUT, "--batchsize=4")
    assert "batchsize" in message
    assert "'batch_size'?" in message


def test_misspelt_argument_of_a_part(refused, copy_of, tiny):
    old = "    save_file: !ref <output_folder>/train_log.txt\n"
    yaml = copy_of(CLASSIFIER_YAML, old, old + "    samples_evry: 2\n")
    message = refused(train_classifier, yaml, *tiny, OUT)
    assert "speechbrain_lmac.training.loggers.TrainLoggers" in message
    assert "samples_evry" in message


@pytest.mark.parametrize(
    "override, named",
    [
        ("--dataloader_options={num_worker: 2}", "num_worker"),
        ("--domain={n_ftt: 512}", "n_ftt"),
        ("--lr_annealing={warmup: 2}", "warmup"),
        ("--opt_class={weight_decai: 0.1}", "weight_decai"),
        ("--objective={weights: {mask_on: 1.0}}", "mask_on"),
        ("--objective={weight: {mask_in: 1.0}}", "weight"),
        ("--interpreter={frequency: {n_mel: 80}}", "n_mel"),
    ],
)
def test_misspelt_argument_on_the_command_line(
    refused, classifier, tiny, override, named
):
    message = refused(train_lmac, LMAC_YAML, *tiny, classifier, OUT, override)
    assert "structure" not in message  # the part can be reached
    assert named in message


def test_misspelt_argument_of_the_augmentation(refused, tiny):
    override = "--augment={mixup: {probabilty: 0.5}}"
    message = refused(train_classifier, CLASSIFIER_YAML, *tiny, OUT, override)
    assert "probabilty" in message


def test_unreadable_yaml(refused, copy_of, tiny):
    yaml = copy_of(CLASSIFIER_YAML, "seed: 1234", "seed: [1234")
    message = refused(train_classifier, yaml, *tiny, OUT)
    assert f"{yaml}: invalid YAML" in message
    assert "line" in message


def test_placeholder_that_nobody_filled(refused, copy_of, tiny):
    yaml = copy_of(CLASSIFIER_YAML, "lr: 0.004", "lr: !PLACEHOLDER")
    message = refused(train_classifier, yaml, *tiny, OUT)
    assert str(yaml) in message
    assert "PLACEHOLDER" in message
    assert "lr" in message


def test_part_that_is_not_there(refused, copy_of, tiny):
    yaml = copy_of(CLASSIFIER_YAML, "classifier/tiny.yaml", "classifier/teny.yaml")
    message = refused(train_classifier, yaml, *tiny, OUT)
    assert "classifier/teny.yaml" in message


def scripts():
    """The function of each recipe, and the words without which it does nothing."""
    with_yaml = {}
    for table in sorted((ROOT / "tests" / "recipes").glob("*.csv")):
        for row in pd.read_csv(table).itertuples():
            with_yaml.setdefault(Path(row.Script_file).stem, row.Hparam_file)
    for path in sorted((ROOT / "recipes").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if name := re.search(r"^    main\((\w+)\)$", text, re.M):
            module = f"speechbrain_lmac.recipes.{path.stem}"
            words = [with_yaml[path.stem]] if path.stem in with_yaml else []
            if path.stem == "explain":
                words = [LMAC_YAML, "a.wav", "--output_folder=out"]
            if path.stem == "explain_corpus":
                words = [LMAC_YAML, "--list=a.txt", "--output_folder=out"]
            yield pytest.param(module, name[1], words, id=path.stem)


def one_line(message):
    """Whether a message is the one line of an error."""
    return message.startswith("error: ") and message.count("\n") == 1


@pytest.mark.parametrize("module, name, words", scripts())
def test_options_that_no_recipe_takes(refused, module, name, words):
    recipe = getattr(importlib.import_module(module), name)
    wrong = [(), ("--quiet=1",), ("--output_folder",), ("--output",), ("-x",)]
    if words:
        wrong = [
            (*words, "--lr"),
            (*words, "--lr", "--debug"),
            (*words, "--seed", "1", "--seed=2"),
            (*words, "--device"),
            (*words, "--device=banana"),
            (*words, "--device=cuda:99"),
            (*words, "--device=cpu", "--precision=fp16"),
            (*words, "--precision=fp8"),
            (*words, "--max_grad_norm=x"),
            (*words, "--no_such_key=1"),
            (*words, "--noprogresbar"),
            ("hparams", *words[1:]),
            ("no.yaml", *words[1:]),
            *wrong,
        ]
        if "explain" not in module:
            wrong.append((*words, "stray"))
    for arguments in wrong:
        assert one_line(refused(recipe, *arguments)), arguments


@pytest.mark.parametrize("folder", ["file", "file/below", "file/below/it"])
def test_output_folder_that_is_a_file(refused, tmp_path, tiny, folder):
    (tmp_path / "file").write_text("mine\n")
    option = f"--output_folder={folder}"
    message = refused(train_classifier, CLASSIFIER_YAML, *tiny, option)
    assert one_line(message)
    assert folder in message and "file is a file" in message
    assert (tmp_path / "file").read_text() == "mine\n"
    for recipe, words in (
        (tables.write_tables, [f"--output={folder}/page.md"]),
        (explain_corpus.run, [LMAC_YAML, "--list=a.txt", option]),
        (explain, [LMAC_YAML, "a.wav", option]),
    ):
        assert "file" in refused(recipe, *words)


def test_quiet_training_with_other_parts(call, tiny, short, capfd, tmp_path):
    """What is swapped on the command line is what is trained and written down."""
    swapped = "--opt_class=!name:torch.optim.SGD {momentum: 0.9}"
    call(train_classifier, CLASSIFIER_YAML, *tiny, *short, OUT, swapped, "--quiet")
    assert capfd.readouterr() == ("", "")
    written = (tmp_path / "out" / "hyperparams.yaml").read_text()
    assert "opt_class: !name:torch.optim.SGD" in written
    assert "torch.optim.AdamW" not in written
    assert "momentum: 0.9" in written
    assert "Beginning experiment" in (tmp_path / "out" / "log.txt").read_text()


@pytest.mark.parametrize("key", ["number_of_epochs", "batch_size"])
@pytest.mark.parametrize("value", ["0", "-1", "2.5", "many"])
def test_counts_that_are_none(refused, tiny, key, value):
    options = [*tiny, OUT, f"--{key}={value}"]
    message = refused(train_classifier, CLASSIFIER_YAML, *options)
    assert re.search(rf"{key} .*whole number.* '?{value}\b", message)


def test_numbers_of_an_evaluation(refused, one_method):
    command = [run_evaluation, *one_method, OUT]
    message = refused(*command, "--batch_size=0")
    assert re.search(r"batch_size .*whole number.* 0$", message)
    message = refused(*command, "--split=tets")
    assert re.search(r"split .*train, valid, test.*'tets'", message)


def test_unknown_metric(refused, one_method):
    message = refused(run_evaluation, *one_method, OUT, "--metrics=[AI, ADD]")
    assert re.search(r"\bADD\b.*: AI, AD,", message)


def test_recipe_with_the_yaml_of_another(refused, tiny):
    message = refused(train_lmac, CLASSIFIER_YAML, *tiny, OUT)
    assert re.search(f"{CLASSIFIER_YAML} .*train_lmac.py", message)
    yaml = ROOT / CLASSIFIER_YAML
    assert f"run `python recipes/train_classifier.py {yaml}`" in message


def test_recipe_with_the_keys_of_another(refused, copy_of, tiny):
    yaml = copy_of(CLASSIFIER_YAML, "recipe: train_classifier\n", "")
    message = refused(train_lmac, yaml, *tiny, OUT)
    assert "keys ['classifier', 'interpreter', 'objective']" in message


# --- Trained models ------------------------------------------------------------


def test_classifier_of_another_class_count(refused, tiny, classifier):
    categories = "[chirp, click, tone, burst, siren, hum, rain]"
    other = f"--dataset={{clip_seconds: 1.0, n_classes: 7, categories: {categories}}}"
    options = [tiny[0], other, *tiny[2:], classifier, OUT]
    message = refused(train_lmac, LMAC_YAML, *options)
    assert re.search(r"model.ckpt .*CompactClassifier", message)
    assert re.search(r"\(6, 64\).*\(7, 64\)", message)
    assert "n_classes" in message


def test_classifier_of_other_classes(call, tiny, classifier, data, capsys):
    table = data / "meta" / "esc50.csv"
    table.write_text(table.read_text().replace("chirp", "bird"))
    categories = "[bird, click, tone, burst, siren, hum]"
    options = [f"--dataset={{clip_seconds: 1.0, categories: {categories}}}", *tiny[2:]]
    options += [f"--data_folder={data}", classifier, OUT]
    with pytest.raises(SystemExit, match="2"):
        call(train_lmac, LMAC_YAML, *options)
    message = "the classes ['bird'] of the dataset"
    assert message in capsys.readouterr().err


def test_no_classifier(refused, tiny):
    message = refused(
        train_lmac, LMAC_YAML, *tiny, OUT, "--classifier_source=no/such/folder"
    )
    assert re.search("model.ckpt .*'no/such/folder'", message)
    assert "train_classifier.py" in message
    assert "--classifier_source" in message


def test_no_interpreter(refused, toy, tiny, classifier):
    missing = [*tiny, classifier, "--interpreter_checkpoint=no/interpreter.ckpt"]
    clip = toy / "audio" / TRAINING_CLIP
    message = refused(explain, LMAC_YAML, clip, "--output_folder", "out", *missing)
    assert "interpreter at no/interpreter.ckpt" in message
    table = ["hparams/toy_table.yaml", *tiny, classifier, "--blocks=STFT"]
    message = refused(run_evaluation, *table, "--methods=L-MAC", OUT)
    assert "interpreter at results/toy_lmac/1234" in message


def test_truncated_interpreter(refused, toy, tiny, classifier, trained_lmac, tmp_path):
    checkpoint = Path(shutil.copy(trained_lmac / "interpreter.ckpt", tmp_path))
    cut(checkpoint)
    options = [*tiny, classifier, f"--interpreter_checkpoint={checkpoint}"]
    clip = toy / "audio" / TRAINING_CLIP
    message = refused(explain, LMAC_YAML, clip, "--output_folder", "out", *options)
    assert str(checkpoint) in message and "readable" in message


# --- Files to explain ---------------------------------------------------------------


@pytest.mark.parametrize(
    "damage, reason",
    [
        (Path.unlink, "missing"),
        (cut, "truncated"),
        (lambda path: path.write_text("no sound\n"), "unreadable"),
        (put_nan, "NaN"),
    ],
)
def test_only_file_cannot_be_explained(
    refused, clip, tiny, classifier, interpreter, damage, reason
):
    damage(clip)
    options = ["--output_folder", "out", *tiny, classifier, interpreter]
    message = refused(explain, LMAC_YAML, clip, *options)
    assert "1 of 1 files" in message
    assert re.search(rf"{clip}: .*{reason}\b", message)


def test_one_of_several_files_is_missing(
    run, toy, tiny, classifier, interpreter, tmp_path
):
    clips = [toy / "audio" / name for name in ("1-0-A-0.wav", "1-1-A-1.wav")]
    files = [clips[0], tmp_path / "gone.wav", clips[1]]
    script = [sys.executable, "recipes/explain.py", LMAC_YAML, *files]
    options = ["--output_folder", tmp_path / "out", *tiny, classifier, interpreter]
    done = run([*script, *options])

    assert done.returncode == 2
    assert "error: 1 of 3 files" in done.stderr
    assert f"{tmp_path / 'gone.wav'}: missing" in done.stderr
    assert "Traceback" not in done.stderr
    table = pd.read_csv(tmp_path / "out" / "explanations.csv")
    assert table["file"].tolist() == list(map(str, clips))
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"1-0-A-0_explanation.wav", "1-1-A-1_explanation.wav"} < written
    assert not [name for name in written if "gone" in name or ".part" in name]


def test_literal_command_with_damaged_data(run, data, clip, of, tmp_path):
    clip.write_text("no sound\n")
    script = [sys.executable, "recipes/train_classifier.py", CLASSIFIER_YAML]
    done = run([*script, *of, f"--output_folder={tmp_path / 'out'}"])
    assert done.returncode == 2
    assert re.search(rf"unreadable .*: {TRAINING_CLIP}", done.stderr)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
