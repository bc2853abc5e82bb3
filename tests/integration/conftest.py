"""What the tests of whole commands share: tiny sounds, and models trained on them.

There are three ways to run a command. `call` runs the same function with the same
arguments in this process. `run` runs the command line in a process of its own, which
was forked from one that has imported libraries and nothing of ours (tests/warm.py): one
command of each recipe is run so. `_literally` starts Python, which takes 4 s.
"""

import contextlib
import json
import logging
import os
import subprocess
import sys
import types
from pathlib import Path

import pandas as pd
import pytest
import torch

from speechbrain_lmac.classifiers.batch_norm_folding import fold_batch_norms
from speechbrain_lmac.data_prep.toy_prepare import make_toy
from speechbrain_lmac.recipes.train_lmac import train_lmac
from speechbrain_lmac.utils.command import main
from tests.torchrun import torchrun
from tests.warm import rank_variables, warm

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 1.0
# Threads of torch, in this process and in those that it starts: results are compared
# bit by bit.
THREADS = os.environ.get("OMP_NUM_THREADS", "1")


@contextlib.contextmanager
def settings_of_its_own():
    """Undo what SpeechBrain sets up for a whole process."""
    threads, hook, root = torch.get_num_threads(), sys.excepthook, logging.getLogger()
    handlers, level, argv = root.handlers[:], root.level, sys.argv
    torch.set_num_threads(int(THREADS))
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        sys.excepthook, sys.argv = hook, argv
        for handler in root.handlers:
            if handler not in handlers:
                handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)


@pytest.fixture(autouse=True)
def one_process_after_the_other(monkeypatch, tmp_path):
    """Undo what SpeechBrain sets up for a whole process; default folders go to tmp."""
    monkeypatch.chdir(tmp_path)
    with settings_of_its_own():
        yield


def _environment():
    return {**os.environ, "OMP_NUM_THREADS": THREADS}


def _literally(command, folder=ROOT):
    """A command line in a process that starts, with the threads of the tests."""
    return subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )


def _run(command, folder=ROOT):
    """A command line in a warm process, with the threads of the tests."""
    return warm(command, folder, _environment())


def call_recipe(recipe, *arguments):
    """The function of a recipe as its script calls it."""
    name = recipe.__module__.rsplit(".", 1)[-1]
    sys.argv = [f"{name}.py", *map(str, arguments)]
    main(recipe)


@pytest.fixture(scope="session")
def run():
    """`run([PYTHON, "recipes/NAME.py", ...], folder)`, folder being the root."""
    return _run


@pytest.fixture(scope="session")
def run_literally():
    """The same in a process that starts."""
    return _literally


@pytest.fixture
def run_ranks():
    """`run_ranks([PYTHON, "recipes/NAME.py", ...], folder)` in two processes, which
    torchrun would start."""

    def run_ranks(command, folder=ROOT):
        command = [*command, "--distributed_backend=gloo"]
        return warm(command, folder, _environment(), rank_variables())

    return run_ranks


def _run_child(command, cwd=None, env=None, text=False, check=False, **_):
    """`subprocess.run` in a warm process."""
    done = warm(command, cwd or Path.cwd(), env or _environment())
    if not text:
        done.stdout, done.stderr = done.stdout.encode(), done.stderr.encode()
    if check:
        done.check_returncode()
    return done


CHILDREN = types.SimpleNamespace(run=_run_child, PIPE=subprocess.PIPE)


@pytest.fixture
def warm_children(monkeypatch):
    """The processes that a recipe starts are warm: in which `ablations` and
    `cross_validate` train, and `publish` loads what it made."""
    for module in (
        "reporting.cross_validation",
        "publishing.publish",
        "recipes.ablations",
    ):
        monkeypatch.setattr(f"speechbrain_lmac.{module}.subprocess", CHILDREN)


# A process writes down what it has learned after each epoch, before anything is loaded,
# and all that it holds at its end.
_TWO_RANKS = """
import os, runpy, sys
import torch
import speechbrain_lmac.training.training_record as training_record
from speechbrain_lmac.training.base_brain import RecordingBrain

write_record = training_record.write_record
on_stage_end, epochs = RecordingBrain.on_stage_end, []

def keep_weights(brain, stage, *others):
    if stage.name == "TRAIN":
        learned = brain.modules.interpreter.module.named_parameters()
        epochs.append({name: value.detach().clone() for name, value in learned})
        torch.save(epochs, f"rank{os.environ['RANK']}.ckpt")
    return on_stage_end(brain, stage, *others)

def keep_last(brain, folder, module, *others):
    torch.save(module.state_dict(), f"last{os.environ['RANK']}.ckpt")
    classifier = brain.hparams.classifier
    torch.save(
        {
            "state": classifier.state_dict(),
            "training": [m.training for m in classifier.modules()],
            "trainable": [p.requires_grad for p in classifier.parameters()],
        },
        f"classifier{os.environ['RANK']}.ckpt",
    )
    return write_record(brain, folder, module, *others)

RecordingBrain.on_stage_end = keep_weights
training_record.write_record = keep_last
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


@pytest.fixture
def two_ranks(tmp_path, run_ranks):
    """`two_ranks(recipe, yaml, option, ...)` trains one interpreter in two processes:
    the output folder. Both have learned the same in each epoch, and hold at the end
    what is kept: the epoch that training.json names, the first with the lowest loss.
    Beside it lies what each holds of the classifier at its end, `classifierRANK.ckpt`.

    With `literally` torchrun starts them."""

    def two_ranks(recipe, *arguments, literally=False):
        (tmp_path / "two_ranks.py").write_text(_TWO_RANKS)
        script = ["two_ranks.py", ROOT / "recipes" / recipe]
        arguments = [*arguments, "--output_folder=out"]
        if literally:
            done = _literally(torchrun(*script, *arguments), tmp_path)
        else:
            done = run_ranks([sys.executable, *script, *arguments], tmp_path)
        assert done.returncode == 0, done.stderr
        ranks = [torch.load(tmp_path / f"rank{rank}.ckpt") for rank in range(2)]
        for epoch in zip(*ranks, strict=True):
            assert_equal_weights(*epoch)
        kept = torch.load(tmp_path / "out" / "interpreter.ckpt")
        best = assert_best_epoch(tmp_path / "out")
        assert_equal_weights(ranks[0][best - 1], kept)
        for rank in range(2):
            assert_equal_weights(torch.load(tmp_path / f"last{rank}.ckpt"), kept)
        return tmp_path / "out"

    return two_ranks


def assert_best_epoch(folder):
    """The tested epoch of a training is the first with the lowest loss: its number."""
    epochs = pd.read_csv(folder / "epochs.csv")
    tested = json.loads((folder / "training.json").read_text("utf-8"))["epoch_tested"]
    lowest = epochs["valid_loss"] == epochs["valid_loss"].min()
    assert tested == epochs["epoch"][lowest].min()
    return tested


def assert_alive(folder):
    """No mask of a training is empty or full in the mean of the validation."""
    epochs = pd.read_csv(folder / "epochs.csv")
    sizes = epochs[
        [f"valid_{name}" for name in ("MM", "MM-heard") if f"valid_{name}" in epochs]
    ]
    assert sizes.size and sizes.stack().between(0.01, 0.99).all(), sizes


def assert_equal_weights(some, others):
    """What is in `some` is in `others`, bit by bit."""
    for name, value in some.items():
        assert torch.equal(value, others[name]), name


@pytest.fixture
def call():
    """`call(recipe_function, argument, ...)` as the script does it."""
    return call_recipe


@pytest.fixture
def refused(call, capsys, tmp_path):
    """`refused(...)` is `call` for what must fail: the message.

    It fails as a command shall: one message, exit status 2, no traceback, and the
    test's folder as it was before.
    """

    def refused(recipe, *arguments):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(SystemExit) as end:
            call(recipe, *arguments)
        message = capsys.readouterr().err
        assert end.value.code == 2
        assert "error: " in message
        assert "Traceback" not in message
        assert sorted(tmp_path.rglob("*")) == before
        return message[message.index("error: ") :]

    return refused


@pytest.fixture
def unchanged(monkeypatch):
    """`unchanged(folder)`: the training began with the classifier of that folder, and
    did not change a bit of it."""
    seen = []

    def copies(model):
        return {name: value.clone() for name, value in model.state_dict().items()}

    def look(classifier, *arguments):
        of_the_file = copies(classifier)
        fold_batch_norms(classifier, *arguments)
        seen.append((classifier, of_the_file, copies(classifier)))

    monkeypatch.setattr("speechbrain_lmac.training.experiment.fold_batch_norms", look)

    def unchanged(trained):
        ((classifier, of_the_file, as_heard),) = seen
        saved = torch.load(trained / "classifier" / "model.ckpt")
        assert all(torch.equal(of_the_file[f"model.{k}"], v) for k, v in saved.items())
        after = classifier.state_dict()
        assert after.keys() == as_heard.keys()
        for name, value in as_heard.items():  # buffers of batch norms among them
            assert torch.equal(value, after[name]), name

    return unchanged


@pytest.fixture(scope="session")
def toy(made_once):
    """One clip of 1 s for each of 6 classes and 5 folds."""

    def make(folder):
        make_toy(folder, n_clips=30, seconds=SECONDS, progress=False)

    return made_once("toy", make)


@pytest.fixture(scope="session")
def tiny(toy):
    """Options of every command on `toy`."""
    return (
        f"--data_folder={toy}",
        f"--dataset={{clip_seconds: {SECONDS}}}",
        "--noprogressbar",
        "--device=cpu",
    )


@pytest.fixture(scope="session")
def short():
    """Options of every training: 2 epochs of 3 steps."""
    return ("--number_of_epochs=2", "--batch_size=6")


@pytest.fixture(scope="session")
def train_by_script(made_once):
    """`train_by_script(name, script, yaml, option, ...)`: the output folder of the
    command line, whose words are in `NAME.txt` beside. The script is in the root
    ("recipes/...") or else in recipes/."""

    def train_by_script(name, script, *options):
        where = ROOT if script.startswith("recipes/") else ROOT / "recipes"

        def make(folder):
            command = [sys.executable, script, *options, f"--output_folder={folder}"]
            done = _run(command, where)
            assert done.returncode == 0, done.stderr
            folder.with_suffix(".txt").write_text(done.stdout, encoding="utf-8")

        return made_once(name, make)

    return train_by_script


@pytest.fixture(scope="session")
def train_once(made_once):
    """`train_once(name, recipe_function, yaml, option, ...)`: its output folder."""

    def train_once(name, recipe, *options):
        def make(folder):
            with settings_of_its_own():
                call_recipe(recipe, *options, f"--output_folder={folder}")

        return made_once(name, make)

    return train_once


@pytest.fixture(scope="session")
def trained_classifier(train_by_script, tiny, short):
    """The output folder of the command line, from the root."""
    script = ["recipes/train_classifier.py", "hparams/toy_classifier.yaml"]
    return train_by_script("classifier", *script, *tiny, *short)


@pytest.fixture(scope="session")
def classifier(trained_classifier):
    """The option that names the trained classifier."""
    return f"--classifier_source={trained_classifier / 'classifier'}"


@pytest.fixture(scope="session")
def trained_lmac(train_by_script, classifier, tiny, short):
    """The output folder of the command line, from inside recipes/."""
    script = ["train_lmac.py", "hparams/toy_lmac.yaml"]
    folder = train_by_script("lmac", *script, *tiny, *short, classifier)
    assert_alive(folder)
    return folder


@pytest.fixture(scope="session")
def interpreter(trained_lmac):
    """The option that names the trained interpreter."""
    return f"--interpreter_checkpoint={trained_lmac / 'interpreter.ckpt'}"


def blocks_of(**blocks):
    """The option of a table that names what was trained: block to row to folder."""
    blocks = {"STFT": None, "Mel": None, "TD": None, **blocks}
    return f"--blocks={json.dumps(blocks, default=str)}"


@pytest.fixture(scope="session")
def one_method(tiny, classifier, trained_lmac):
    """L-MAC and its controls on clean clips: the table, and its options."""
    chosen = ["--conditions=clean", "--methods=[L-MAC, random*, all ones]"]
    blocks = blocks_of(STFT={"L-MAC": trained_lmac})
    less = [*chosen, blocks, "--curves=null", "--sanity=null"]
    return ["hparams/toy_table.yaml", *tiny, classifier, *less]


@pytest.fixture(scope="session")
def trained_lmac_mel(train_once, classifier, tiny, short):
    """The output folder of L-MAC on the mel spectrogram."""
    yaml = "tests/hparams/toy_lmac_mel.yaml"
    folder = train_once("lmac_mel", train_lmac, yaml, *tiny, *short, classifier)
    assert_alive(folder)
    return folder


@pytest.fixture(scope="session")
def trained_nmf(train_by_script, tiny, short):
    """The output folder of the command line, from inside recipes/."""
    script = ["train_nmf.py", "tests/hparams/toy_nmf.yaml"]
    return train_by_script("nmf", *script, *tiny, *short)


@pytest.fixture(scope="session")
def dictionary(trained_nmf):
    """The option that names the dictionary."""
    return f"--dictionary_checkpoint={trained_nmf / 'dictionary.ckpt'}"


@pytest.fixture(scope="session")
def trained_l2i(train_by_script, classifier, dictionary, tiny, short):
    """The output folder of the command line, from the root."""
    script = ["recipes/train_l2i.py", "tests/hparams/toy_l2i.yaml"]
    return train_by_script("l2i", *script, *tiny, *short, classifier, dictionary)


@pytest.fixture(scope="session")
def trained_finetune(train_once, trained_lmac, classifier, tiny, short):
    """The output folder of L-MAC, finetuned."""
    yaml = "hparams/toy_lmac_finetune.yaml"
    start = f"--pretrained_interpreter={trained_lmac / 'interpreter.ckpt'}"
    folder = train_once("finetune", train_lmac, yaml, *tiny, *short, classifier, start)
    assert_alive(folder)
    return folder
