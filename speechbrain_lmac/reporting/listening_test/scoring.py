"""What many people said of a listening test: checked, and as mean opinion scores."""

import json
import math
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

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

CHECK_TOLERANCE = 4  # of ten times the number of beeps
INPUT = ""  # the method of the input itself in the key


@dataclass
class Answers:
    """What was said, by whom, and who was left out and why."""

    ratings: pd.DataFrame  # participant trial question stimulus clip method value
    left_out: list = field(default_factory=list)  # (who, why)

    @property
    def participants(self) -> list[str]:
        """Who is scored."""
        return list(dict.fromkeys(self.ratings["participant"]))


def read_test(folder: Path | str) -> tuple:
    """The key and the record of a test.

    Raises
    ------
    InputError
        When the folder is not one of `listening_test.py create`.
    """
    folder = Path(folder)
    try:
        key = read_csv(folder / KEY_FILE, dtype=str)
        record = json.loads((folder / TEST_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds no listening test: {error}") from error
    return key, record


def read_answers(files: list[Path], key: pd.DataFrame, record: dict) -> Answers:
    """Read the files of participants, and leave out who cannot be scored.

    Arguments
    ---------
    files : sequence of str or Path
        JSON of our page, a file for each participant; csv of webMUSHRA (`lms.csv`).
    key : pandas.DataFrame
    record : dict
        From `read_test`.

    Returns
    -------
    answers : Answers

    Raises
    ------
    InputError
        When nobody can be scored, or a file is neither.
    """
    people, left_out = {}, []
    for file in map(Path, files):
        found = (
            _from_webmushra(file, record)
            if file.suffix.lower() == ".csv"
            else _from_page(file, record)
        )
        for who, rows, why in found:
            if who in people:
                why = "there twice: the first file counts"
            elif why is None:
                why = _incomplete(rows, key, record)
            if why is None:
                people[who] = rows
            else:
                left_out.append((who, f"{file.name}: {why}"))
    if not people:
        told = "\n  ".join(f"{who}: {why}" for who, why in left_out)
        raise InputError(f"nobody can be scored:\n  {told or 'no file was named'}")
    rows = pd.concat(
        [rows.assign(participant=who) for who, rows in people.items()],
        ignore_index=True,
    )
    behind = key.drop_duplicates("stimulus").set_index("stimulus")
    rows["method"] = rows["stimulus"].map(behind["method"])
    rows["clip"] = rows["stimulus"].map(behind["clip"])
    return Answers(rows, left_out)


def _from_page(file: Path, record: dict) -> list:
    """(participant, ratings, why left out) of a file of our page."""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        rows = pd.DataFrame(said["ratings"])[["trial", "stimulus", "question", "value"]]
        who = str(said["participant"])
        rows["value"] = pd.to_numeric(rows["value"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [(file.name, None, f"is not readable ({type(error).__name__}: {error})")]
    if said.get("test_id") != record["test_id"]:
        return [(who, None, f"is of another test, {said.get('test_id')}")]
    answer = said.get(CHECK)
    if answer is None or abs(answer - record["check_answer"]) > CHECK_TOLERANCE:
        why = (
            f"failed the attention check: {answer} for {record['check_answer']}, "
            f"ten times the number of beeps"
        )
        return [(who, None, why)]
    return [(who, rows, None)]


def _from_webmushra(file: Path, record: dict) -> list:
    """The same of the csv that webMUSHRA writes for all participants."""
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
        table = table.rename(columns=str.strip)
        needed = ["session_test_id", "trial_id", "stimuli_rating", "stimuli"]
        table[needed]
    except (OSError, ValueError, KeyError) as error:
        return [(file.name, None, f"is no lms.csv of webMUSHRA ({error})")]
    who = "participant" if "participant" in table else "session_uuid"
    if who not in table:
        return [(file.name, None, "has no column participant")]
    table = table[table["session_test_id"].str.strip() == record["test_id"]]
    if table.empty:
        return [(file.name, None, f"has nothing of the test {record['test_id']}")]
    found = []
    for name, own in table.groupby(who, sort=False):
        split = own["trial_id"].str.strip().str.rsplit("_", n=1, expand=True)
        rows = pd.DataFrame(
            {
                "trial": split[0],
                "question": split[1],
                "stimulus": own["stimuli"].str.strip(),
                "value": pd.to_numeric(own["stimuli_rating"], errors="coerce"),
            }
        )
        found.append((str(name).strip() or "nameless", rows, None))
    return found


def _incomplete(rows: pd.DataFrame, key: pd.DataFrame, record: dict) -> str | None:
    """Why the ratings of a participant are not those of the test, or None."""
    wanted = key[(key["trial"] != TRAINING) & (key["method"] != INPUT)]
    wanted = {
        (trial, stimulus, question)
        for trial, stimulus in zip(wanted["trial"], wanted["stimulus"], strict=True)
        for question in record["questions"]
    }
    given = list(zip(rows["trial"], rows["stimulus"], rows["question"], strict=True))
    if len(given) != len(set(given)):
        return "some ratings are there twice"
    if unknown := set(given) - wanted:
        return f"has ratings of what the test does not have: {sorted(unknown)[0]}"
    missing = len(wanted - set(given)) + int(rows["value"].isna().sum())
    if missing:
        return f"is incomplete: {missing} of {len(wanted)} ratings are missing"
    if not rows["value"].between(LOWEST, HIGHEST).all():
        return f"has ratings that are not in {LOWEST} to {HIGHEST}"
    return None


def opinion_scores(answers: Answers, level: float = 0.95) -> pd.DataFrame:
    """The mean opinion score of each method, for each question.

    The mean over participants of each one's mean over clips, with Student's interval
    over participants: what one person says of nine clips is not nine opinions.

    Returns
    -------
    scores : pandas.DataFrame
        Columns `question method mos low high n`, the highest first; n participants.
        With one participant there is no interval: NaN.
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
    """Each pair of methods on the same participants.

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
        for row, corrected in zip(
            found, holm([row["p"] for row in found]), strict=True
        ):
            rows.append({**row, "p_holm": corrected})
    columns = "question method other difference p p_holm n".split()
    return pd.DataFrame(rows, columns=columns)


def holm(p_values: list[float]) -> list[float]:
    """Holm's correction of p values for their number, in their order.

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
    """The mean over clips of each participant, method and question."""
    keys = ["question", "method", "participant"]
    return answers.ratings.groupby(keys, sort=False, as_index=False)["value"].mean()
