"""Pages: what a cell says, which rows come first, what stands beside the published."""

import math
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from speechbrain_lmac.evaluation.paired_tests import compare, means_by
from speechbrain_lmac.evaluation.randomisation import SIMILARITIES
from speechbrain_lmac.evaluation.statistics import summarise
from speechbrain_lmac.metrics import (
    AI,
    ALL_METRICS,
    MM,
    PAPER_METRICS,
    SPS,
    metrics_by_name,
)
from speechbrain_lmac.reporting.latex import escape, latex_table
from speechbrain_lmac.reporting.markdown import row_of
from speechbrain_lmac.reporting.paper_order import in_paper_order
from speechbrain_lmac.reporting.published import WARNINGS, published_numbers
from speechbrain_lmac.reporting.sanity_page import claim_line, sanity_table
from speechbrain_lmac.reporting.tables import (
    COUNTS,
    comparison_table,
    markdown_table,
    published_table,
    verdict,
)
from speechbrain_lmac.utils.errors import InputError

METHODS = ["all ones", "L-MAC", "a|b", "Saliency"]


def per_clip(n_clips=4, methods=METHODS):
    """Scores of each method: its place, for every metric and clip, and a NaN."""
    rows = []
    for place, method in enumerate(methods):
        for clip in range(n_clips):
            scores = {metric.name: float(place) for metric in ALL_METRICS}
            rows.append({"id": f"clip{clip}", "method": method, **scores})
    table = pd.DataFrame(rows).assign(empty_mask=False, saturated=False, seconds=0.25)
    table.loc[0, "SPS"] = math.nan
    return table


@pytest.fixture
def summary():
    return summarise(per_clip(), ALL_METRICS, n_boot=20)


def cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_the_rows_of_the_papers_come_first(summary):
    order = in_paper_order(summary)["method"].tolist()
    assert order == ["Saliency", "L-MAC", "all ones", "a|b"]


def test_a_row_has_means_intervals_and_counts(summary):
    header, rule, *rows = markdown_table(
        summary, metrics_by_name(["AI", "SPS"]), COUNTS
    )
    assert cells(header) == [
        *("method", "AI ↑", "SPS ↑", "clips", "empty", "non-finite", "saturated"),
        "s/clip",
    ]
    assert {len(cells(line)) for line in (rule, *rows)} == {8}
    assert cells(rows[0]) == [
        *("Saliency", "3.00 [3.00, 3.00]", "3.000 [3.000, 3.000]"),
        *("4", "0", "0", "0", "0.25"),
    ]
    assert cells(rows[2])[5] == "1"  # the NaN of the mask of ones
    assert cells(rows[3])[0] == r"a\|b"


def test_the_rows_of_a_partial_score_are_counted_in_its_cell():
    partial = replace(SPS, partial=True)
    summary = summarise(per_clip(), [AI, partial], n_boot=20)
    assert summary["non_finite"].tolist() == [0, 0, 0, 0]
    rows = {cells(row)[0]: cells(row)[1] for row in markdown_table(summary, [partial])}
    assert rows["all ones"].endswith("] (3)")
    assert rows["Saliency"].endswith("]")


def test_a_score_that_no_clip_has_is_a_dash():
    table = per_clip().assign(SPS=math.nan)
    summary = summarise(table, PAPER_METRICS, n_boot=20)
    rows = markdown_table(summary, metrics_by_name(["SPS"]))[2:]
    assert all(cells(row)[1] == "–" for row in rows)


# --- LaTeX ----------------------------------------------------------------------------


def test_the_best_of_each_block_is_bold_and_no_control_is(summary):
    summary.loc[summary["method"] == "all ones", "AD"] = -1.0
    text = latex_table({"STFT": summary, "Mel": summary}, "100 % of a_b", PAPER_METRICS)
    lines = text.splitlines()
    assert text.count(r"\midrule") == 2
    assert r"\caption{100 \% of a\_b}" in text
    (head,) = [line for line in lines if line.startswith("Method")]
    assert head.count("&") == len(PAPER_METRICS)
    saliency = [line for line in lines if line.startswith("Saliency")]
    assert len(saliency) == 2
    # AI 3 is the highest; AD 1 of L-MAC the lowest but for the control's -1.
    assert saliency[0].startswith(r"Saliency & \textbf{3.00} & 3.00 & \textbf{3.00} &")
    (lmac, _) = (line for line in lines if line.startswith("L-MAC"))
    assert r"L-MAC & 1.00 & \textbf{1.00} &" in lmac
    assert lmac.endswith(r"& 1.000 \\")  # the mask's mean has no best
    (ones, _) = (line for line in lines if line.startswith("all ones"))
    assert "textbf" not in ones


def test_signs_of_latex_are_plain_text():
    assert escape("a_b & 5 % {x} #1 $") == r"a\_b \& 5 \% \{x\} \#1 \$"
    assert escape("~^\\") == (r"\textasciitilde{}\textasciicircum{}\textbackslash{}")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here")
def test_latex_accepts_it(summary, tmp_path):
    body = latex_table({"STFT & mel": summary}, "50 % {a} #1 $2 ~ ^", PAPER_METRICS)
    page = r"\documentclass{article}\usepackage{booktabs}\begin{document}"
    (tmp_path / "page.tex").write_text(page + body + r"\end{document}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


# --- Beside the published -------------------------------------------------------------


def test_published_numbers_stand_beside_ours(summary):
    numbers = published_numbers("lmac_esc50")
    lines = published_table(summary, numbers, "mixtures", "STFT", ALL_METRICS)
    heads, rows = cells(lines[0]), {cells(line)[0]: cells(line) for line in lines[2:]}
    assert list(rows) == ["Saliency", "L-MAC"]  # what was published of these
    place = heads.index("AD-double-softmax here")
    # The published AD was computed with the softmax applied twice.
    assert rows["L-MAC"][place : place + 2] == ["1.00", "4.82"]
    assert rows["L-MAC"][1:3] == ["1.00", "60.63"]
    assert "AD here" not in heads


def test_what_was_not_published_is_a_dash(summary):
    numbers = published_numbers("lmac_esc50")
    lines = published_table(summary, numbers, "speech", "STFT", ALL_METRICS)
    assert len(lines) == 3
    heads, row = cells(lines[0]), cells(lines[2])
    assert row[heads.index("AG here") + 1] == "–"
    assert published_table(summary, numbers, "clean", "STFT", ALL_METRICS) == []


def test_the_published_tables_are_whole():
    numbers = published_numbers("lmac_esc50")
    sizes = numbers.groupby(["condition", "block"]).size()
    assert sizes["noise", "STFT"] == sizes["mixtures", "STFT"] == 10
    assert sizes["noise", "Mel"] == sizes["mixtures", "Mel"] == 9
    assert not numbers.duplicated(["condition", "block", "method"]).any()
    scores = numbers.columns[3:]
    assert set(scores) <= {metric.name for metric in ALL_METRICS}
    assert (numbers["AD-double-softmax"] < 63.3).all()


def test_the_published_table_of_lmac_zs_is_whole():
    numbers = published_numbers("lmac_zs_esc50")
    assert numbers.groupby("block").size().to_dict() == {"Mel": 5, "STFT": 5}
    assert set(numbers["condition"]) == {"clean"}
    assert set(numbers.columns[3:]) <= {metric.name for metric in ALL_METRICS}
    assert numbers.notna().all(axis=None)
    # All 2,000 clips: 0.05 % each.
    assert ((20 * numbers["AI"] - (20 * numbers["AI"]).round()).abs() < 1e-6).all()
    # What twice the softmax can lose at most, with 50 classes.
    assert (numbers["AD-double-softmax"] < 63.3).all()


def test_the_warning_has_the_halved_table_and_the_second_softmax():
    # Of the baselines in both tables, out of domain has twice the AD of in domain.
    numbers = published_numbers("lmac_esc50").set_index(
        ["condition", "block", "method"]
    )
    names = ["Saliency", "SmoothGrad", "IG", "Guided Backprop", "SHAP"]
    for block in ("STFT", "Mel"):
        ratio = [
            numbers.loc[("mixtures", block, name), "AD-double-softmax"]
            / numbers.loc[("noise", block, name), "AD-double-softmax"]
            for name in names
        ]
        assert ratio == pytest.approx([2.0] * 5, abs=0.04)
    assert "half" in WARNINGS["lmac_esc50"]
    assert "AD-double-softmax" in WARNINGS["lmac_esc50"]


def test_unknown_publications_are_named():
    known = ", ".join(WARNINGS)
    with pytest.raises(InputError, match=f"'lmac'; known: {known}"):
        published_numbers("lmac")


# --- Comparisons ----------------------------------------------------------------------


def test_a_comparison_shows_differences_and_marks_what_is_no_chance():
    rng = np.random.default_rng(0)
    table = per_clip(40, ["L-MAC", "IG", "all ones"])
    table["AI"] += np.where(table["method"] == "L-MAC", 3.0, 0.0)
    table["FF"] = rng.normal(size=len(table))
    compared = compare(table, "L-MAC", [*PAPER_METRICS], n_boot=50)
    lines = comparison_table(compared, "L-MAC", PAPER_METRICS)
    heads, rows = cells(lines[0]), {cells(line)[0]: cells(line) for line in lines[2:4]}
    assert heads[0] == "L-MAC minus"
    assert MM.name not in heads  # without a direction
    assert rows["IG"][1] == "2.00 [2.00, 2.00]*"
    assert rows["all ones"][1] == "1.00 [1.00, 1.00]*"
    assert not rows["IG"][heads.index("FF ↑")].endswith("*")


def test_the_verdict_says_where_a_method_leads_and_who_is_ahead():
    table = per_clip(4, ["L-MAC", "IG", "all ones"])  # 0, 1 and 2 everywhere
    table.loc[table["method"] == "L-MAC", "AI"] = 1.5
    scores = metrics_by_name(["AI", "AD", "AG", "MM"])
    summary = summarise(table, scores, n_boot=20)
    compared = compare(table, "L-MAC", scores, n_boot=20)
    line = verdict(summary, compared, "L-MAC", scores)
    # AD: the lower, the better; MM has no direction; the control does not count.
    assert line == (
        "L-MAC leads every other method (controls aside) on AI, AD. Ahead of it: IG on "
        "AG (1.00 against 0.00; difference -1.00 [-1.00, -1.00])."
    )
    first = verdict(summary, compared, "L-MAC", metrics_by_name(["AI"]))
    assert first == "L-MAC leads every other method (controls aside) on AI."
    last = verdict(summary, compared, "L-MAC", metrics_by_name(["AG"]))
    assert "none of AG" in last and "Ahead of it: IG" in last


def verdict_of(table, names):
    scores = metrics_by_name(names)
    summary = summarise(table, scores, n_boot=20)
    return verdict(summary, compare(table, "L-MAC", scores, n_boot=20), "L-MAC", scores)


def test_a_tie_is_no_lead():
    table = per_clip(4, ["L-MAC", "IG", "SHAP"])  # 0, 1 and 2 everywhere
    table["AI"] = 0.0
    table["AG"] = np.where(table["method"] == "L-MAC", 0.002, 0.001)  # 0.00 as printed
    table["Fid-In"] = np.where(table["method"] == "IG", 0.5, 1.0)
    line = verdict_of(table, ["AI", "AD", "AG", "Fid-In"])
    assert line == (
        "L-MAC leads every other method on AD. Level with it: IG on AI (0.00); SHAP on "
        "AI (0.00); IG on AG (0.00); SHAP on AG (0.00); SHAP on Fid-In (1.000)."
    )


def test_nothing_leads_where_nothing_is_compared():
    controls = per_clip(4, ["L-MAC", "all ones", "random cells"])
    assert verdict_of(controls, ["AI", "AD"]) == ""
    assert verdict_of(per_clip(4, ["L-MAC"]), ["AI", "AD"]) == ""
    two = per_clip(4, ["L-MAC", "IG"])
    assert verdict_of(two, ["MM"]) == ""  # without a direction
    two["AG"] = two["AG"].where(two["method"] != "L-MAC")  # NaN of the reference
    assert verdict_of(two, ["AG"]) == ""


def test_a_method_without_a_score_is_not_beaten_in_it():
    table = per_clip(4, ["L-MAC", "IG", "SHAP"])
    table.loc[table["method"] == "SHAP", "AD"] = math.nan
    assert verdict_of(table, ["AD"]) == (
        "L-MAC leads every other method on none of AD. Without a value: SHAP on AD."
    )


def test_sanity_shows_the_first_layer_and_all():
    rows = [
        {
            "id": clip,
            "method": method,
            "step": step,
            "layer": layer,
            "Spearman": 1.0 - 0.4 * step,
            "SSIM": 1.0 - 0.2 * step * (method == "IG"),
            "overlap": 0.5 if method == "IG" else math.nan,
        }
        for clip in range(3)
        for method in ("L-MAC", "IG")
        for step, layer in enumerate(["trained", "linear", "blocks.0"])
    ]
    names = [score.name for score in SIMILARITIES]
    means = means_by(pd.DataFrame(rows), ["method", "step", "layer"], names, n_boot=20)
    lines = sanity_table(means, SIMILARITIES)
    assert cells(lines[0])[1:3] == ["Spearman, linear random", "Spearman, all random"]
    assert cells(lines[2]) == [
        *("IG", "0.60 [0.60, 0.60]", "0.20 [0.20, 0.20]"),
        *("0.80 [0.80, 0.80]", "0.60 [0.60, 0.60]"),
        *["0.50 [0.50, 0.50]"] * 2,
    ]
    assert cells(lines[3])[3:] == ["1.00 [1.00, 1.00]"] * 2 + ["–"] * 2


@pytest.mark.parametrize(
    "shift, said, not_said",
    [
        (0.3, "By Spearman, SSIM, the masks of L-MAC change less", "more"),
        (-0.3, "By Spearman, SSIM, the masks of L-MAC change more", "less"),
        (0.0, "By Spearman, SSIM, the interval of the difference", "opposite"),
    ],
)
def test_the_claim_of_the_paper_is_compared_with_the_numbers(shift, said, not_said):
    draw = np.random.default_rng(0)
    rows = [
        {
            **{"id": f"c{clip}", "method": method, "step": step, "layer": "x"},
            **dict.fromkeys(("Spearman", "SSIM"), value + draw.normal(0, 0.1)),
        }
        for clip in range(12)
        for method, gain in (("L-MAC", shift), ("GradCAM", 0.0), ("IG", 0.9))
        for step, value in enumerate((1.0 - gain, 0.4 + gain))  # only the last counts
    ]
    line = claim_line(pd.DataFrame(rows), "L-MAC", "GradCAM", SIMILARITIES[:2], 1)
    assert said in line and not_said not in line
    assert ("opposite" in line) == (shift > 0)
    (found,) = re.findall(r"Spearman (\S+) \[", line)
    assert float(found) == pytest.approx(shift, abs=0.12)


@pytest.mark.parametrize("text", ["a|b", "a\\|b", "|", "\\\\|", "a\\", "`|`"])
def test_a_cell_ends_at_no_bar_of_its_own(text):
    row = row_of([text, "next"]).removeprefix("| ").removesuffix(" |")
    # As GitHub reads a row: a backslash takes what follows it along.
    cells = re.findall(r"(?:\\.|[^|\\])+", row)
    assert len(cells) == 2 and cells[1] == " next"
    assert cells[0][:-1].replace("\\", "") == text.replace("\\", "")


def test_a_cell_is_one_line_without_control_characters():
    assert row_of(["a\nb\x1b"]) == "| a b\\x1b |"
