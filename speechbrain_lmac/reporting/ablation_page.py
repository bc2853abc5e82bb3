"""Ablations: trainings that differ from a parent by one thing, in one table.

Each row of the table is an experiment; the line under it says what is ablated and in
which scores it differs from its parent on the same clips.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from speechbrain_lmac.config.inheritance import find_hparams, parents_of, read_tree
from speechbrain_lmac.config.loading import check_keys
from speechbrain_lmac.evaluation.paired_tests import compare
from speechbrain_lmac.evaluation.statistics import summarise
from speechbrain_lmac.reporting.markdown import MarkdownPage, row_of, table_lines
from speechbrain_lmac.reporting.tables import (
    HOW_TO_READ,
    descriptions,
    interval,
    title,
    with_limits,
)
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import write_text


@dataclass(frozen=True)
class Ablation:
    """One experiment of the table."""

    name: str  # of its row
    path: Path  # its YAML
    parent: str | None  # the row it is compared with
    what: str  # the first line of its YAML


def read_ablations(experiments: dict, folder: Path) -> list[Ablation]:
    """What a YAML lists as `experiments`.

    Arguments
    ---------
    experiments : dict
        Name of a row to a YAML file, or to the text of one (see
        `config.listed_experiments`). It is compared with the row of the nearest of its
        parents that has one, above it; else with the first row.
    folder : str or Path
        Where the texts are written, each as a file that can be trained by hand.

    Returns
    -------
    ablations : list
        Of Ablation.

    Raises
    ------
    InputError
        Naming the row, for a file that is missing or cannot be read, a misspelt key,
        and a parent whose row stands below; for a text also for one that has no row.
    """
    paths = {name: _file_of(name, experiments[name], folder) for name in experiments}
    files = {path.resolve() for path in paths.values()}
    ablations, above = [], {}
    for name, path in paths.items():
        with _naming(name):
            read_tree(path)
            check_keys(path)
        parents = [parent.resolve() for parent in parents_of(path)]
        for named in parents[:1]:
            if named not in above and (named in files or "\n" in experiments[name]):
                raise InputError(
                    f"{name} is compared with its parent {named.name}: list that above "
                    "it"
                )
        first = ablations[0].name if ablations else None
        parent = next((above[p] for p in parents if p in above), first)
        text = path.read_text(encoding="utf-8")
        what = text.splitlines()[0].lstrip("# ").split(". ")[0].rstrip(".")
        ablations.append(Ablation(name, path, parent, what))
        above[path.resolve()] = name
    return ablations


def _file_of(name: str, experiment, folder: Path) -> Path:
    """The YAML file of a row, written where it is a text."""
    if not isinstance(experiment, str):
        raise InputError(f"{name}: name a YAML file, or what it is and its parent")
    if "\n" not in experiment:
        with _naming(name):
            return find_hparams(experiment)
    path = Path(folder) / f"{quote(str(name), safe=' ,=+')}.yaml"
    write_text(experiment, path)
    return path


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Let an error begin with the name of a row."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def ablation_page(
    ablations: list[Ablation],
    per_clip: pd.DataFrame,
    scores: list | tuple,
    condition: str,
    header: list[str],
    seed: int = 1234,
) -> MarkdownPage:
    """The page of a condition: the table, and how to read it.

    Arguments
    ---------
    ablations : list
        Of Ablation.
    per_clip : pandas.DataFrame
        From `evaluate.evaluate`, the rows as methods.
    scores : sequence
        Of Score.
    condition : str
        Its name.
    header : list
        Of str.
    seed : int
        Of the bootstrap.

    Returns
    -------
    page : MarkdownPage
        With the tables `summary` and `comparison`.
    """
    page = MarkdownPage("Evaluation", header)
    summary = summarise(per_clip, scores, seed=seed)
    page.add_rows("summary", summary.assign(condition=condition))
    lines = table_lines(["experiment", *map(title, scores)])
    for ablation in ablations:
        (row,) = summary[summary["method"] == ablation.name].to_dict("records")
        lines.append(
            row_of([f"**{ablation.name}**", *(interval(row, s) for s in scores)])
        )
        told = ablation.what
        if ablation.parent is not None:
            pair = per_clip[per_clip["method"].isin([ablation.name, ablation.parent])]
            table = compare(pair, ablation.name, scores, seed=seed)
            page.add_rows("comparison", table.assign(condition=condition))
            told += f". {reading(table, ablation.parent, scores)}"
        lines.append(row_of([f"*{told}*", *[""] * len(scores)]))
    page.add(lines, READ_ROWS, HOW_TO_READ, descriptions(scores))
    return page


READ_ROWS = (
    "Under each row: the mean difference from the row it names on the same clips, of "
    "the scores whose 95 % interval (percentile bootstrap over clips) excludes 0. Not "
    "corrected for the number of scores."
)


def reading(comparison: pd.DataFrame, parent: str, scores: list | tuple) -> str:
    """A line that says where an experiment differs from its parent.

    Arguments
    ---------
    comparison : pandas.DataFrame
        From `paired_tests.compare` of these two, with the experiment as reference.
    parent : str
        Name of the parent's row.
    scores : sequence
        Of Score.

    Returns
    -------
    line : str
        Scores that are better, worse, and without a direction, each with difference
        and interval; or that there are none.
    """
    groups = {"better": [], "worse": [], "changed": []}
    rows = comparison.set_index("metric")
    for score in scores:
        row = rows.loc[score.name]
        if not (row["low"] > 0 or row["high"] < 0):
            continue
        group = "changed"
        if score.higher_is_better is not None:
            group = "better" if row["reference_better"] else "worse"
        sign = "+" if row["difference"] > 0 else ""
        shown = with_limits(row["difference"], row["low"], row["high"], score)
        groups[group].append(f"{score.name} {sign}{shown}")
    told = [f"{group}: {', '.join(found)}" for group, found in groups.items() if found]
    if not told:
        return f"No score differs from {parent}'s by more than its interval"
    return f"Against {parent} {'; '.join(told)}"
