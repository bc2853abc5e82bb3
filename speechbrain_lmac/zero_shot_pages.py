"""What `zero_shot_checks` found, as tables, pictures and a page."""

from pathlib import Path

import numpy as np
import pandas as pd

from speechbrain_lmac.comparison import compare, means_by
from speechbrain_lmac.csv_files import write_csv
from speechbrain_lmac.files import write_text
from speechbrain_lmac.sanity import SIMILARITIES
from speechbrain_lmac.tables import (
    comparison_table,
    descriptions,
    in_paper_order,
    number,
    row_of,
    sanity_table,
    table_lines,
    title,
)
from speechbrain_lmac.visualize import write_relation, write_sanity
from speechbrain_lmac.zero_shot_checks import (
    ABSENT,
    OVERALL,
    RISES,
    SCORES,
    SWAP,
    clip_scores,
    overall_correlation,
)

HOW_TO_READ = (
    "Mean [95 % interval, percentile bootstrap over clips] of the clips with a finite "
    "score; ↑ higher is better, ↓ lower is better. Empty: masks, of all clips and "
    "prompts, that are 0 everywhere. Non-finite: clips without one of the scores. All "
    "values: prompts.csv (a row per clip and prompt), swaps.csv (per clip and pair of "
    "prompts), per_clip.csv, summary.csv."
)


def write_checks(folder, prompts, swaps, sanity, header, seed, reference=None):
    """Write `prompts.csv`, `swaps.csv`, `per_clip.csv`, `summary.csv`, `summary.md`.

    With a reference also `comparison.csv`, and for each condition and block the
    pictures `size_...png` and `swap_...png`; `sanity.csv` and `sanity_BLOCK.png`. Each
    file is written atomically.

    Arguments
    ---------
    folder : str or Path
    prompts, swaps : pandas.DataFrame
        From `explain_prompts`, with the columns `condition block method` before.
    sanity : pandas.DataFrame
        From `Benchmark.check_sanity`.
    header : list
        Of str: the command, the data, the seed, the versions.
    seed : int
        Of the bootstraps.
    reference : str, optional
        The method that the others are compared with, clip by clip.
    """
    folder = Path(folder)
    write_csv(prompts, folder / "prompts.csv")
    write_csv(swaps, folder / "swaps.csv")
    lines = ["# Prompt checks", "", *(f"- {line}" for line in header), ""]
    tables = {"per_clip": [], "summary": [], "comparison": []}
    for (condition, block), asked in prompts.groupby(
        ["condition", "block"], sort=False
    ):
        here = swaps["condition"].eq(condition) & swaps["block"].eq(block)
        swapped = swaps[here]
        per_clip = pd.concat(
            [
                clip_scores(rows, swapped[swapped["method"] == method]).assign(
                    method=method
                )
                for method, rows in asked.groupby("method", sort=False)
            ],
            ignore_index=True,
        )
        summary = pd.concat(
            [
                means_by(per_clip, ["method"], [s.name for s in SCORES], seed=seed),
                overall_rows(asked, seed),
            ],
            ignore_index=True,
        )
        where = {"condition": condition, "block": block}
        tables["per_clip"].append(placed(per_clip, where))
        tables["summary"].append(placed(summary, where))
        name, about = f"{condition}_{block}.png", f"{condition}, {block}"
        write_relation(
            asked.assign(
                prompt=asked["right"].map({True: "of its class", False: "of another"})
            ),
            "similarity",
            "mask_mean",
            "prompt",
            folder / f"size_{name}",
            f"{about}: mask mean and similarity of clip and prompt",
        )
        write_relation(
            swapped.assign(pair="of prompts"),
            "text_distance",
            "swap_distance",
            "pair",
            folder / f"swap_{name}",
            f"{about}: distance of two masks of a clip, and of their prompts",
        )
        n_clips = per_clip["id"].nunique()
        n_prompts = asked["prompt"].nunique()
        lines += [f"## {about}: {n_clips} clips, {n_prompts} prompts", ""]
        lines += ["### Mask mean and similarity", ""]
        lines += [*checks_table(summary, (RISES, OVERALL), asked), ""]
        lines += [verdict(summary, RISES), ""]
        lines += [f"![Mask mean and similarity](size_{name})", ""]
        lines += ["### Sounds that are not there", ""]
        lines += [*checks_table(summary, ABSENT), ""]
        lines += [verdict(summary, ABSENT[2]), ""]
        lines += ["### Prompt swap", ""]
        lines += [*checks_table(summary, SWAP), ""]
        lines += [f"![Masks and prompts](swap_{name})", ""]
        if reference in set(per_clip["method"]):
            compared = compare(per_clip, reference, SCORES, seed=seed)
            tables["comparison"].append(placed(compared, where))
            lines += [f"### {reference} against the others", ""]
            lines += [*comparison_table(compared, reference, SCORES), ""]
    for name, parts in tables.items():
        if parts:
            write_csv(pd.concat(parts, ignore_index=True), folder / f"{name}.csv")
    lines += sanity_lines(sanity, folder, seed)
    lines += [HOW_TO_READ, "", *descriptions((RISES, OVERALL, *ABSENT, *SWAP))]
    write_text("\n".join(lines) + "\n", folder / "summary.md")


def overall_rows(prompts, seed):
    """`OVERALL` of each method, in the columns of `comparison.means_by`."""
    rows = []
    for method, asked in prompts.groupby("method", sort=False):
        mean, low, high = overall_correlation(asked, seed=seed)
        finite = np.isfinite(asked[["similarity", "mask_mean"]]).all(axis=1)
        good = finite.groupby(asked["id"]).all()
        rows.append(
            {
                "method": method,
                "score": OVERALL.name,
                "mean": mean,
                "low": low,
                "high": high,
                "n": int(good.sum()),
                "non_finite": int((~good).sum()),
            }
        )
    return pd.DataFrame(rows)


def sanity_lines(sanity, folder, seed):
    """What the page says of the randomised encoder; writes its csv and pictures."""
    write_csv(sanity, folder / "sanity.csv")
    lines = ["## The audio encoder randomised, the deepest layer first", ""]
    for block, table in sanity.groupby("block", sort=False):
        names = [score.name for score in SIMILARITIES]
        means = means_by(table, ["method", "step", "layer"], names, seed=seed)
        picture = f"sanity_{block}.png"
        write_sanity(means, SIMILARITIES, folder / picture, block)
        n_clips = table["id"].nunique()
        lines += [f"### {block}: {n_clips} clips", ""]
        lines += [*sanity_table(means, SIMILARITIES), ""]
        lines += [f"![Similarity with the masks before]({picture})", ""]
    return lines


def placed(table, where):
    """A table with what it is about in front."""
    return table.assign(**where)[[*where, *table.columns]]


def checks_table(summary, scores, prompts=None):
    """Lines of a Markdown table: a row per method, mean and interval of each score.

    Arguments
    ---------
    summary : pandas.DataFrame
        In the columns of `comparison.means_by`, by `method`.
    scores : sequence
        Of Score.
    prompts : pandas.DataFrame, optional
        Whose empty masks are counted, too.
    """
    titles = ["method", *map(title, scores), "non-finite"]
    titles += [] if prompts is None else ["empty"]
    lines = table_lines(titles)
    rows = summary.set_index(["method", "score"])
    for method in in_paper_order(summary.drop_duplicates("method"))["method"]:
        cells, non_finite = [method], 0
        for score in scores:
            row = rows.loc[(method, score.name)]
            mean, low, high = (number(row[c], score) for c in ("mean", "low", "high"))
            cells.append("–" if mean == "–" else f"{mean} [{low}, {high}]")
            non_finite = max(non_finite, int(row["non_finite"]))
        cells.append(non_finite)
        if prompts is not None:
            cells.append(prompts.loc[prompts["method"] == method, "empty_mask"].sum())
        lines.append(row_of(cells))
    return lines


def verdict(summary, score):
    """A line that names the methods whose interval of a score lies above 0.

    Example
    -------
    >>> rows = {"method": ["a", "b"], "score": "s", "low": [0.1, -0.2], "high": 0.4}
    >>> from speechbrain_lmac.metrics import Score
    >>> verdict(pd.DataFrame(rows), Score("s", True, "", ""))
    's, interval above 0: a.'
    """
    good = summary[(summary["score"] == score.name) & (summary["low"] > 0)]
    return (
        f"{score.name}, interval above 0: {', '.join(good['method']) or 'no method'}."
    )
