"""Two folds of UrbanSound8K by one command, resumed by the same one."""

import json
import sys

import pandas as pd
import pytest

from speechbrain_lmac.recipes import cross_validate as module
from speechbrain_lmac.recipes.cross_validate import cross_validate

TINY = ["--number_of_epochs=1", "--noprogressbar", "--device=cpu"]


@pytest.fixture(scope="module")
def us8k(make_us8k, tmp_path_factory):
    folder = tmp_path_factory.mktemp("us8k")
    make_us8k(folder, longest=0.3)
    return folder


def test_two_folds_are_trained_collected_and_not_trained_again(
    us8k, tmp_path, run, call, warm_children
):
    options = [
        "train_classifier.py",
        *("hparams/us8k_classifier_compact.yaml", "--data_folder", us8k),
        *("--dataset={clip_seconds: 0.3}", *TINY, "--folds", 1),
    ]
    done = run([sys.executable, module.__file__, *options], tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "results" / "us8k_classifier_compact" / "1234"
    assert done.stdout.endswith((folder / "folds.md").read_text())
    first = pd.read_csv(folder / "folds.csv").set_index("score")["fold 1"]
    epochs = folder / "fold1" / "epochs.csv"
    before = epochs.stat().st_mtime_ns

    call(cross_validate, *options, 10)
    assert epochs.stat().st_mtime_ns == before
    table = pd.read_csv(folder / "folds.csv").set_index("score")
    assert {"loss", "accuracy"} == set(table.index)
    assert table["fold 1"].equals(first)
    for fold, tested in ((1, [1]), (10, [10])):
        record = json.loads((folder / f"fold{fold}" / "training.json").read_text())
        assert record["test"] == pytest.approx(table[f"fold {fold}"].to_dict())
        manifest = folder / f"fold{fold}" / "manifest" / "test.json"
        clips = json.loads(manifest.read_text()).values()
        assert sorted({clip["fold"] for clip in clips}) == tested
    two = table[["fold 1", "fold 10"]]
    assert table["mean"].tolist() == pytest.approx(two.mean(axis=1).tolist())
    assert table["std"].tolist() == pytest.approx(two.std(axis=1, ddof=1).tolist())
    page = (folder / "folds.md").read_text()
    assert "- command: `python recipes/cross_validate.py train_classifier.py" in page
    assert str(us8k) not in page  # where the data lay is nobody's business
    assert "- folds: 1, 10, each the test once" in page


def test_one_message_for_what_a_user_can_put_right(refused):
    message = refused(cross_validate, "train_lmac.py", "hparams/toy_lmac.yaml")
    assert "has no key 'fold'" in message
    message = refused(cross_validate, "train.py", "hparams/us8k_lmac.yaml")
    assert "recipe: train.py" in message
