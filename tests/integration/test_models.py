"""The shipped models reproduce the scores of their cards on real recordings."""

import functools
import re
from dataclasses import replace

import pytest

from speechbrain_lmac.hub.registry import read_record, shipped_models, write_record
from speechbrain_lmac.publishing import card_scores
from speechbrain_lmac.publishing.card_scores import differences, time_model
from speechbrain_lmac.publishing.model_card import model_card
from speechbrain_lmac.publishing.publish import GENERATED
from tests.integration.conftest import CHILDREN
from tools import models as recipe
from tools.models import MODELS, models, page


def test_every_model_has_its_training_and_only_these():
    assert set(MODELS) == set(shipped_models())


@pytest.mark.parametrize("name", MODELS)
def test_the_card_is_written_from_the_record(name):
    folder = shipped_models()[name]
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text == model_card(read_record(folder), name, GENERATED)


def test_the_cards_are_true(call, esc10_folder, capsys, tmp_path, monkeypatch):
    # One is timed, and its new process is warm.
    monkeypatch.setattr(card_scores, "subprocess", CHILDREN)
    few = functools.cache(lambda: time_model("esc10-lmac", repeats=2, batch_size=2))
    monkeypatch.setattr(recipe, "time_model", lambda name: few())
    names = ["esc10-lmac", "esc10-lmac-zs"]
    out = tmp_path / "models.md"
    data = f"--data_folder={esc10_folder}"
    call(models, "check", *names, data, f"--output={out}")
    printed = capsys.readouterr().out
    assert all(f"{name}:" in printed for name in names)
    text = out.read_text(encoding="utf-8")
    for name in names:
        fid = read_record(shipped_models()[name]).metrics["Fid-In"]["mean"]
        (line, times) = [x for x in text.splitlines() if x.startswith(f"| {name} ")]
        assert f"| {fid:.4g} |" in line
        assert all(float(cell) > 0 for cell in times.strip("| ").split("|")[1:])


def test_a_score_that_is_not_reproduced_is_an_error(refused, esc10_folder, monkeypatch):
    record = read_record(shipped_models()["esc10-classifier"])
    record.metrics["accuracy"]["mean"] = 99.0
    monkeypatch.setattr(recipe, "read_record", lambda folder: record)
    data = f"--data_folder={esc10_folder}"
    message = refused(models, "check", "esc10-classifier", data)
    assert all(word in message for word in ("esc10-classifier", "accuracy", "99.0"))
    assert "88.75" in message


@pytest.mark.parametrize(
    "name, now, n_lines",
    [
        ("Fid-In", 0.91, 0),
        ("Fid-In", 0.935, 1),
        ("AI", 61.25, 0),
        ("AI", 63.0, 1),
        ("MM", float("nan"), 1),
    ],
)
def test_differences_beyond_the_last_clip_are_found(name, now, n_lines):
    before = {"Fid-In": 0.91, "AI": 60.0, "MM": 0.07}
    recorded = {key: {"mean": value} for key, value in before.items()}
    found = {**recorded, name: {"mean": now}}
    assert len(differences(recorded, found)) == n_lines
    assert len(differences(recorded, {})) == 3


def test_an_unknown_model_and_missing_data(refused, tmp_path):
    data = f"--data_folder={tmp_path}"
    message = refused(models, "check", "x", data)
    assert re.search(r"\bx\b", message) and "esc10-lmac-zs" in message
    assert "esc50.csv" in refused(models, "check", "esc10-classifier", data)


def test_a_record_is_read_as_it_was_written(tmp_path):
    record = read_record(shipped_models()["esc10-lmac"])
    changed = replace(record, credit="d'Alché")
    write_record(changed, tmp_path)
    assert read_record(tmp_path) == changed


def test_the_page_has_a_cell_for_what_a_model_has(monkeypatch):
    monkeypatch.setattr(
        recipe,
        "time_model",
        lambda name: {"cold": 1.0, "warm": 0.5, "clips_per_second": 2.0},
    )
    measured = {
        "esc10-classifier": {"accuracy": {"mean": 90.0}},
        "esc10-lmac": {"accuracy": {"mean": 90.0}, "AI": {"mean": 50.0}},
    }
    lines = page(measured, "command")
    assert "| esc10-classifier | 1.5 | 90 |  |" in lines
    assert "| esc10-lmac | 2.1 | 90 | 50 |" in lines
    assert "| esc10-lmac | 1.00 | 0.500 | 2.0 |" in lines
