"""What the tests of whole commands share: tiny sounds, and models trained on them.

A command is run in a process of its own where that is the point, else by `call`: the
same function with the same arguments in this process, which saves the 5 s of start-up.
"""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from speechbrain_lmac.classifiers.folding import fold_batch_norms
from speechbrain_lmac.data_prep.toy_prepare import make_toy
from speechbrain_lmac.experiment import main
from tests.torchrun import torchrun

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 1.0


@pytest.fixture(autouse=True)
def one_process_after_the_other(monkeypatch, tmp_path):
    """Undo what SpeechBrain sets up for a whole process; default folders go to tmp."""
    threads, hook, root = torch.get_num_threads(), sys.excepthook, logging.getLogger()
    handlers, level = root.handlers[:], root.level
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    yield
    torch.set_num_threads(threads)
    sys.excepthook = hook
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def _run(command, folder=ROOT):
    """A command line in a process of its own, with the threads of the tests."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="session")
def run():
    """`run([PYTHON, "recipes/NAME.py", ...], folder)`, folder being the root."""
    return _run


# A process writes down what it has learned after each epoch, before anything is loaded,
# and all that it holds at its end.
_TWO_RANKS = """
import os, runpy, sys
import torch
import speechbrain_lmac.training_record as training_record
from speechbrain_lmac.brains import RecordingBrain

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
def two_ranks(tmp_path):
    """`two_ranks(recipe, yaml, option, ...)` trains one interpreter in two processes:
    the output folder. Both have learned the same, which is what is kept. Beside it lies
    what each holds of the classifier at its end, `classifierRANK.ckpt`."""

    def two_ranks(recipe, *arguments):
        (tmp_path / "two_ranks.py").write_text(_TWO_RANKS)
        script = ["two_ranks.py", ROOT / "recipes" / recipe]
        done = _run(torchrun(*script, *arguments, "--output_folder=out"), tmp_path)
        assert done.returncode == 0, done.stderr
        ranks = [torch.load(tmp_path / f"rank{rank}.ckpt") for rank in range(2)]
        for epoch in zip(*ranks, strict=True):
            assert_equal_weights(*epoch)
        kept = torch.load(tmp_path / "out" / "interpreter.ckpt")
        best = pd.read_csv(tmp_path / "out" / "epochs.csv")["valid_loss"].argmin()
        assert_equal_weights(ranks[0][best], kept)
        for rank in range(2):
            assert_equal_weights(torch.load(tmp_path / f"last{rank}.ckpt"), kept)
        return tmp_path / "out"

    return two_ranks


def assert_equal_weights(some, others):
    """What is in `some` is in `others`, bit by bit."""
    for name, value in some.items():
        assert torch.equal(value, others[name]), name


@pytest.fixture
def call(monkeypatch):
    """`call(recipe_function, argument, ...)` as the script does it."""

    def call(recipe, *arguments):
        argv = [f"{recipe.__module__.rsplit('.', 1)[-1]}.py", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", argv)
        main(recipe)

    return call


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

    monkeypatch.setattr("speechbrain_lmac.experiment.fold_batch_norms", look)

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
def toy(tmp_path_factory):
    """One clip of 1 s for each of 6 classes and 5 folds."""
    folder = tmp_path_factory.mktemp("data") / "toy"
    return make_toy(folder, n_clips=30, seconds=SECONDS, progress=False)


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
def trained_classifier(tiny, short, tmp_path_factory):
    """The output folder of the literal command, from the root."""
    folder = tmp_path_factory.mktemp("trained") / "classifier"
    script = ["recipes/train_classifier.py", "hparams/toy_classifier.yaml"]
    options = [*tiny, *short, f"--output_folder={folder}"]
    done = _run([sys.executable, *script, *options])
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def classifier(trained_classifier):
    """The option that names the trained classifier."""
    return f"--classifier_source={trained_classifier / 'classifier'}"


@pytest.fixture(scope="session")
def trained_lmac(classifier, tiny, short, tmp_path_factory):
    """The output folder of the literal command, from inside recipes/."""
    folder = tmp_path_factory.mktemp("trained") / "lmac"
    script = ["train_lmac.py", "hparams/toy_lmac.yaml"]
    options = [*tiny, *short, classifier, f"--output_folder={folder}"]
    done = _run([sys.executable, *script, *options], ROOT / "recipes")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def interpreter(trained_lmac):
    """The option that names the trained interpreter."""
    return f"--interpreter_checkpoint={trained_lmac / 'interpreter.ckpt'}"


@pytest.fixture(scope="session")
def trained_lmac_mel(classifier, tiny, short, tmp_path_factory):
    """The output folder of the literal command, from the root."""
    folder = tmp_path_factory.mktemp("trained") / "lmac_mel"
    script = ["recipes/train_lmac.py", "hparams/toy_lmac_mel.yaml"]
    options = [*tiny, *short, classifier, f"--output_folder={folder}"]
    done = _run([sys.executable, *script, *options])
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def trained_nmf(tiny, short, tmp_path_factory):
    """The output folder of the literal command, from inside recipes/."""
    folder = tmp_path_factory.mktemp("trained") / "nmf"
    options = [*tiny, *short, f"--output_folder={folder}"]
    script = ["train_nmf.py", "hparams/toy_nmf.yaml"]
    done = _run([sys.executable, *script, *options], ROOT / "recipes")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def dictionary(trained_nmf):
    """The option that names the dictionary."""
    return f"--dictionary_checkpoint={trained_nmf / 'dictionary.ckpt'}"


@pytest.fixture(scope="session")
def trained_l2i(classifier, dictionary, tiny, short, tmp_path_factory):
    """The output folder of the literal command, from the root."""
    folder = tmp_path_factory.mktemp("trained") / "l2i"
    options = [*tiny, *short, classifier, dictionary, f"--output_folder={folder}"]
    script = ["recipes/train_l2i.py", "hparams/toy_l2i.yaml"]
    done = _run([sys.executable, *script, *options])
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def trained_finetune(trained_lmac, classifier, tiny, short, tmp_path_factory):
    """The output folder of the literal command, from inside recipes/."""
    folder = tmp_path_factory.mktemp("trained") / "finetune"
    script = ["train_lmac.py", "hparams/toy_lmac_finetune.yaml"]
    start = f"--pretrained_interpreter={trained_lmac / 'interpreter.ckpt'}"
    options = [*tiny, *short, classifier, start, f"--output_folder={folder}"]
    done = _run([sys.executable, *script, *options], ROOT / "recipes")
    assert done.returncode == 0, done.stderr
    return folder
