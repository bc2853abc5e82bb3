"""From the rows of an evaluation to the files that are read."""

from collections import defaultdict
from pathlib import Path

import pandas as pd

from speechbrain_lmac.comparison import compare, means_by
from speechbrain_lmac.evaluation import curves_of, summarise
from speechbrain_lmac.files import write_csv, write_text
from speechbrain_lmac.metrics import AD, AD_DOUBLE_SOFTMAX, AG, AI, FID_IN
from speechbrain_lmac.metrics.curves import AREAS, CURVES
from speechbrain_lmac.published import WARNINGS, published_numbers
from speechbrain_lmac.sanity import SIMILARITIES
from speechbrain_lmac.tables import (
    COUNTS,
    HOW_TO_READ,
    comparison_table,
    descriptions,
    latex_table,
    markdown_table,
    published_table,
    sanity_table,
    verdict,
)
from speechbrain_lmac.visualize import write_curves, write_sanity

# What the papers compare methods by.
FAITHFULNESS = (AI, AD, AG, FID_IN)


def write_results(
    folder,
    benchmark,
    per_clip,
    header,
    seed,
    reference=None,
    published=None,
    sanity=None,
):
    """Write everything that can be made of the rows; each file atomically.

    `per_clip.csv`, `summary.csv`, `summary.md`, `summary.tex`; `comparison.csv` with a
    reference; `curves.csv` and a picture for each condition and block that has curves;
    `sanity.csv` and a picture for each block with a check of sanity. The numbers in
    the csv files are exact (`pandas.read_csv` of pandas 3 gives them back).

    Arguments
    ---------
    folder : str or Path
        Made when missing.
    benchmark : Benchmark
    per_clip : pandas.DataFrame
        From `Benchmark.score`.
    header : list
        Of str: the command, the data, the seed, the versions.
    seed : int
        Of the bootstraps.
    reference : str, optional
        The method that the others are compared with, clip by clip.
    published : str, optional
        What to show beside it, see `published.published_numbers`.
    sanity : pandas.DataFrame, optional
        From `Benchmark.check_sanity`.
    """
    folder = Path(folder)
    write_csv(per_clip, folder / "per_clip.csv")
    lines = ["# Evaluation", "", *(f"- {line}" for line in header), ""]
    numbers = None if published is None else published_numbers(published)
    tables, latex, used = defaultdict(list), [], {}
    for condition, opened in benchmark.conditions.items():
        lines += [f"## {condition}", "", f"{opened.description}.", ""]
        summaries = {}
        for block in benchmark.blocks:
            rows = rows_of(per_clip, condition, block)
            kinds = benchmark.scores(condition, block)
            scores = [score for kind in kinds.values() for score in kind]
            used |= {score.name: score for score in scores}
            summary = summarise(rows, scores, seed=seed)
            summaries[block] = summary
            tables["summary"].append(named(summary, condition, block))
            lines += [f"### {condition}, {block}", ""]
            lines += [*markdown_table(summary, kinds["metrics"], COUNTS), ""]
            for kind in ("truth", "areas"):
                if kinds[kind]:
                    lines += [*markdown_table(summary, kinds[kind]), ""]
            if numbers is not None:
                beside = published_table(summary, numbers, condition, block, scores)
                lines += [*beside, "", WARNINGS[published], ""] if beside else []
            if reference in set(rows["method"]):
                compared = compare(rows, reference, scores, seed=seed)
                tables["comparison"].append(named(compared, condition, block))
                lines += [*comparison_table(compared, reference, kinds["metrics"]), ""]
                lines += [verdict(summary, compared, reference, FAITHFULNESS), ""]
                if kinds["truth"]:
                    truth = verdict(summary, compared, reference, kinds["truth"])
                    lines += [f"Against the known sources: {truth}", ""]
                if kinds["areas"]:
                    at_sizes = verdict(summary, compared, reference, AREAS)
                    lines += [f"At equal sizes of the mask: {at_sizes}", ""]
            shares = benchmark.shares(condition)
            if shares:
                curves = means_by(
                    curves_of(rows, shares),
                    ["method", "share"],
                    [score.name for score in CURVES],
                    seed=seed,
                )
                tables["curves"].append(named(curves, condition, block))
                picture = f"curves_{condition}_{block}.png"
                write_curves(curves, CURVES, folder / picture, f"{condition}, {block}")
                lines += [f"![Faithfulness at equal sizes of the mask]({picture})", ""]
        columns = [m for m in benchmark.metrics if m is not AD_DOUBLE_SOFTMAX]
        caption = f"{condition}: {opened.description}"
        latex.append(latex_table(summaries, caption, columns))
    for name, parts in tables.items():
        write_csv(pd.concat(parts, ignore_index=True), folder / f"{name}.csv")
    if sanity is not None:
        write_csv(sanity, folder / "sanity.csv")
        lines += ["## Sanity: a randomised classifier", ""]
        for block, table in sanity.groupby("block", sort=False):
            means = means_by(
                table,
                ["method", "step", "layer"],
                [score.name for score in SIMILARITIES],
                seed=seed,
            )
            picture = f"sanity_{block}.png"
            write_sanity(means, SIMILARITIES, folder / picture, block)
            lines += [f"### {block}", "", *sanity_table(means, SIMILARITIES), ""]
            lines += [f"![Similarity with the masks before]({picture})", ""]
    lines += [HOW_TO_READ, "", *descriptions(used.values())]
    write_text("\n".join(lines) + "\n", folder / "summary.md")
    write_text("\n".join(latex), folder / "summary.tex")


def rows_of(per_clip, condition, block):
    """The rows of one condition and block."""
    here = per_clip["condition"].eq(condition) & per_clip["block"].eq(block)
    return per_clip[here]


def named(table, condition, block):
    """A table with its condition and block in front."""
    return table.assign(condition=condition, block=block)[
        ["condition", "block", *table.columns]
    ]
