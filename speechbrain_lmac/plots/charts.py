"""Charts: confusion matrices, curves, sanity checks, opinion scores."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from speechbrain_lmac.plots.figures import (
    in_style,
    legend_label,
    new_figure,
    save_figure,
)
from speechbrain_lmac.utils.csv_files import write_csv

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from speechbrain_lmac.metrics import Score


@in_style
def write_confusion(counts: np.ndarray, labels: Sequence[str], folder: Path) -> None:
    """Write the confusion matrix as `confusion.csv` and `confusion.png`.

    Arguments
    ---------
    counts : numpy.ndarray
        Shape (C, C): true class by predicted class.
    labels : sequence of str
        C names.
    folder : Path
        Folder of both files.
    """
    table = pd.DataFrame(counts, columns=labels)
    table.insert(0, "true", labels, allow_duplicates=True)
    write_csv(table, folder / "confusion.csv")
    size = max(3.5, 0.3 * len(labels) + 2)
    figure = new_figure(figsize=(size, size))
    axes = figure.subplots()
    axes.imshow(counts, cmap="Blues")
    axes.set_xticks(range(len(labels)), labels, rotation=90)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    accuracy = counts.trace() / max(counts.sum(), 1)
    axes.set_title(f"{accuracy:.1%} of {counts.sum()} clips correct")
    for row, column in zip(*np.nonzero(counts), strict=True):
        dark = counts[row, column] > counts.max() / 2
        axes.text(
            column,
            row,
            counts[row, column],
            ha="center",
            va="center",
            fontsize=7,
            color="white" if dark else "black",
        )
    save_figure(figure, folder / "confusion.png")


@in_style
def write_curves(
    means: pd.DataFrame, scores: "Sequence[Score]", path: Path | str, title: str = ""
) -> None:
    """Draw scores over the share of cells kept or removed, a line per method.

    Arguments
    ---------
    means : pandas.DataFrame
        Columns `method share score mean low high`: `metrics.curves.curve_table`
        averaged by `paired_tests.means_by`. Shares are in 0..1.
    scores : sequence
        `Score` objects: the panels, in this order.
    path : str or Path
        The PNG file.
    title : str
        Title of the figure.
    """
    panels = _line_panels(means, scores, "share", (3.6, 3.4))
    for axes in panels.axes:
        axes.set_xscale("log")
        shares = sorted(means["share"].unique())
        axes.set_xticks(shares, [f"{100 * share:g}" for share in shares])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("cells kept or removed (%)")
    _finish(panels, path, title)


@in_style
def write_sanity(
    means: pd.DataFrame, scores: "Sequence[Score]", path: Path | str, title: str = ""
) -> None:
    """Draw the similarity of masks over the randomised layers, a line per method.

    Arguments
    ---------
    means : pandas.DataFrame
        Columns `method step layer score mean low high`: the tables of
        `randomisation.randomisation_check`, with a column `method`, averaged by
        `paired_tests.means_by`.
    scores : sequence
        `Score` objects: the panels, in this order.
    path : str or Path
        The PNG file.
    title : str
        Title of the figure.
    """
    steps = means.drop_duplicates("step").sort_values("step")
    panels = _line_panels(means, scores, "step", (1.5 + 0.34 * len(steps), 4.2))
    for axes in panels.axes:
        axes.set_xticks(steps["step"], steps["layer"], rotation=60, ha="right")
        axes.tick_params(axis="x", labelsize=7)
        axes.set_xlabel("randomised from the logits down to this layer")
        axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
        axes.set_ylim(top=1.05)
    _finish(panels, path, title)


@in_style
def write_relation(
    rows: pd.DataFrame, x: str, y: str, kind: str, path: Path | str, title: str = ""
) -> None:
    """Draw a scatter plot of two columns, a panel per method, with means of bins.

    Arguments
    ---------
    rows : pandas.DataFrame
        With the columns `method`, x, y and kind. Rows with a non-finite x or y are
        skipped.
    x, y : str
        Columns of numbers.
    kind : str
        Column that determines the colour of a point.
    path : str or Path
        The PNG file.
    title : str
        Title of the figure.
    """
    methods = list(rows.groupby("method", sort=False))
    columns = min(len(methods), 4)
    grid = (-(-len(methods) // columns), columns)
    figure = new_figure(figsize=(3.2 * columns + 1.5, 3 * grid[0] + 0.4))
    all_axes = figure.subplots(*grid, squeeze=False, sharex=True).flatten()
    for axes in all_axes[len(methods) :]:
        axes.remove()
    for axes, (method, group) in zip(all_axes, methods, strict=False):
        group = group[np.isfinite(group[[x, y]]).all(axis=1)]
        for i, (name, points) in enumerate(group.groupby(kind, sort=False)):
            axes.scatter(
                points[x],
                points[y],
                s=6,
                alpha=0.35,
                color=f"C{i}",
                linewidths=0,
                label=f"{kind} {name}",
            )
        axes.plot(
            *binned_means(group[x], group[y]),
            color="black",
            marker="o",
            label="mean of bin",
        )
        axes.set_title(method, loc="left", fontsize=9)
        axes.set_xlabel(x.replace("_", " "))
        axes.set_ylabel(y.replace("_", " "))
        axes.grid(color="0.92")
        axes.set_axisbelow(True)
    _finish(figure, path, title)


def binned_means(
    x: npt.ArrayLike, y: npt.ArrayLike, n_bins: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """Return means of x and y in bins of equally many points, in the order of x.

    Arguments
    ---------
    x, y : array
        Shape (n,), finite.
    n_bins : int
        Maximum number of bins; none is empty.

    Returns
    -------
    x, y : numpy.ndarray
        Shape (min(n, n_bins),).

    Example
    -------
    >>> binned_means([3, 1, 2, 4], [30, 10, 20, 40], n_bins=2)
    (array([1.5, 3.5]), array([15., 35.]))
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    order = np.argsort(x, kind="stable")
    bins = [b for b in np.array_split(order, n_bins) if len(b)]
    means_x, means_y = (np.array([v[b].mean() for b in bins]) for v in (x, y))
    return means_x, means_y


def _line_panels(
    means: pd.DataFrame,
    scores: "Sequence[Score]",
    x: str,
    panel_size: tuple[float, float],
) -> "Figure":
    """Return a figure with a panel per score: means over x, with intervals."""
    width, height = panel_size
    columns = min(len(scores), 3)
    rows = -(-len(scores) // columns)
    figure = new_figure(figsize=(width * columns + 2, height * rows))
    all_axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in all_axes[len(scores) :]:
        axes.remove()
    markers, styles = "osD^vP*X<>", ("-", "--", ":")
    for axes, score in zip(all_axes, scores, strict=False):
        lines = means[means["score"] == score.name]
        for i, (method, line) in enumerate(lines.groupby("method", sort=False)):
            line = line.sort_values(x)
            color = f"C{i % 10}"
            axes.plot(
                line[x],
                line["mean"],
                color=color,
                marker=markers[i % 10],
                markersize=4,
                # After ten methods the colours repeat, with another line style.
                linestyle=styles[i // 10 % 3],
                linewidth=1.4,
                label=legend_label(method),
            )
            axes.fill_between(
                line[x], line["low"], line["high"], color=color, alpha=0.12, linewidth=0
            )
        arrow = {True: ", higher is better", False: ", lower is better", None: ""}
        unit = f" ({score.unit})" if score.unit else ""
        axes.set_ylabel(f"{score.name}{unit}")
        axes.set_title(
            f"{score.name}{arrow[score.higher_is_better]}", loc="left", fontsize=9
        )
        axes.grid(color="0.92")
        axes.set_axisbelow(True)
    return figure


def _finish(figure: "Figure", path: Path | str, title: str) -> None:
    """Add a legend on the right and a title, and save the figure."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8)
    if title:
        figure.suptitle(title, fontsize=10)
    save_figure(figure, path)


@in_style
def write_roar(rows: pd.DataFrame, path: Path | str) -> None:
    """Draw accuracy after retraining over the removed share, a line per method.

    Every retraining is a point; the line connects the means.

    Arguments
    ---------
    rows : pandas.DataFrame
        From `roar.remove_and_retrain`, with the columns `method share accuracy`, both
        numbers in 0..1. Rows with share 0 (nothing removed) are drawn for every method.
    path : str or Path
        The PNG file.
    """
    figure = new_figure(figsize=(6.5, 4.2))
    axes = figure.subplots()
    whole = rows[rows["share"] == 0]
    methods = rows[rows["share"] > 0].groupby("method", sort=False)
    for i, (method, group) in enumerate(methods):
        points = pd.concat([whole, group])
        axes.scatter(
            100 * points["share"],
            100 * points["accuracy"],
            s=12,
            alpha=0.5,
            color=f"C{i % 10}",
        )
        means = points.groupby("share")["accuracy"].mean()
        line: dict[str, Any] = {"color": f"C{i % 10}", "label": legend_label(method)}
        axes.plot(100 * means.index, 100 * means, **line)
    axes.set_xlabel("highest-ranked cells removed (%)")
    axes.set_ylabel("accuracy after retraining (%)")
    axes.set_title("Lower is better: more class evidence is removed", fontsize=9)
    axes.set_ylim(0, 102)
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    _finish(figure, path, "")


@in_style
def write_opinions(scores: pd.DataFrame, path: Path | str) -> None:
    """Draw mean opinion scores with their intervals, a panel per question.

    Arguments
    ---------
    scores : pandas.DataFrame
        From `listening_test.scoring.opinion_scores`, with the columns
        `question method mos high`.
    path : str or Path
        The PNG file.
    """
    questions = list(scores.groupby("question", sort=False))
    methods = list(dict.fromkeys(scores["method"]))
    figure = new_figure(figsize=(3.4 * len(questions) + 2, 0.45 * len(methods) + 1.4))
    all_axes = figure.subplots(1, len(questions), squeeze=False, sharey=True)[0]
    heights_of = {method: len(methods) - i for i, method in enumerate(methods)}
    for axes, (question, group) in zip(all_axes, questions, strict=True):
        error = group["high"] - group["mos"]
        heights = group["method"].map(heights_of)
        axes.errorbar(group["mos"], heights, xerr=error, fmt="o", capsize=3, color="C0")
        axes.set_xlim(0, 101)
        axes.set_xlabel("mean opinion score, 1 to 100")
        axes.set_title(question, loc="left", fontsize=9)
        axes.grid(color="0.92", axis="x")
        axes.set_axisbelow(True)
    all_axes[0].set_yticks(list(heights_of.values()), list(heights_of))
    save_figure(figure, path)
