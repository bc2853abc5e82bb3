"""Validation of listening test answers, and mean opinion scores."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from speechbrain_lmac.evaluation.paired_tests import signed_rank_p
from speechbrain_lmac.reporting.listening_test.design import (
    CHECK,
    HIGHEST,
    KEY_FILE,
    LOWEST,
    TEST_FILE,
    TRAINING,
)
from speechbrain_lmac.utils.csv_files import read_csv
from speechbrain_lmac.utils.errors import InputError

CHECK_TOLERANCE = 4  # in the answer, ten times the number of beeps
INPUT = ""  # method name in the key of the unmodified input


@dataclass
class Answers:
    """The valid ratings, and the excluded participants."""

    ratings: pd.DataFrame  # participant trial question stimulus clip method value
    left_out: list[tuple[str, str]] = field(default_factory=list)  # who, why

    @property
    def participants(self) -> list[str]:
        """The scored participants."""
        return list(dict.fromkeys(self.ratings["participant"]))


def read_test(folder: Path | str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the key and the record of a test.

    Raises
    ------
    InputError
        If the folder was not written by `listening_test.py create`.
    """
    folder = Path(folder)
    try:
        key = read_csv(folder / KEY_FILE, dtype=str)
        record = json.loads((folder / TEST_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder} has no listening test ({error}): give the output folder of "
            "`listening_test.py create`"
        ) from error
    return key, record


def read_answers(
    files: Iterable[str | Path], key: pd.DataFrame, record: Mapping[str, Any]
) -> Answers:
    """Read the files of participants, and exclude invalid ones.

    Arguments
    ---------
    files : sequence of str or Path
        JSON files saved by the page of the test, one per participant.
    key : pandas.DataFrame
    record : dict
        Both from `read_test`.

    Returns
    -------
    answers : Answers

    Raises
    ------
    InputError
        If there is no valid participant.
    """
    people: dict[str, pd.DataFrame] = {}
    left_out = []
    for file in map(Path, files):
        who, rows, fault = _read_page(file, record)
        if who in people:
            fault = "duplicate participant: only the first file is used"
        elif fault is None:
            fault = _fault_of(rows, key, record)
        if fault is None:
            people[who] = rows
        else:
            left_out.append((who, f"{file.name}: {fault}"))
    if not people:
        reasons = "\n  ".join(f"{who}: {why}" for who, why in left_out)
        raise InputError(f"no valid participants:\n  {reasons or 'no files'}")
    ratings = pd.concat(
        [rows.assign(participant=who) for who, rows in people.items()],
        ignore_index=True,
    )
    stimuli = key.drop_duplicates("stimulus").set_index("stimulus")
    ratings["method"] = ratings["stimulus"].map(stimuli["method"])
    ratings["clip"] = ratings["stimulus"].map(stimuli["clip"])
    return Answers(ratings, left_out)


def _read_page(
    file: Path, record: Mapping[str, Any]
) -> tuple[str, pd.DataFrame, str | None]:
    """Return participant, ratings and the reason for exclusion, or None, of a file."""
    try:
        answers = json.loads(file.read_text(encoding="utf-8"))
        rows = pd.DataFrame(answers["ratings"])
        rows = rows[["trial", "stimulus", "question", "value"]]
        who = str(answers["participant"])
        rows["value"] = pd.to_numeric(rows["value"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"unreadable ({type(error).__name__}: {error})"
        return file.name, pd.DataFrame(), reason
    if answers.get("test_id") != record["test_id"]:
        return who, rows, f"from a different test, {answers.get('test_id')}"
    check = answers.get(CHECK)
    if check is None or abs(check - record["check_answer"]) > CHECK_TOLERANCE:
        reason = (
            f"failed the attention check: expected {record['check_answer']} (ten times "
            f"the number of beeps), got {check}"
        )
        return who, rows, reason
    return who, rows, None


def _fault_of(
    rows: pd.DataFrame, key: pd.DataFrame, record: Mapping[str, Any]
) -> str | None:
    """Return why the ratings of a participant are invalid, or None."""
    scored = key[(key["trial"] != TRAINING) & (key["method"] != INPUT)]
    expected = {
        (trial, stimulus, question)
        for trial, stimulus in zip(scored["trial"], scored["stimulus"], strict=True)
        for question in record["questions"]
    }
    rated = list(zip(rows["trial"], rows["stimulus"], rows["question"], strict=True))
    if len(rated) != len(set(rated)):
        return "duplicate ratings"
    if unknown := set(rated) - expected:
        return f"unknown rating: {sorted(unknown)[0]}"
    missing = len(expected - set(rated)) + int(rows["value"].isna().sum())
    if missing:
        return f"incomplete: {missing} of {len(expected)} ratings are missing"
    if not rows["value"].between(LOWEST, HIGHEST).all():
        return f"ratings must be from {LOWEST} to {HIGHEST}"
    return None


def opinion_scores(answers: Answers, level: float = 0.95) -> pd.DataFrame:
    """Return the mean opinion score of each method, for each question.

    Ratings are averaged over clips for each participant, then over participants. The
    interval is Student's t over participants, as ratings of one person are dependent.

    Arguments
    ---------
    answers : Answers
    level : float
        Confidence level of the interval, in (0, 1).

    Returns
    -------
    scores : pandas.DataFrame
        Columns `question method mos low high n`, sorted by descending score, for n
        participants. `low` and `high` are NaN for a single participant.
    """
    rows = []
    for (question, method), own in _means(answers).groupby(
        ["question", "method"], sort=False
    ):
        values = own["value"].to_numpy(dtype=float)
        half = math.nan
        if len(values) > 1:
            half = student.ppf((1 + level) / 2, len(values) - 1)
            half *= values.std(ddof=1) / math.sqrt(len(values))
        mos = values.mean()
        rows.append(
            {
                **{"question": question, "method": method, "mos": mos},
                **{"low": mos - half, "high": mos + half, "n": len(values)},
            }
        )
    scores = pd.DataFrame(rows)
    order = {name: index for index, name in enumerate(scores["question"].unique())}
    scores["order"] = scores["question"].map(order)
    scores = scores.sort_values(["order", "mos"], ascending=[True, False])
    return scores.drop(columns="order").reset_index(drop=True)


def paired_tests(answers: Answers) -> pd.DataFrame:
    """Compare each pair of methods on the same participants.

    Returns
    -------
    pairs : pandas.DataFrame
        Columns `question method other difference p p_holm n`: the mean difference of
        participants' means, Wilcoxon's signed-rank test of it, and its p after Holm's
        correction over the pairs of the question.
    """
    rows = []
    for question, own in _means(answers).groupby("question", sort=False):
        table = own.pivot(index="participant", columns="method", values="value")
        order = table.mean().sort_values(ascending=False).index
        found = []
        for one, other in combinations(order, 2):
            differences = (table[one] - table[other]).to_numpy(dtype=float)
            found.append(
                {
                    **{"question": question, "method": one, "other": other},
                    **{"difference": differences.mean(), "n": len(differences)},
                    "p": signed_rank_p(np.sort(differences)),
                }
            )
        corrected = holm([row["p"] for row in found])
        rows += [{**row, "p_holm": p} for row, p in zip(found, corrected, strict=True)]
    columns = "question method other difference p p_holm n".split()
    return pd.DataFrame(rows, columns=columns)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values after Holm's correction, in their order.

    Example
    -------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def _means(answers: Answers) -> pd.DataFrame:
    """Return the mean over clips of each participant, method and question."""
    keys = ["question", "method", "participant"]
    return answers.ratings.groupby(keys, sort=False, as_index=False)["value"].mean()
