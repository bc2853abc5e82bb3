"""What is run for each fold, and what its scores become over all of them."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from speechbrain_lmac.reporting.cross_validation import (
    fold_runs,
    over_folds,
    read_scores,
    run_folds,
    write_folds,
)
from speechbrain_lmac.utils.errors import InputError

EXPERIMENT = """\
seed: 7
fold: 10
output_folder: !ref results/mine/<seed>/fold<fold>
split: test
"""


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(EXPERIMENT)
    return "mine.yaml"


def test_each_fold_has_its_folder_and_overrides_count(experiment):
    folders, seed = fold_runs(experiment, [], [1, 3])
    assert folders == {
        1: Path("results/mine/7/fold1"),
        3: Path("results/mine/7/fold3"),
    }
    assert seed == 7
    options = ["--seed=8", "--output_folder", "!ref a/<seed>/<fold>", "--noprogressbar"]
    folders, seed = fold_runs(experiment, options, [2])
    assert (folders, seed) == ({2: Path("a/8/2")}, 8)


@pytest.mark.parametrize("folds", [[1], [10]])
def test_us8k_is_an_experiment_with_folds(folds):
    for name in ("classifier_compact", "lmac", "table"):
        folders, _ = fold_runs(f"hparams/us8k_{name}.yaml", [], folds)
        assert folders == {folds[0]: Path(f"results/us8k_{name}/1234/fold{folds[0]}")}


@pytest.mark.parametrize(
    "options, folds, message",
    [
        (["--fold=3"], [1], "--fold .*--folds"),
        (["--fold", "3"], [1], "--fold .*--folds"),
        ([], [1, 1], r"--folds .*\[1, 1\]"),
        (["--output_folder=here"], [1, 2], "here.*<fold>"),
        (["--output_folder=!ref <fold>/x"], [1, 2], "got 1, 2"),
    ],
)
def test_folds_that_cannot_be_collected_are_refused(
    experiment, options, folds, message
):
    with pytest.raises(InputError, match=message):
        fold_runs(experiment, options, folds)


def test_an_experiment_without_folds_is_refused():
    with pytest.raises(InputError, match="toy_lmac.yaml.*'fold'"):
        fold_runs("hparams/toy_lmac.yaml", [], [1])


def test_an_experiment_that_is_broken_is_one_message(experiment):
    Path(experiment).write_text("seed: 1\nfold: 1\n")
    with pytest.raises(InputError, match=r"keys \['output_folder'\]"):
        fold_runs(experiment, [], [1])
    Path(experiment).write_text("fold: 1\nseed: [\n")
    with pytest.raises(InputError, match="mine.yaml.*invalid YAML"):
        fold_runs(experiment, [], [1])


def test_a_fold_that_fails_stops_and_keeps_what_is_done(tmp_path, capfd):
    script = tmp_path / "recipe.py"
    script.write_text(
        "import sys, pathlib\n"
        "fold = sys.argv[-1]\n"
        "pathlib.Path(sys.argv[2], fold).touch()\n"
        "sys.exit('broken' if fold == '--fold=2' else 0)\n"
    )
    with pytest.raises(InputError, match="fold 2 .*exit status 1"):
        run_folds(script, "a.yaml", [str(tmp_path)], [1, 2, 3])
    assert sorted(p.name for p in tmp_path.glob("--*")) == ["--fold=1", "--fold=2"]
    assert "broken" in capfd.readouterr().err


def write_training(folder, **test):
    folder.mkdir(parents=True)
    (folder / "training.json").write_text(json.dumps({"epochs": 1, "test": test}))


def test_mean_and_deviation_are_numpys_and_missing_values_are_counted(tmp_path):
    values = {1: 0.5, 2: 0.25, 4: 0.9}
    for fold, value in values.items():
        other = {4: math.nan}.get(fold, 2.0)
        write_training(tmp_path / f"fold{fold}", loss=value, SPS=other)
    scores = {fold: read_scores(tmp_path / f"fold{fold}") for fold in values}
    table = over_folds(scores).set_index("score")
    assert list(table.index) == ["loss", "SPS"]
    assert table.loc["loss", "mean"] == pytest.approx(np.mean(list(values.values())))
    expected = np.std(list(values.values()), ddof=1)
    assert table.loc["loss", "std"] == pytest.approx(expected)
    assert table.loc["loss", ["fold 1", "fold 2", "fold 4"]].tolist() == [
        0.5,
        0.25,
        0.9,
    ]
    assert table["n"].tolist() == [3, 2]
    assert table.loc["SPS", ["mean", "std"]].tolist() == [2.0, 0.0]
    alone = over_folds({1: scores[1]})
    assert alone["std"].isna().all() and alone["n"].tolist() == [1, 1]


def summary(values, methods=("L-MAC", "all ones")):
    return pd.DataFrame(
        {
            "condition": "clean",
            "block": "STFT",
            "method": methods,
            "n": 10,
            "AI": values,
            "AI_low": 0.0,
            "AI_high": 100.0,
            "AI_n": 10,
            "AI@5%": 1.0,
        }
    )


def test_the_rows_of_tables_are_kept_apart(tmp_path):
    tables = {1: summary([30.0, 0.0]), 2: summary([50.0, 0.0])}
    tables[2]["method"] = ["L-MAC", "extra | one"]
    for fold, table in tables.items():
        (tmp_path / f"fold{fold}").mkdir()
        table.to_csv(tmp_path / f"fold{fold}" / "summary.csv", index=False)
    scores = {fold: read_scores(tmp_path / f"fold{fold}") for fold in tables}
    table = over_folds(scores)
    assert table["score"].tolist() == ["n", "AI", "AI@5%"] * 3
    assert table["method"].unique().tolist() == ["L-MAC", "all ones", "extra | one"]
    ai = table[table["score"] == "AI"].set_index("method")
    assert ai.loc["L-MAC", "mean"] == 40.0
    assert ai.loc["L-MAC", "std"] == pytest.approx(math.sqrt(200))
    assert ai["n"].tolist() == [2, 1, 1]
    assert math.isnan(ai.loc["all ones", "fold 2"])

    write_folds(tmp_path, table, ["command: `x`", "seed: 1"])
    text = (tmp_path / "folds.md").read_text()
    assert text.startswith("# Over the folds\n\n- command: `x`\n- seed: 1\n")
    assert "## clean, STFT" in text
    assert "| L-MAC | AI | 40 | 14.14 | 2 | 30 | 50 |" in text
    assert "| extra \\| one | AI | 0 | nan | 1 | nan | 0 |" in text
    read = pd.read_csv(tmp_path / "folds.csv")
    pd.testing.assert_frame_equal(read, table, check_dtype=False)
    assert not list(tmp_path.glob(".part*"))


def test_a_fold_without_results_is_an_error(tmp_path):
    with pytest.raises(InputError, match="training.json .*summary.csv"):
        read_scores(tmp_path)
