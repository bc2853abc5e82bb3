"""Charts: readable files, labelled axes, lines of the right values."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("matplotlib")

from speechbrain_lmac.evaluation.randomisation import SIMILARITIES  # noqa: E402
from speechbrain_lmac.metrics.curves import CURVES  # noqa: E402
from speechbrain_lmac.plots import charts  # noqa: E402
from tests.unit.plots.test_figures import assert_picture  # noqa: E402


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn."""
    drawn, new_figure = [], charts.new_figure

    def remember(*args, **kwargs):
        drawn.append(new_figure(*args, **kwargs))
        return drawn[-1]

    monkeypatch.setattr(charts, "new_figure", remember)
    return drawn


@pytest.mark.parametrize("n_classes", [2, 50])
def test_a_confusion_matrix_as_table_and_picture(tmp_path, figures, n_classes):
    labels = [f"class {index}" for index in range(n_classes)]
    counts = np.diag([8] * n_classes)
    counts[0, 1] = 2
    charts.write_confusion(counts, labels, tmp_path)
    assert_picture(tmp_path / "confusion.png")
    rows = (tmp_path / "confusion.csv").read_text().splitlines()
    assert rows[0] == "true," + ",".join(labels)
    assert rows[1].startswith("class 0,8,2")
    assert rows[2].startswith("class 1,0,8")
    (axes,) = figures[0].axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    right, total = 8 * n_classes, 8 * n_classes + 2
    assert axes.get_title() == f"{right / total:.1%} of {total} clips correct"


def test_a_confusion_of_nothing_is_no_error(tmp_path):
    charts.write_confusion(np.zeros((3, 3), dtype=int), ["a", "b", "c"], tmp_path)
    assert_picture(tmp_path / "confusion.png")


def lines_of(axes):
    """{method: (xs, ys)} of a panel; guide lines have no method."""
    return {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
        for line in axes.lines
        if not line.get_label().startswith("_")
    }


def test_curves_have_a_panel_per_score_and_a_line_per_method(tmp_path, figures):
    rows = [
        (method, share, score, value + share, value, 1.0)
        for method, value in (("L-MAC", 0.5), ("random $x$", 0.1))
        for share in (0.5, 0.01)  # the picture sorts them
        for score in ("p_in", "AD")
    ]
    means = pd.DataFrame(rows, columns="method share score mean low high".split())
    path = tmp_path / "new" / "curves.png"
    charts.write_curves(means, [CURVES[3], CURVES[0]], path, "clean, 20 clips")
    assert_picture(path)
    drop, p_in = figures[0].axes
    assert drop.get_ylabel() == "AD (%)"
    assert "lower" in drop.get_title(loc="left")
    assert "higher" in p_in.get_title(loc="left")
    assert p_in.get_xscale() == "log"
    assert [t.get_text() for t in p_in.get_xticklabels()] == ["1", "50"]
    assert "%" in p_in.get_xlabel()
    assert lines_of(p_in) == {
        "L-MAC": ([0.01, 0.5], [0.51, 1.0]),
        "random $x$": ([0.01, 0.5], [0.11, 0.6]),
    }
    assert len(p_in.collections) == 2  # the intervals
    assert [t.get_text() for t in figures[0].legends[0].get_texts()] == [
        "L-MAC", "random $x$"
    ]  # fmt: skip


def test_sanity_names_the_layers_from_the_logits_down(tmp_path, figures):
    rows = [
        ("L-MAC", step, layer, score, 1.0 - step / 2, 0.0, 1.0)
        for step, layer in [(0, "trained"), (1, "linear"), (2, "conv")]
        for score in ("Spearman", "SSIM", "overlap")
    ]
    columns = "method step layer score mean low high".split()
    path = tmp_path / "sanity.png"
    charts.write_sanity(pd.DataFrame(rows, columns=columns), SIMILARITIES, path)
    assert_picture(path)
    for axes, name in zip(
        figures[0].axes, ["Spearman", "SSIM", "overlap"], strict=True
    ):
        assert axes.get_ylabel() == name
        assert [t.get_text() for t in axes.get_xticklabels()] == [
            "trained", "linear", "conv"
        ]  # fmt: skip
        assert lines_of(axes) == {"L-MAC": ([0, 1, 2], [1.0, 0.5, 0.0])}


def test_twelve_methods_can_be_told_apart(tmp_path, figures):
    rows = [
        (f"method {i}", share, "p_in", i / 12, i / 12, i / 12)
        for i in range(12)
        for share in (0.1, 0.5)
    ]
    means = pd.DataFrame(rows, columns="method share score mean low high".split())
    charts.write_curves(means, CURVES[:1], tmp_path / "curves.png")
    looks = {(li.get_color(), li.get_linestyle()) for li in figures[0].axes[0].lines}
    assert len(looks) == 12


def test_roar_begins_every_line_at_the_whole_clips(tmp_path, figures):
    rows = pd.DataFrame(
        [
            ("nothing removed", 0.0, 1, 1.0),
            ("L-MAC", 0.5, 1, 0.25),
            ("L-MAC", 0.5, 2, 0.75),
            ("random", 0.5, 1, 1.0),
        ],
        columns="method share repeat accuracy".split(),
    )
    charts.write_roar(rows, tmp_path / "roar.png")
    assert_picture(tmp_path / "roar.png")
    (axes,) = figures[0].axes
    assert "%" in axes.get_xlabel() and "%" in axes.get_ylabel()
    assert lines_of(axes) == {
        "L-MAC": ([0, 50], [100, 50]),
        "random": ([0, 50], [100, 100]),
    }


def relation(methods=("a", "b"), n=40):
    """Rows whose y is twice x for the first method, and 0.5 for the others."""
    x = np.linspace(0, 1, n)
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "method": method,
                    "x_size": x,
                    "y_size": 2 * x if method == methods[0] else np.full(n, 0.5),
                    "prompt": np.where(np.arange(n) % 2, "right", "other"),
                }
            )
            for method in methods
        ],
        ignore_index=True,
    )


@pytest.mark.parametrize("n_methods", [1, 2, 5])
def test_a_relation_has_a_panel_per_method(tmp_path, figures, n_methods):
    rows, path = relation("abcde"[:n_methods]), tmp_path / "size.png"
    rows.loc[0, "y_size"] = np.nan
    charts.write_relation(rows, "x_size", "y_size", "prompt", path, "About")
    assert_picture(path)
    (figure,) = figures
    assert [a.get_title(loc="left") for a in figure.axes] == list("abcde"[:n_methods])
    first = figure.axes[0]
    assert (first.get_xlabel(), first.get_ylabel()) == ("x size", "y size")
    # One point is not finite; the others are in one of two colours.
    assert sorted(len(c.get_offsets()) for c in first.collections) == [19, 20]
    x, y = first.lines[0].get_data()
    np.testing.assert_allclose(y, 2 * x)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(labels) == ["mean of bin", "prompt other", "prompt right"]


def test_bins_have_equally_many_points_and_none_is_empty():
    x, y = charts.binned_means(np.arange(10)[::-1], np.arange(10), n_bins=5)
    assert x.tolist() == [0.5, 2.5, 4.5, 6.5, 8.5]
    assert y.tolist() == [8.5, 6.5, 4.5, 2.5, 0.5]
    few = charts.binned_means([2.0, 1.0], [5.0, 6.0], n_bins=8)
    assert [values.tolist() for values in few] == [[1.0, 2.0], [6.0, 5.0]]
