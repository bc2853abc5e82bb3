"""The table of ablations: who is compared with whom, and what its lines say."""

import re

import numpy as np
import pandas as pd
import pytest

from speechbrain_lmac.evaluation.paired_tests import compare, false_discovery
from speechbrain_lmac.metrics import AD, FF, MM
from speechbrain_lmac.reporting.ablation_page import (
    ablation_page,
    read_ablations,
    reading,
)
from speechbrain_lmac.utils.errors import InputError

SCORES = (AD, FF, MM)


@pytest.fixture
def files(tmp_path):
    """A parent with two children."""
    (tmp_path / "parent.yaml").write_text("# The parent.\na: 1\n")
    for name in ("one", "two"):
        text = f"# Ablation of parent: {name}.\nparent: parent.yaml\na: 2\n"
        (tmp_path / f"{name}.yaml").write_text(text)
    return {name: str(tmp_path / f"{name}.yaml") for name in ("parent", "one", "two")}


@pytest.fixture
def read(tmp_path):
    """`read(experiments)`: the ablations, texts written into `experiments`."""
    return lambda experiments: read_ablations(experiments, tmp_path / "experiments")


def rows(**differences):
    """20 clips of a parent and of experiments with other means."""
    draw = np.random.default_rng(0)
    base = {"AD": draw.uniform(0, 9, 20), "FF": draw.random(20), "MM": draw.random(20)}
    tables = []
    for method, change in {"parent": {}, **differences}.items():
        noise = {name: draw.normal(0, 0.01, 20) for name in base}
        columns = {n: v + noise[n] + change.get(n, 0) for n, v in base.items()}
        ids = [f"clip{i}" for i in range(20)]
        other = {"empty_mask": False, "saturated": False, "seconds": 0.1}
        tables.append(pd.DataFrame({"id": ids, "method": method, **columns, **other}))
    return pd.concat(tables, ignore_index=True)


def test_a_file_is_compared_with_its_parent(files, read):
    ablations = read(files)
    assert [a.parent for a in ablations] == [None, "parent", "parent"]
    assert [a.what for a in ablations][:2] == ["The parent", "Ablation of parent: one"]


@pytest.mark.parametrize(
    "head, parent",
    [("", "parent"), ("parent: two.yaml\n", "two"), ("parent: far.yaml\n", "one")],
)
def test_a_file_is_compared_with_the_nearest_row_else_the_first(
    files, read, tmp_path, head, parent
):
    (tmp_path / "far.yaml").write_text("# Not listed.\nparent: one.yaml\n")
    other = tmp_path / "other.yaml"
    other.write_text(f"# Another.\n{head}a: 3\n")
    ablations = read({**files, "other": str(other)})
    assert ablations[-1].parent == parent
    assert ablations[0].parent is None


def test_the_first_row_may_have_a_parent_that_is_no_row(files, read):
    ablations = read({"one": files["one"], "two": files["two"]})
    assert [a.parent for a in ablations] == [None, "one"]


def test_a_text_is_written_as_a_file_of_its_own(files, read, tmp_path):
    parent = f"parent: {files['parent']}\n"
    names = ["a/b", ".."]  # no names of files
    texts = {n: f"# Ablation of parent: x{n}y.\n{parent}a: 4\n" for n in names}
    ablations = read({"parent": files["parent"], **texts})
    assert [a.what[20:] for a in ablations[1:]] == ["xa/by", "x..y"]
    assert [a.parent for a in ablations] == [None, "parent", "parent"]
    folder = tmp_path / "experiments"
    assert sorted(a.path for a in ablations[1:]) == sorted(folder.iterdir())
    assert ablations[1].path.read_text() == texts["a/b"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("parent: parent.yaml\nsplitt: 1\n", "mine: .*'splitt'"),
        ("parent: parent.yaml\nb: null\n", "mine: .*'b'"),
        ("parent: one.yaml\na: 3\n", "^mine: .*parent one.yaml .*above"),
        ("parent: no.yaml\n", "mine: .*no.yaml"),
    ],
)
def test_errors_of_a_text_name_its_row(files, read, tmp_path, text, message):
    text = text.replace("parent: ", f"# Mine.\nparent: {tmp_path}/")
    with pytest.raises(InputError, match=message):
        read({"parent": files["parent"], "mine": text, "one": files["one"]})


@pytest.mark.parametrize("other", [["parent"], 3, None, "no.yaml"])
def test_errors_of_an_experiment_name_its_row(files, read, other):
    with pytest.raises(InputError, match="^mine: "):
        read({"parent": files["parent"], "mine": other})


def test_a_parent_stands_above_its_ablations(files, read):
    with pytest.raises(InputError, match="^one: .*parent.yaml"):
        read({"one": files["one"], "parent": files["parent"]})


def test_a_reading_names_what_differs_and_its_direction():
    per_clip = rows(one={"AD": 2.0, "FF": 0.5, "MM": -0.3}, two={})
    table = compare(per_clip[per_clip["method"] != "two"], "one", SCORES)
    line = reading(table, "parent", SCORES)
    parts = line.removeprefix("Against parent ").split("; ")
    found = [
        re.fullmatch(r"(\w+: \w+) ([+-]\S+) \[.*\]", part).groups() for part in parts
    ]
    assert [name for name, _ in found] == ["better: FF", "worse: AD", "changed: MM"]
    values = [float(value) for _, value in found]
    assert values == pytest.approx([0.5, 2.0, -0.3], abs=0.02)
    table = compare(per_clip[per_clip["method"] != "one"], "two", SCORES)
    assert reading(table, "parent", SCORES).startswith("No score differs from parent")


def test_a_reading_leaves_out_what_may_be_chance():
    per_clip = rows(one={"AD": 2.0, "FF": 0.5, "MM": -0.3}, two={})
    table = compare(per_clip[per_clip["method"] != "two"], "one", SCORES)
    table.loc[table["metric"] == "FF", "q"] = 0.06  # its interval excludes 0 still
    assert "FF" not in reading(table, "parent", SCORES)


def test_each_row_has_a_line_under_it(files, read):
    per_clip = rows(one={"AD": 2.0}, two={})
    ablations = read(files)
    page = ablation_page(ablations, per_clip, SCORES, "clean", ["seed: 1"])
    table = [line for line in page.text().splitlines() if line.startswith("|")]
    assert len(table) == 2 + 2 * 3
    assert table[2].startswith("| **parent** |") and table[3].startswith(
        "| *The parent"
    )
    assert "Ablation of parent: one. " in table[5] and "worse: AD +2.0" in table[5]
    assert {line.count("|") for line in table} == {len(SCORES) + 2}
    (summary,) = page.tables["summary"]
    assert summary["method"].tolist() == ["parent", "one", "two"]
    comparison = page.tables["comparison"]
    both = pd.concat(comparison)  # q is over the tests of the page
    assert both["q"].tolist() == false_discovery(both["p"]).tolist()
    assert [table["reference"].iloc[0] for table in comparison] == ["one", "two"]
    assert {table["condition"].iloc[0] for table in comparison} == {"clean"}
