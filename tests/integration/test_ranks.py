"""Two processes judge what one does, and take up what others left."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from speechbrain_lmac.evaluation import evaluate
from speechbrain_lmac.recipes.evaluate import run_evaluation

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def options(one_method):
    return one_method


def table(folder):
    """What must be equal."""
    return pd.read_csv(Path(folder) / "per_clip.csv").drop(columns="seconds")


def test_two_processes_have_the_rows_of_one(run_ranks, call, options, tmp_path):
    options = [*options, "--batch_size=2"]
    call(run_evaluation, *options, f"--output_folder={tmp_path}/one")
    out = f"--output_folder={tmp_path}/two"
    command = [sys.executable, "recipes/evaluate.py", *options, out]
    done = run_ranks(command)
    assert done.returncode == 0, done.stderr
    one, two = table(tmp_path / "one"), table(tmp_path / "two")
    pd.testing.assert_frame_equal(two, one, check_exact=True)
    assert [p.name for p in (tmp_path / "two" / "rows").iterdir()] == ["clean STFT.csv"]


def test_the_rows_of_a_killed_process_are_reused(call, options, tmp_path, monkeypatch):
    call(run_evaluation, *options, f"--output_folder={tmp_path}/out")
    whole = table(tmp_path / "out")
    rows = tmp_path / "out" / "rows" / "clean STFT.csv"
    finished = pd.read_csv(rows)
    half = finished["id"].isin(sorted(finished["id"].unique())[:3])
    rows.unlink()
    finished[~half].to_csv(rows.with_name("clean STFT.1.csv"), index=False)
    finished[half].to_csv(rows.with_name("clean STFT.5.csv"), index=False)

    def not_again(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(evaluate, "_timed", not_again)
    call(run_evaluation, *options, f"--output_folder={tmp_path}/out")
    pd.testing.assert_frame_equal(table(tmp_path / "out"), whole)
    assert [p.name for p in rows.parent.iterdir()] == ["clean STFT.csv"]
