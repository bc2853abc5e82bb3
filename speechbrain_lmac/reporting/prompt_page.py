"""Results page and tables of the zero-shot prompt checks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from speechbrain_lmac.evaluation.paired_tests import compare, means_by
from speechbrain_lmac.evaluation.prompt_checks import (
    ABSENT,
    OVERALL,
    RISES,
    SCORES,
    SWAP,
    clip_scores,
    overall_correlation,
)
from speechbrain_lmac.metrics import Score
from speechbrain_lmac.plots.charts import write_relation
from speechbrain_lmac.reporting.markdown import (
    MarkdownPage,
    placed,
    row_of,
    table_lines,
)
from speechbrain_lmac.reporting.paper_order import in_paper_order
from speechbrain_lmac.reporting.sanity_page import add_sanity
from speechbrain_lmac.reporting.tables import (
    comparison_note,
    comparison_table,
    descriptions,
    title,
    with_limits,
)

KINDS = {True: "of its class", False: "of another"}  # of prompts, for a clip
HOW_TO_READ = (
    "Mean [95 % interval, percentile bootstrap over clips, each with all its mixtures] "
    "of those with a finite score; ↑ higher is better, ↓ lower is better. Empty: "
    "masks, of all clips and prompts, that are 0 everywhere. Non-finite: clips without "
    "one of the scores. All values: prompts.csv (a row per clip and prompt), swaps.csv "
    "(per clip and pair of prompts), per_clip.csv, summary.csv."
)


def write_checks(
    folder: str | Path,
    prompts: pd.DataFrame,
    swaps: pd.DataFrame,
    sanity: pd.DataFrame,
    header: Sequence[str],
    seed: int,
    reference: str | None = None,
) -> None:
    """Write `prompts.csv`, `swaps.csv`, `per_clip.csv`, `summary.csv`, `summary.md`.

    With a reference also `comparison.csv`, and for each condition and block the
    pictures `size_...png` and `swap_...png`; `sanity.csv` and `sanity_BLOCK.png`. Each
    file is written atomically.

    Arguments
    ---------
    folder : str or Path
    prompts, swaps : pandas.DataFrame
        From `explain_prompts`, with leading columns `condition block method`.
    sanity : pandas.DataFrame
        From `Benchmark.check_sanity`.
    header : sequence of str
        Command, data, seed and versions.
    seed : int
        Seed of the bootstraps.
    reference : str, optional
        The method that the others are compared with, paired by clip.
    """
    folder = Path(folder)
    page = MarkdownPage("Prompt checks", header)
    page.add_rows("prompts", prompts)
    page.add_rows("swaps", swaps)
    for (condition, block), prompted in prompts.groupby(
        ["condition", "block"], sort=False
    ):
        here = swaps["condition"].eq(condition) & swaps["block"].eq(block)
        swapped = swaps[here]
        per_clip = pd.concat(
            [
                clip_scores(rows, swapped[swapped["method"] == method]).assign(
                    method=method
                )
                for method, rows in prompted.groupby("method", sort=False)
            ],
            ignore_index=True,
        )
        summary = pd.concat(
            [
                means_by(per_clip, ["method"], [s.name for s in SCORES], seed=seed),
                overall_rows(prompted, seed),
            ],
            ignore_index=True,
        )
        where = {"condition": condition, "block": block}
        page.add_rows("per_clip", placed(per_clip, **where))
        page.add_rows("summary", placed(summary, **where))
        name, about = f"{condition}_{block}.png", f"{condition}, {block}"
        write_relation(
            prompted.assign(
                prompt=prompted["right"].map(
                    {True: "of its class", False: "of another"}
                )
            ),
            "similarity",
            "mask_mean",
            "prompt",
            folder / f"size_{name}",
            f"{about}: mask mean and clip-prompt similarity",
        )
        write_relation(
            swapped.assign(pair="of prompts"),
            "text_distance",
            "swap_distance",
            "pair",
            folder / f"swap_{name}",
            f"{about}: distances between masks of a clip, and between prompts",
        )
        n_clips = per_clip["id"].nunique()
        n_prompts = prompted["prompt"].nunique()
        page.add(
            f"## {about}: {n_clips} clips, {n_prompts} prompts",
            "### Mask mean and similarity",
            checks_table(summary, (RISES, OVERALL), prompted),
            verdict(summary, RISES),
            f"![Mask mean and similarity](size_{name})",
            "### Absent classes",
            checks_table(summary, ABSENT),
            verdict(summary, ABSENT[2]),
            "### Prompt swap",
            checks_table(summary, SWAP),
            f"![Masks and prompts](swap_{name})",
        )
        if reference is not None and reference in set(per_clip["method"]):
            compared = compare(per_clip, reference, SCORES, seed=seed)
            page.add_rows("comparison", placed(compared, **where))
            page.add(
                f"### {reference} against the others",
                comparison_table(compared, reference, SCORES),
                comparison_note(compared),
            )
    heading = "Sanity check: randomised audio encoder, deepest layer first"
    add_sanity(page, sanity, folder, seed, heading, about="{block}: {n_clips} clips")
    page.add(HOW_TO_READ, descriptions((RISES, OVERALL, *ABSENT, *SWAP)))
    page.write(folder / "summary.md")


def overall_rows(prompts: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return `OVERALL` of each method, in the columns of `paired_tests.means_by`."""
    rows = []
    for method, own in prompts.groupby("method", sort=False):
        mean, low, high = overall_correlation(own, seed=seed)
        finite = np.isfinite(own[["similarity", "mask_mean"]]).all(axis=1)
        valid = finite.groupby(own["id"]).all()
        rows.append(
            {
                "method": method,
                "score": OVERALL.name,
                "mean": mean,
                "low": low,
                "high": high,
                "n": int(valid.sum()),
                "non_finite": int((~valid).sum()),
            }
        )
    return pd.DataFrame(rows)


def checks_table(
    summary: pd.DataFrame,
    scores: Sequence[Score],
    prompts: pd.DataFrame | None = None,
) -> list[str]:
    """Return a Markdown table: a row per method, mean and interval of each score.

    Arguments
    ---------
    summary : pandas.DataFrame
        In the columns of `paired_tests.means_by`, by `method`.
    scores : sequence of Score
    prompts : pandas.DataFrame, optional
        Rows of `explain_prompts`, for a column with the number of empty masks.

    Returns
    -------
    lines : list of str
    """
    titles = ["method", *map(title, scores), "non-finite"]
    titles += [] if prompts is None else ["empty"]
    lines = table_lines(titles)
    rows = summary.set_index(["method", "score"])
    for method in in_paper_order(summary.drop_duplicates("method"))["method"]:
        cells: list[object] = [method]
        non_finite = 0
        for score in scores:
            row = rows.loc[(method, score.name)]
            cells.append(with_limits(row["mean"], row["low"], row["high"], score))
            non_finite = max(non_finite, int(row["non_finite"]))
        cells.append(non_finite)
        if prompts is not None:
            cells.append(prompts.loc[prompts["method"] == method, "empty_mask"].sum())
        lines.append(row_of(cells))
    return lines


def verdict(summary: pd.DataFrame, score: Score) -> str:
    """Return a line with the methods whose interval of a score is above 0.

    Example
    -------
    >>> rows = {"method": ["a", "b"], "score": "s", "low": [0.1, -0.2], "high": 0.4}
    >>> from speechbrain_lmac.metrics import Score
    >>> verdict(pd.DataFrame(rows), Score("s", True, "", ""))
    's, interval above 0: a.'
    """
    positive = summary[(summary["score"] == score.name) & (summary["low"] > 0)]
    names = ", ".join(positive["method"]) or "no method"
    return f"{score.name}, interval above 0: {names}."
