"""Masking operators on a page: agreement of the order of methods, random masks."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from speechbrain_lmac.data.conditions import GroundTruth
from speechbrain_lmac.metrics import AD, AI, FF
from speechbrain_lmac.metrics.checks.replacement import (
    OPERATORS,
    NoiseReplacement,
    Replacement,
)
from speechbrain_lmac.reporting.evaluation_page import write_results
from speechbrain_lmac.reporting.markdown import MarkdownPage
from speechbrain_lmac.reporting.operators_page import add_operators, rank_agreement

METHODS = ["IG", "SHAP", "L-MAC", "GradCAM", "random cells"]
SCORES = [score for pair in OPERATORS.values() for score in pair]
MEANS = {
    "AD": [40.0, 30.0, 20.0, 10.0, 99.0],
    "AD noise": [80.0, 70.0, 50.0, 60.0, 0.0],  # one pair of six is exchanged
    "AD replacement": [1.0, 2.0, 3.0, 4.0, 0.5],  # all are
    "FF": [0.1, 0.2, 0.3, np.nan, 0.0],
    "FF noise": [0.3, 0.5, 0.4, 0.9, 0.0],  # one pair of three
    "FF replacement": [0.2, 0.2, 0.2, 0.2, 0.1],
}


def summary_of(means=MEANS):
    table = pd.DataFrame({"method": METHODS, **means})
    limits = {
        f"{name}{end}": table[name] for name in means for end in ("_low", "_high")
    }
    return table.assign(**limits)


def test_agreement_counts_the_exchanged_pairs():
    agreement = rank_agreement(summary_of(), SCORES).set_index(["first", "second"])
    expected = {
        ("zero", "noise"): ((5 - 1) / 6, (2 - 1) / 3),
        ("zero", "replacement"): (-1, np.nan),  # all means are equal: no order
        ("noise", "replacement"): ((1 - 5) / 6, np.nan),
    }
    assert list(agreement.index) == list(expected)
    for pair, values in expected.items():
        assert agreement.loc[pair, ["AD", "FF"]].tolist() == pytest.approx(
            list(values), nan_ok=True
        ), pair
    assert agreement["AD methods"].tolist() == [4, 4, 4]  # random cells is none
    assert agreement["FF methods"].tolist() == [3, 3, 4]


def test_two_methods_have_no_order():
    few = summary_of().query("method in ['IG', 'L-MAC', 'random cells']")
    assert rank_agreement(few, SCORES)[["AD", "FF"]].isna().all(axis=None)


@pytest.mark.parametrize("scores", [[AD, FF], [AI, FF, *OPERATORS["noise"]], [AI]])
def test_one_operator_has_no_table(scores):
    page = MarkdownPage("Tones")
    add_operators(page, summary_of(), scores, condition="clean")
    assert not page.tables and len(page.paragraphs) == 1


def test_an_evaluation_has_the_table(tmp_path):
    rows = [
        {"id": f"c{clip}", "method": method, **dict(zip(MEANS, values, strict=True))}
        for clip in range(2)
        for method, *values in zip(METHODS, *MEANS.values(), strict=True)
    ]
    filled = dict.fromkeys(["replacement in", "replacement out", "seconds"], 50.0)
    filled |= {"empty_mask": False, "saturated": False, "condition": "clean"}
    per_clip = pd.DataFrame(rows).assign(**filled, block="STFT")
    checks = [Replacement(None), NoiseReplacement()]
    kinds = {"metrics": [AD, FF], "truth": [], "areas": []}
    kinds["checks"] = [s for check in checks for s in check.scores(None, GroundTruth())]
    benchmark = SimpleNamespace(
        blocks={"STFT": None},
        conditions={"clean": None},
        metrics=(AD, FF),
        description=lambda condition: "two clips",
        scores=lambda condition, block: kinds,
        shares=lambda condition: (),
    )
    write_results(tmp_path, benchmark, per_clip, [], seed=7)
    table = pd.read_csv(tmp_path / "operators.csv")
    assert table["condition"].tolist() == ["clean"] * 3
    assert table["AD"].tolist() == pytest.approx([4 / 6, -1, -4 / 6])
    page = (tmp_path / "summary.md").read_text("utf-8")
    assert "| zero, noise | 0.67 (4) | 0.33 (3) |" in page
    assert "| noise, replacement | -0.67 (4) | – (4) |" in page
    assert (
        "| random cells | zero | 99.00 [99.00, 99.00] | 0.000 [0.000, 0.000] |" in page
    )
