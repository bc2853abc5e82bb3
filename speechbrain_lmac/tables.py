"""Summaries as pages: Markdown with intervals, LaTeX with the papers' columns."""

import math
import re

from speechbrain_lmac.escaping import visible
from speechbrain_lmac.metrics import PAPER_METRICS

CONTROLS = ("random cells", "random blocks", "all ones")
# Rows in the order of the papers' tables; what they do not have follows.
PAPER_ORDER = (
    "Saliency",
    "SmoothGrad",
    "IG",
    "GradCAM",
    "GradCAM++",
    "Guided GradCAM",
    "Guided Backprop",
    "L2I, RT=0.2",
    "L2I, RT=0.4",
    "SHAP",
    "L-MAC",
    "L-MAC FT, lambda_g=4",
    "L-MAC FT, lambda_g=16",
)
COUNTS = {
    "n": "clips",
    "empty": "empty",
    "non_finite": "non-finite",
    "saturated": "saturated",
    "seconds_per_clip": "s/clip",
}
# What a published AD was computed as, see docs/methods.md.
COMPARED = ("AI", "AD-double-softmax", "AG", "FF", "Fid-In", "SPS", "COMP")

HOW_TO_READ = (
    "Mean [95 % interval, percentile bootstrap over clips] of the clips with a finite "
    "score; ↑ higher is better, ↓ lower is better. Empty: masks that are 0 everywhere. "
    "Non-finite: clips without one of the scores. Saturated: clips with nothing to "
    "gain. s/clip: time to explain, not to score. p, p_in, p_out: probability of the "
    "explained class for the whole clip, the explanation alone, and the rest."
)


def in_paper_order(summary):
    """The rows of a summary as the papers' tables have them; others keep their order.

    Example
    -------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"method": ["all ones", "L-MAC", "IG"]})
    >>> in_paper_order(rows)["method"].tolist()
    ['IG', 'L-MAC', 'all ones']
    """
    place = {method: index for index, method in enumerate(PAPER_ORDER)}
    places = summary["method"].map(lambda method: place.get(method, len(place)))
    return summary.iloc[places.argsort(kind="stable")]


def markdown_table(summary, scores, counts=None):
    """Lines of a Markdown table: a row per method, mean and interval of each score.

    Arguments
    ---------
    summary : pandas.DataFrame
        From `summary.summarise`.
    scores : sequence
        Of Score.
    counts : dict, optional
        Other columns of the summary, and how they are called.
    """
    counts = counts or {}
    titles = ["method", *map(title, scores), *counts.values()]
    lines = table_lines(titles)
    for _, row in in_paper_order(summary).iterrows():
        cells = [row["method"], *(interval(row, score) for score in scores)]
        cells += [f"{row[count]:.3g}" for count in counts]
        lines.append(row_of(cells))
    return lines


def latex_table(summaries, caption, metrics=PAPER_METRICS):
    """A LaTeX table (package booktabs) with the papers' columns, blocks as groups.

    Means only, the best of a block and column in bold.

    Arguments
    ---------
    summaries : dict
        Name of the block to its summary.
    caption : str
        Plain text.
    metrics : sequence
        Of Score.

    Returns
    -------
    text : str
    """
    heads = [
        escape(m.name)
        + {True: r"$\uparrow$", False: r"$\downarrow$", None: ""}[m.higher_is_better]
        for m in metrics
    ]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(caption)}}}",
        rf"\begin{{tabular}}{{l{'r' * len(metrics)}}}",
        r"\toprule",
        " & ".join(["Method", *heads]) + r" \\",
    ]
    for name, summary in summaries.items():
        lines += [r"\midrule", rf"\multicolumn{{{len(metrics) + 1}}}{{l}}{{"]
        lines[-1] += rf"\textit{{{escape(name)}}}}} \\"
        best = {m.name: best_of(summary, m) for m in metrics}
        for _, row in in_paper_order(summary).iterrows():
            cells = [escape(row["method"])]
            for metric in metrics:
                text = number(row[metric.name], metric)
                bold = row["method"] in best[metric.name]
                cells.append(rf"\textbf{{{text}}}" if bold else text)
            lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


# Of the Wilcoxon signed-rank tests that are marked.
SIGNIFICANT = 0.001
COMPARISON = (
    "Mean difference on the same clips [95 % interval, percentile bootstrap over "
    f"clips]; * p < {SIGNIFICANT:g} in the two-sided Wilcoxon signed-rank test, not "
    "corrected for the number of comparisons. All values: comparison.csv."
)


def is_control(method):
    """Whether a row is a control, also where its name says of which block.

    Example
    -------
    >>> is_control("all ones"), is_control("all ones, TD"), is_control("L-MAC")
    (True, True, False)
    """
    return method.startswith(CONTROLS)


def best_of(summary, metric):
    """The methods with the best mean; none without a direction, and no control.

    A mask of ones has the best AD and Fid-In there are: it says nothing.
    """
    rows = summary[~summary["method"].map(is_control)]
    values = rows[metric.name]
    if metric.higher_is_better is None or not values.notna().any():
        return []
    best = values.max() if metric.higher_is_better else values.min()
    return rows.loc[values == best, "method"].tolist()


def published_table(summary, published, condition, block, metrics):
    """Lines of a Markdown table: our mean beside the published one; [] without any.

    Arguments
    ---------
    summary : pandas.DataFrame
        Of this condition and block.
    published : pandas.DataFrame
        From `published.published_numbers`.
    condition, block : str
        Which rows of it.
    metrics : sequence
        Of Score.
    """
    here = published["condition"].eq(condition) & published["block"].eq(block)
    theirs = published[here].set_index("method")
    rows = [
        r for _, r in in_paper_order(summary).iterrows() if r["method"] in theirs.index
    ]
    if not rows:
        return []
    known = {metric.name: metric for metric in metrics}
    shown = [known[name] for name in COMPARED if name in known]
    titles = ["method"]
    for metric in shown:
        titles += [f"{metric.name} here", "published"]
    lines = table_lines(titles)
    for row in rows:
        cells = [row["method"]]
        for metric in shown:
            printed = theirs.loc[row["method"], metric.name]
            cells += [number(row[metric.name], metric), number(printed, metric)]
        lines.append(row_of(cells))
    return lines


def comparison_table(comparison, reference, scores):
    """Lines of a Markdown table: the reference less each other method, clip by clip.

    Arguments
    ---------
    comparison : pandas.DataFrame
        From `comparison.compare`.
    reference : str
        The method that was compared.
    scores : sequence
        Of Score: the columns, those with a direction only.
    """
    shown = [score for score in scores if score.higher_is_better is not None]
    titles = [f"{reference} less", *map(title, shown)]
    lines = table_lines(titles)
    rows = comparison.set_index(["method", "metric"])
    for method in in_paper_order(comparison.drop_duplicates("method"))["method"]:
        cells = [method]
        for score in shown:
            row = rows.loc[(method, score.name)]
            mean, low, high = (
                number(row[column], score) for column in ("difference", "low", "high")
            )
            star = "*" if row["p"] < SIGNIFICANT else ""
            cells.append("–" if mean == "–" else f"{mean} [{low}, {high}]{star}")
        lines.append(row_of(cells))
    return lines


def verdict(summary, comparison, reference, scores):
    """A line that says where a method leads all others, and who is ahead where not.

    Controls do not count. Which mean is better is told by the mean; whether the
    difference is one by its interval over the same clips.

    Arguments
    ---------
    summary : pandas.DataFrame
        From `summary.summarise`.
    comparison : pandas.DataFrame
        From `comparison.compare` with this reference.
    reference : str
        The method.
    scores : sequence
        Of Score. Those without a direction are left out.

    Returns
    -------
    line : str
    """
    means = summary.set_index("method")
    pairs = comparison.set_index(["metric", "method"])
    leads, behind = [], []
    for score in scores:
        if score.higher_is_better is None:
            continue
        sign = 1 if score.higher_is_better else -1
        ahead = [
            method
            for method in means.index
            if method != reference
            and not is_control(method)
            and sign
            * (means.loc[method, score.name] - means.loc[reference, score.name])
            > 0
        ]
        if not ahead:
            leads.append(score.name)
        for method in ahead:
            pair = pairs.loc[(score.name, method)]
            theirs, ours, difference, low, high = (
                number(value, score)
                for value in (
                    means.loc[method, score.name],
                    means.loc[reference, score.name],
                    *pair[["difference", "low", "high"]],
                )
            )
            behind.append(
                f"{method} on {score.name} ({theirs} against {ours}; difference "
                f"{difference} [{low}, {high}])"
            )
    line = f"{reference} leads every method on {', '.join(leads) or 'none of these'}."
    return f"{line} Ahead of it: {'; '.join(behind)}." if behind else line


def sanity_table(means, scores):
    """Lines of a Markdown table: the similarity that is left when all is random.

    Arguments
    ---------
    means : pandas.DataFrame
        `comparison.means_by` of `sanity.randomisation_check`, by `method step layer`.
    scores : sequence
        Of Score.
    """
    first, last = means["step"].eq(1), means["step"].eq(means["step"].max())
    layers = [means.loc[rows, "layer"].iloc[0] for rows in (first, last)]
    titles = ["method"]
    for score in scores:
        titles += [f"{score.name}, {layers[0]} random", f"{score.name}, all random"]
    lines = table_lines(titles)
    for method in in_paper_order(means.drop_duplicates("method"))["method"]:
        cells = [method]
        for score in scores:
            for rows in (first, last):
                here = rows & means["method"].eq(method)
                row = means[here & means["score"].eq(score.name)].iloc[0]
                cells.append(f"{row['mean']:.2f} [{row['low']:.2f}, {row['high']:.2f}]")
        lines.append(row_of(cells))
    return lines


def descriptions(scores):
    """A line for each score: what it is."""
    return [f"- **{score.name}**: {score.description}." for score in scores]


def title(score):
    """The head of a column: the name and where better is."""
    arrow = {True: " ↑", False: " ↓", None: ""}[score.higher_is_better]
    return f"{score.name}{arrow}"


def number(value, score):
    """A mean with as many digits as its unit deserves; – for what is not there."""
    digits = 2 if score.unit == "%" else 3
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def interval(row, score):
    """`mean [low, high]`."""
    columns = (score.name, f"{score.name}_low", f"{score.name}_high")
    mean, low, high = (number(row[column], score) for column in columns)
    return "–" if mean == "–" else f"{mean} [{low}, {high}]"


def table_lines(titles, rows=()):
    """The lines of a Markdown table.

    Example
    -------
    >>> table_lines(["score", "mean"], [["AI", 41.67]])
    ['| score | mean |', '| --- | --- |', '| AI | 41.67 |']
    """
    return [row_of(line) for line in (titles, ["---"] * len(titles), *rows)]


def table_text(titles, rows):
    """A Markdown table with a line break at its end."""
    return "\n".join(table_lines(titles, rows)) + "\n"


def row_of(cells):
    """A row of a Markdown table."""
    return "| " + " | ".join(map(_cell_text, cells)) + " |"


def _cell_text(cell):
    """Text that stays in its cell: a bar, and backslashes before it, are escaped."""
    text = visible(str(cell)).replace("\n", " ")
    return re.sub(r"(\\*)\|", lambda found: 2 * found[1] + r"\|", text)


SIGNS_OF_LATEX = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
    }
)


def escape(text):
    """Plain text for LaTeX.

    Example
    -------
    >>> print(escape("5 % of a_b"))
    5 \\% of a\\_b
    """
    return text.translate(SIGNS_OF_LATEX)
