"""A full disk, a folder that can only be read: told, and nothing is lost."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
UNSHARE = ["unshare", "--user", "--map-root-user", "--mount"]
EPOCHS = ("--number_of_epochs=3", "--batch_size=6")
RETRY = """
set -u
mount -t tmpfs -o size={size} none "{disk}"
{before}
"$@"; echo "first: $?" >&2
mount -o remount,rw,size=200M "{disk}"
rm -f "{disk}/filler"
"$@"; echo "second: $?" >&2
cp -r "{disk}/out" "{kept}"
"""


def can_mount():
    """Whether this machine lets a user mount a small disk in a space of its own."""
    if shutil.which("unshare") is None:
        return False
    command = [*UNSHARE, "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(
        not can_mount(), reason="needs unshare and tmpfs, to make a small disk"
    ),
]


@pytest.fixture
def on_a_small_disk(tmp_path):
    """`on_a_small_disk(size, command, before)`: twice, the second time with space."""

    def on_a_small_disk(size, command, before=""):
        disk = tmp_path / "disk"
        disk.mkdir(exist_ok=True)
        kept = tmp_path / "kept"
        before = before.format(disk=disk)
        shell = RETRY.format(size=size, disk=disk, kept=kept, before=before)
        command = [str(part).replace("DISK", f"{disk}/out") for part in command]
        done = subprocess.run(
            [*UNSHARE, "sh", "-c", shell, "sh", *command],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert "second: 0" in done.stderr, done.stderr[-3000:]
        first = done.stderr[: done.stderr.index("first: ") + 8]
        return first, kept

    return on_a_small_disk


def refused(first, reason):
    """The first run ended as a command shall that cannot go on."""
    assert "first: 2" in first, first[-3000:]
    assert "Traceback" not in first
    assert "error: cannot write" in first and reason in first


def train(tiny, classifier, folder):
    return [
        sys.executable,
        "recipes/train_lmac.py",
        "hparams/toy_lmac.yaml",
        *tiny,
        classifier,
        *EPOCHS,
        f"--output_folder={folder}",
    ]


@pytest.fixture(scope="module")
def undisturbed(tiny, classifier, tmp_path_factory):
    """The folder of the training."""
    folder = tmp_path_factory.mktemp("undisturbed") / "out"
    subprocess.run(
        train(tiny, classifier, folder),
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=True,
    )
    return folder


def same_weights(folder, other):
    one, two = (torch.load(f / "interpreter.ckpt") for f in (folder, other))
    assert all(torch.equal(value, two[name]) for name, value in one.items())


# So much that a run can begin, and no checkpoint or no second one be written.
@pytest.mark.parametrize("size", ["300k", "550k"])
def test_a_checkpoint(size, on_a_small_disk, tiny, classifier, undisturbed, record):
    first, kept = on_a_small_disk(size, train(tiny, classifier, "DISK"))
    refused(first, "the disk is full")
    same_weights(kept, undisturbed)
    record(f"disk_checkpoint_{size}", result="told; then bit-equal weights")


@pytest.mark.parametrize("before", ["", "mount -o remount,ro {disk}"])
def test_an_evaluation(before, on_a_small_disk, one_method, record):
    command = [
        sys.executable,
        "recipes/evaluate.py",
        *one_method,
        "--output_folder=DISK",
    ]
    size = "200M" if before else "24k"
    first, kept = on_a_small_disk(size, command, before)
    refused(first, "read-only" if before else "disk is full")
    assert len(pd.read_csv(kept / "per_clip.csv")) == 24
    record(
        "disk_read_only" if before else "disk_csv",
        result="told; then the whole table",
    )


def test_sounds(on_a_small_disk, toy, record):
    files = sorted((toy / "audio").glob("*.wav"))[:5]
    command = [sys.executable, "-m", "speechbrain_lmac.cli", "explain", *files]
    command += ["--output_folder=DISK", "--no_pictures", "--device=cpu"]
    first, kept = on_a_small_disk("400k", command)
    refused(first, "the disk is full")
    assert len(pd.read_csv(kept / "explanations.csv")) == 5
    assert len(list(kept.glob("*_explanation.wav"))) == 5
    assert not list(kept.glob(".part*"))
    record("disk_sounds", result="told; then all sounds")
