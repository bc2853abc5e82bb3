"""A damaged checkpoint, two runs in one folder, a loss that is not finite."""

import multiprocessing
import os
import platform
import shutil
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from speechbrain_lmac.losses import lmac
from speechbrain_lmac.recipes.train_lmac import train_lmac
from speechbrain_lmac.training.base_brain import RecordingBrain
from speechbrain_lmac.training.checkpoints import WholeCheckpointer
from speechbrain_lmac.utils.files import atomic_folder
from speechbrain_lmac.utils.locks import lock_folder, release_folders
from speechbrain_lmac.utils.system import peak_memory_mib
from tests.integration.conftest import call_recipe, settings_of_its_own

EPOCHS = ("--number_of_epochs=3", "--batch_size=6")


class PowerCutError(BaseException):
    """What ends a training that runs in the process of the tests."""


@pytest.fixture
def options(tiny, classifier):
    return ("hparams/toy_lmac.yaml", *tiny, classifier, *EPOCHS)


def weights(folder):
    return torch.load(Path(folder) / "interpreter.ckpt")


def told(folder, words):
    """The lines of its log that have these words."""
    log = (Path(folder) / "log.txt").read_text(encoding="utf-8")
    return [line for line in log.splitlines() if words in line]


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture
def cut_in_epoch_3(made_once, options):
    """A training that was cut in its third epoch, with two checkpoints."""
    before = RecordingBrain.on_fit_batch_start

    def on_fit_batch_start(brain, batch, should_step):
        if brain.epoch == 3:
            raise PowerCutError
        before(brain, batch, should_step)

    def make(folder):
        with pytest.MonkeyPatch.context() as patch, settings_of_its_own():
            patch.setattr(RecordingBrain, "on_fit_batch_start", on_fit_batch_start)
            with pytest.raises(PowerCutError):
                call_recipe(train_lmac, *options, f"--output_folder={folder}")

    shutil.copytree(made_once("cut_in_epoch_3", make), "part")
    checkpoints = sorted(Path("part/save").glob("CKPT*"))
    assert len(checkpoints) == 2
    return checkpoints


@pytest.fixture
def whole(train_once, options):
    """The same training, undisturbed."""
    return train_once("whole_of_3_epochs", train_lmac, *options)


def truncate(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize("damage", [truncate, Path.unlink])
@pytest.mark.parametrize("file", ["interpreter.ckpt", "optimizer.ckpt", "CKPT.yaml"])
def test_a_damaged_newest_checkpoint(
    call, options, cut_in_epoch_3, whole, file, damage
):
    newest = max(cut_in_epoch_3, key=lambda path: path.stat().st_mtime_ns)
    damage(newest / file)
    call(train_lmac, *options, "--output_folder=part")
    warned = told("part", "damaged")
    assert len(warned) == 1 and str(newest) in warned[0] and "WARNING" in warned[0]
    assert same(weights("part"), weights(whole))


def test_what_a_kill_left_by_halves_is_removed(tmp_path):
    (tmp_path / "unfinished+CKPT+now").mkdir()
    (tmp_path / "unfinished+CKPT+now" / "model.ckpt").write_bytes(b"half")
    layer = torch.nn.Linear(1, 1)
    checkpointer = WholeCheckpointer(tmp_path, {"model": layer})
    checkpointer.open()
    assert list(tmp_path.iterdir()) == []
    for loss in (3.0, 1.0, 2.0, 2.5):
        checkpointer.save_and_keep_only({"loss": loss}, min_keys=["loss"])
    kept = {c.meta["loss"] for c in checkpointer.list_checkpoints()}
    assert kept == {1.0, 2.0, 2.5}  # the best, and the two newest
    assert checkpointer.find_checkpoint(min_key="loss").meta["loss"] == 1.0


def test_a_checkpoint_has_the_interpreter_and_its_optimizer_only(whole):
    interpreter = (whole / "interpreter.ckpt").stat().st_size
    folders = list((whole / "save").glob("CKPT*"))
    assert folders
    for folder in folders:
        names = {path.name for path in folder.iterdir()}
        assert not any("classifier" in name or "domain" in name for name in names)
        total = sum(path.stat().st_size for path in folder.iterdir())
        assert total <= 3 * interpreter + 0.5e6


def hold(folder, ready):
    lock_folder(folder, "train_lmac.py hparams/first.yaml")
    ready.set()
    time.sleep(300)


@pytest.fixture
def held(tmp_path):
    """A folder that another process has."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    folder = tmp_path / "out"
    process = context.Process(target=hold, args=(folder, ready))
    process.start()
    assert ready.wait(60)
    yield folder, process
    process.kill()
    process.join()


def test_the_second_run_in_a_folder_is_refused_and_told_of_the_first(
    call, options, held, capsys
):
    folder, process = held
    before = sorted(folder.iterdir())
    with pytest.raises(SystemExit) as end:
        call(train_lmac, *options, f"--output_folder={folder}")
    message = capsys.readouterr().err
    assert end.value.code == 2 and "Traceback" not in message
    assert f"is in use by process {process.pid}" in message
    assert "train_lmac.py hparams/first.yaml" in message
    assert sorted(folder.iterdir()) == before


def test_a_killed_run_holds_nothing(held):
    folder, process = held
    process.kill()
    process.join()
    lock_folder(folder, "second")
    release_folders()


def test_a_folder_that_was_made_for_nothing_is_removed(tmp_path):
    lock_folder(tmp_path / "a" / "b", "command")
    assert (tmp_path / "a" / "b").is_dir()
    release_folders()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def broken(monkeypatch):
    """`broken(value, steps)`: a term of the loss has this value in these steps."""

    def broken(value, steps, epoch=2):
        before = RecordingBrain.on_fit_batch_start

        def on_fit_batch_start(brain, batch, should_step):
            before(brain, batch, should_step)
            now = brain.epoch == epoch and brain.step in steps
            objective = brain.hparams.objective
            objective.terms["mask_l1"] = (
                (lambda evidence: lmac.mask_l1(evidence) * value)
                if now
                else lmac.mask_l1
            )

        monkeypatch.setattr(RecordingBrain, "on_fit_batch_start", on_fit_batch_start)

    return broken


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2e38])
def test_a_batch_that_is_not_finite_is_skipped_and_counted(
    call, options, broken, value
):
    # The mask of half its size times 2e38 is finite, 6.4 times that is not in float32.
    broken(value, steps=[2])
    call(train_lmac, *options, "--output_folder=out")
    epochs = pd.read_csv("out/epochs.csv")
    assert epochs["skipped_batches"].tolist() == [0, 1, 0]
    assert epochs.drop(columns="unfit").notna().all(None)
    assert epochs["unfit"].isna().all()
    assert all(value.isfinite().all() for value in weights("out").values())
    (warning,) = told("out", "is not finite")
    assert "epoch 2, step 2" in warning and "WARNING" in warning


def test_a_skipped_batch_leaves_no_trace_in_the_weights(
    call, options, broken, monkeypatch
):
    # Its running means neither: the step is as if the batch had not been there.
    seen = []
    before = RecordingBrain.skip

    def skip(brain, *args):
        seen.append({n: v.clone() for n, v in brain.modules.state_dict().items()})
        return before(brain, *args)

    start = RecordingBrain.on_fit_batch_start

    def on_fit_batch_start(brain, batch, should_step):
        if (brain.epoch, brain.step) == (2, 2):
            seen.append({n: v.clone() for n, v in brain.modules.state_dict().items()})
        start(brain, batch, should_step)

    monkeypatch.setattr(RecordingBrain, "on_fit_batch_start", on_fit_batch_start)
    monkeypatch.setattr(RecordingBrain, "skip", skip)
    broken(float("nan"), steps=[2])
    call(train_lmac, *options, "--output_folder=out")
    assert len(seen) == 2 and same(*seen)


def test_too_many_of_them_stop_the_training(call, options, broken, capsys):
    broken(float("nan"), steps=[1, 2, 3])
    limited = (*options, "--nonfinite_patience=1")
    with pytest.raises(SystemExit) as end:
        call(train_lmac, *limited, "--output_folder=out")
    message = capsys.readouterr().err
    assert end.value.code == 2 and "Traceback" not in message
    assert "the loss was not finite in 2 batches of epoch 2" in message
    assert "--lr" in message and "--nonfinite_patience 4" in message
    assert len(pd.read_csv("out/epochs.csv")) == 1  # what was finished is there


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e30])
def test_the_term_without_a_bound_has_a_bounded_gradient(scale):
    # -CE falls without end as the wrong class wins, but its slope is p - 1 and p.
    logits = (scale * torch.randn(64, 10)).requires_grad_()
    evidence = type("Evidence", (), {})()
    evidence.logits_out, evidence.target = logits, torch.randint(10, (64,))
    values = lmac.mask_out(evidence)
    assert values.isfinite().all()
    values.sum().backward()
    assert logits.grad.norm(dim=1).max() <= 2**0.5 + 1e-5


def test_what_a_killed_run_was_writing_is_removed(tmp_path):
    (tmp_path / "out" / "rows").mkdir(parents=True)
    for name in (".part17.summary.csv", "rows/.part17.a.csv", "rows/a.csv"):
        (tmp_path / "out" / name).write_text("half")
    lock_folder(tmp_path / "out", "command")
    left = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    release_folders()
    assert not any(name.startswith(".part") for name in left) and "a.csv" in left


def test_a_folder_that_a_killed_process_was_filling_is_removed(tmp_path):
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=time.time)
    process.start()
    process.join()
    dead, alive = (
        tmp_path / f".data.new-{platform.node()}-{number}"
        for number in (process.pid, os.getpid())
    )
    other = tmp_path / f".data.new-elsewhere-{process.pid}"
    for folder in (dead, other):
        folder.mkdir()
    with atomic_folder(tmp_path / "data") as draft:
        assert draft == alive
        (draft / "file").write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == {"data", other.name}


def small_process(answer):
    answer.put(peak_memory_mib())


def test_the_peak_memory_of_a_process_is_not_that_of_its_parent():
    held = bytearray(900 * 2**20)  # getrusage tells of it in the child
    context = multiprocessing.get_context("spawn")
    answer = context.SimpleQueue()
    process = context.Process(target=small_process, args=(answer,))
    process.start()
    peak = answer.get()
    process.join()
    assert len(held) and peak < peak_memory_mib() - 300
