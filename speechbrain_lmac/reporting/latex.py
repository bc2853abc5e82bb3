"""LaTeX tables with the papers' columns."""

from collections.abc import Mapping, Sequence

import pandas as pd

from speechbrain_lmac.metrics import PAPER_METRICS, Score
from speechbrain_lmac.reporting.paper_order import best_of, in_paper_order
from speechbrain_lmac.reporting.tables import number


def latex_table(
    summaries: Mapping[str, pd.DataFrame],
    caption: str,
    metrics: Sequence[Score] = PAPER_METRICS,
) -> str:
    """Return a LaTeX table of means (package booktabs), with one row group per block.

    The best mean of each block and column is bold.

    Arguments
    ---------
    summaries : dict
        Name of the block to its summary, from `statistics.summarise`.
    caption : str
        Plain text.
    metrics : sequence of Score
        The columns.

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


SIGNS_OF_LATEX = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
    }
)


def escape(text: str) -> str:
    """Escape plain text for LaTeX.

    Example
    -------
    >>> print(escape("5 % of a_b"))
    5 \\% of a\\_b
    """
    return text.translate(SIGNS_OF_LATEX)
