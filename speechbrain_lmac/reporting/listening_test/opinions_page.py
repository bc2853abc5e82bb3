"""Results page of a listening test: mean opinion scores."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from speechbrain_lmac.reporting.listening_test.scoring import Answers
from speechbrain_lmac.reporting.markdown import MarkdownPage, table_lines

HOW_TO_READ = (
    "MOS: mean over participants of their means over clips, 1 to 100; 95 % interval of "
    "Student's t over participants. p: Wilcoxon's signed-rank test on participants' "
    "means, after Holm's correction."
)


def opinion_page(
    record: Mapping[str, Any],
    answers: Answers,
    scores: pd.DataFrame,
    pairs: pd.DataFrame,
    command: str,
) -> MarkdownPage:
    """Return the page of a listening test.

    Arguments
    ---------
    record : dict
        From `scoring.read_test`.
    answers : scoring.Answers
    scores, pairs : pandas.DataFrame
        From `scoring.opinion_scores` and `scoring.paired_tests`.
    command : str
        Shown as the provenance.

    Returns
    -------
    page : MarkdownPage
    """
    clips = answers.ratings["clip"].nunique()
    page = MarkdownPage(
        record["title"],
        [
            f"command: `{command}`",
            f"{len(answers.participants)} participants, {clips} clips, "
            f"test {record['test_id']}, seed {record['seed']}",
            *(f"excluded: {who}: {why}" for who, why in answers.left_out),
        ],
    )
    page.add(HOW_TO_READ)
    for question, own in scores.groupby("question", sort=False):
        means = [
            [row.method, f"{row.mos:.1f}", f"{row.low:.1f} to {row.high:.1f}"]
            for row in own.itertuples()
        ]
        differences = [
            [row.method, row.other, f"{row.difference:.1f}", f"{row.p_holm:.2g}"]
            for row in pairs[pairs["question"] == question].itertuples()
        ]
        page.add(
            f"## {question}",
            table_lines(["method", "MOS", "95 % interval"], means),
            table_lines(["method", "other", "difference", "p"], differences),
        )
    return page
