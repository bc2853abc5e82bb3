"""Killed at random moments, a command that is called again ends as if nothing was.

The processes are forked from one that has imported everything, so that a moment falls
into the work and not into the start.
"""

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from speechbrain_lmac.data_prep.toy_prepare import make_toy, prepare_toy
from speechbrain_lmac.recipes.evaluate import run_evaluation
from speechbrain_lmac.recipes.explain import explain
from speechbrain_lmac.recipes.publish import publish
from speechbrain_lmac.recipes.train_lmac import train_lmac
from speechbrain_lmac.utils.command import main
from tests.torchrun import torchrun

ROOT = Path(__file__).resolve().parents[2]
RECIPES = {
    "train_lmac": train_lmac,
    "evaluate": run_evaluation,
    "explain": explain,
    "publish": publish,
}
PRELOADED = [f"speechbrain_lmac.recipes.{name}" for name in RECIPES]
PRELOADED += ["pandas", "pytest", "speechbrain_lmac.data_prep.toy_prepare"]
pytestmark = pytest.mark.faults
CLASSES = ["chirp", "click", "tone", "burst", "siren", "hum"]
EPOCHS = ("--number_of_epochs=3", "--batch_size=6")
LONGEST_S = 120


def work(name, argv, log):
    """What a process does: a recipe, with its output in a file."""
    with open(log, "ab", buffering=0) as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    torch.set_num_threads(1)
    sys.argv = [f"{name}.py", *argv]
    if name == "manifests":
        data = make_toy(f"{argv[0]}/toy", n_clips=60, seconds=1.0, progress=False)
        prepare_toy(data, f"{argv[0]}/manifest", CLASSES)
    else:
        main(RECIPES[name])


@pytest.fixture(scope="module")
def forked():
    """`forked(name, argv, log)`: a process that does it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)

    def forked(name, argv, log):
        process = context.Process(target=work, args=(name, list(argv), str(log)))
        process.start()
        return process

    return forked


class Killed:
    """A command, killed again and again until there were so many kills.

    `runs` is how often it reached its end, each time in a new folder; `check(folder)`
    compares what is there then with the undisturbed run.
    """

    def __init__(self, forked, log, seed):
        self.forked = forked
        self.log = log
        self.draw = random.Random(seed)
        self.kills, self.runs = 0, 0

    def until(self, n_kills, name, argv, folder, check):
        """Kill `name argv(folder)` so often."""
        seconds = self.end(name, argv(folder))
        check(folder)
        shutil.rmtree(folder)
        while self.kills < n_kills:
            whole, started = not folder.exists(), time.monotonic()
            process = self.forked(name, argv(folder), self.log)
            process.join(self.draw.uniform(0, seconds))
            if process.exitcode is None:
                process.kill()
                process.join()
                self.kills += 1
                continue
            if whole:  # the first run was slower: so long it takes now
                seconds = time.monotonic() - started
            self.ended(process, folder, check)
        self.end(name, argv(folder))
        self.ended(None, folder, check)

    def end(self, name, argv):
        """Let it come to its end; the seconds that it took."""
        started = time.monotonic()
        process = self.forked(name, argv, self.log)
        process.join(LONGEST_S)
        assert process.exitcode == 0, Path(self.log).read_text()[-3000:]
        return time.monotonic() - started

    def ended(self, process, folder, check):
        """It ended by itself: well, and with the undisturbed result."""
        if process is not None:
            assert process.exitcode == 0, Path(self.log).read_text()[-3000:]
        check(folder)
        self.runs += 1
        shutil.rmtree(folder)


@pytest.fixture
def killed(forked, tmp_path):
    """A `Killed`."""
    return Killed(forked, tmp_path / "log", seed=1234)


def files_of(folder):
    """Name to content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def first_or_same(known, value, same):
    """Remember the first outcome; compare the others with it."""
    if not known:
        known.append(value)
    same(known[0], value)


def training_of(folder):
    """The weights, and the table but for time and memory."""
    epochs = pd.read_csv(folder / "epochs.csv")
    return (
        torch.load(folder / "interpreter.ckpt"),
        epochs.drop(columns=["seconds", "peak_memory_mib"]),
    )


def same_training(one, other):
    """Bit by bit."""
    assert one[0].keys() == other[0].keys()
    for name, value in one[0].items():
        assert torch.equal(value, other[0][name]), name
    pd.testing.assert_frame_equal(one[1], other[1], check_exact=True)


@pytest.mark.parametrize("saving", [(), ("--ckpt_interval_steps=1",)])
def test_training(saving, killed, tiny, classifier, n_kills, tmp_path, record):
    # With the option most of its time is spent in writing checkpoints.
    known = []
    killed.until(
        n_kills,
        "train_lmac",
        lambda folder: (
            "hparams/toy_lmac.yaml",
            *tiny,
            classifier,
            *EPOCHS,
            *saving,
            f"--output_folder={folder}",
        ),
        tmp_path / "out",
        lambda folder: first_or_same(known, training_of(folder), same_training),
    )
    record(
        f"kill_training{'_saving' if saving else ''}",
        kills=killed.kills,
        runs=killed.runs,
        equal="weights bit by bit, epochs.csv but for time and memory",
    )


def test_evaluation(killed, one_method, n_kills, tmp_path, record, monkeypatch):
    known = []

    def same(one, other):
        pd.testing.assert_frame_equal(one, other, check_exact=True)

    killed.until(
        n_kills,
        "evaluate",
        lambda folder: (
            *one_method,
            "--batch_size=1",
            f"--output_folder={folder}",
        ),
        tmp_path / "out",
        lambda folder: first_or_same(
            known, pd.read_csv(folder / "per_clip.csv").drop(columns="seconds"), same
        ),
    )
    record(
        "kill_evaluation",
        kills=killed.kills,
        runs=killed.runs,
        equal="per_clip.csv but for seconds",
    )


def same_files(one, other):
    """The same names, the same bytes."""
    assert one.keys() == other.keys()
    for name, content in one.items():
        assert content == other[name], name


def sounds_and_manifests(folder):
    """All files but the one that knows when the others were written."""
    files = files_of(folder)
    assert sorted(Path(folder / "manifest").glob("*.json"))
    return {name: data for name, data in files.items() if "fingerprint" not in name}


def explained(folder):
    """Name to content; of WAV the samples, since a float one has its time in it."""
    return {
        name: soundfile.read(folder / name)[0].tobytes()
        if name.endswith(".wav")
        else content
        for name, content in files_of(folder).items()
        if name != ".explained.jsonl"
    }


def test_explaining(killed, tiny, classifier, interpreter, n_kills, tmp_path, record):
    rng = np.random.default_rng(4)
    (tmp_path / "in").mkdir()
    for number in range(20):
        wav = 0.1 * rng.standard_normal(4000)
        soundfile.write(tmp_path / "in" / f"{number:02d}.wav", wav, 16000)
    known = []

    def argv(folder):
        options = [*tiny, classifier, interpreter, f"--output_folder={folder}"]
        return ["hparams/toy_lmac.yaml", str(tmp_path / "in"), *options]

    def check(folder):
        assert len(pd.read_csv(folder / "explanations.csv")) == 20
        first_or_same(known, explained(folder), lambda one, other: one == other)

    killed.until(n_kills, "explain", argv, tmp_path / "out", check)
    record(
        "kill_explaining",
        kills=killed.kills,
        runs=killed.runs,
        equal="the table byte by byte, every sample and picture",
    )


def test_manifests(killed, n_kills, tmp_path, record):
    known = []
    killed.until(
        n_kills,
        "manifests",
        lambda folder: (str(folder),),
        tmp_path / "out",
        lambda folder: first_or_same(known, sounds_and_manifests(folder), same_files),
    )
    record(
        "kill_manifests",
        kills=killed.kills,
        runs=killed.runs,
        equal="every file byte by byte",
    )


def test_export(killed, trained_lmac, n_kills, tmp_path, record):
    known = []
    # Published from a copy, as it writes into the results.
    copy = tmp_path / "trained"
    shutil.copytree(trained_lmac, copy)
    killed.until(
        n_kills,
        "publish",
        lambda folder: (
            str(copy),
            "--repo=someone/something",
            "--dry-run",
            f"--model_folder={folder}",
        ),
        tmp_path / "model",
        lambda folder: first_or_same(known, files_of(folder), same_files),
    )
    record(
        "kill_export",
        kills=killed.kills,
        runs=killed.runs,
        equal="every file of the model byte by byte",
    )


def corpus_command(n_ranks, folder, source, options):
    """explain_corpus.py in some processes."""
    return torchrun(
        "recipes/explain_corpus.py",
        "hparams/toy_lmac.yaml",
        *options,
        f"--list={source}",
        f"--output_folder={folder}",
        "--part_size=10",
        "--clips_at_once=5",
        n_ranks=n_ranks,
    )


def start(command):
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_rank_that_dies(tiny, classifier, interpreter, tmp_path, record):
    # Once it has finished some parts; what it had not is done by the next run, of
    # three processes in place of two.
    rng = np.random.default_rng(2)
    paths = [tmp_path / f"{i:04d}.wav" for i in range(1500)]
    for path in paths:
        soundfile.write(path, 0.1 * rng.standard_normal(4000), 16000)
    source = tmp_path / "list.txt"
    source.write_text("".join(f"{path}\n" for path in paths))
    options = [*tiny, classifier, interpreter]
    whole = start(corpus_command(1, tmp_path / "whole", source, options))
    assert whole.wait(LONGEST_S) == 0

    folder = tmp_path / "part"
    run = start(corpus_command(2, folder, source, options))
    until = time.monotonic() + LONGEST_S
    while len(finished := list(folder.glob("parts-*/part-*.csv"))) < 20:
        assert run.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    assert run.wait(LONGEST_S) != 0
    assert not (folder / "corpus.csv").exists()
    before = {path: path.stat().st_mtime_ns for path in finished}

    again = start(corpus_command(3, folder, source, options))
    assert again.wait(LONGEST_S) == 0
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())
    one, two = (tmp_path / name / "corpus.csv" for name in ("whole", "part"))
    assert one.read_bytes() == two.read_bytes()
    record("kill_rank", clips=len(paths), finished=len(finished))
