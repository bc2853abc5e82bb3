"""Ablation tables: experiments that differ from a parent in one setting.

Each row is an experiment; the line below it gives the ablated setting and the scores
that differ from those of the parent on the same clips.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from speechbrain_lmac.config.inheritance import find_hparams, parents_of, read_tree
from speechbrain_lmac.config.loading import check_keys
from speechbrain_lmac.evaluation.paired_tests import compare, false_discovery
from speechbrain_lmac.evaluation.statistics import summarise
from speechbrain_lmac.metrics import Score
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

    name: str  # name of its row
    path: Path  # its YAML file
    parent: str | None  # name of the row it is compared with
    what: str  # its description, the first line of the YAML file


def read_ablations(
    experiments: Mapping[str, Any], folder: str | Path
) -> list[Ablation]:
    """Read the experiments listed under `experiments` in a YAML.

    Arguments
    ---------
    experiments : dict
        Row name to a YAML file, or to YAML text (see `config.listed_experiments`). An
        experiment is compared with its nearest ancestor among the rows above it, or
        otherwise with the first row.
    folder : str or Path
        Folder in which YAML texts are saved as experiment files.

    Returns
    -------
    ablations : list of Ablation

    Raises
    ------
    InputError
        For a missing or unreadable file, an unknown key, or a parent whose row is
        below; for YAML text also if the parent has no row. The message names the row.
    """
    paths = {name: _file_of(name, experiments[name], folder) for name in experiments}
    files = {path.resolve() for path in paths.values()}
    ablations: list[Ablation] = []
    above: dict[Path, str] = {}
    for name, path in paths.items():
        with _naming(name):
            read_tree(path)
            check_keys(path)
        parents = [parent.resolve() for parent in parents_of(path)]
        for nearest in parents[:1]:
            listed = nearest in files or "\n" in experiments[name]
            if nearest not in above and listed:
                raise InputError(
                    f"{name}: its parent {nearest.name} must be listed above it"
                )
        first = ablations[0].name if ablations else None
        parent = next((above[p] for p in parents if p in above), first)
        text = path.read_text(encoding="utf-8")
        what = text.splitlines()[0].lstrip("# ").split(". ")[0].rstrip(".")
        ablations.append(Ablation(name, path, parent, what))
        above[path.resolve()] = name
    return ablations


def _file_of(name: str, experiment: object, folder: str | Path) -> Path:
    """Return the YAML file of a row; if the row is YAML text, write it first."""
    if not isinstance(experiment, str):
        raise InputError(f"{name}: expected a YAML file, or a mapping with `parent`")
    if "\n" not in experiment:
        with _naming(name):
            return find_hparams(experiment)
    path = Path(folder) / f"{quote(str(name), safe=' ,=+')}.yaml"
    write_text(experiment, path)
    return path


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Prefix an InputError with the name of a row."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def ablation_page(
    ablations: Sequence[Ablation],
    per_clip: pd.DataFrame,
    scores: Sequence[Score],
    condition: str,
    header: Sequence[str],
    seed: int = 1234,
) -> MarkdownPage:
    """Return the results page of a condition: the table and notes.

    Arguments
    ---------
    ablations : sequence of Ablation
    per_clip : pandas.DataFrame
        From `evaluate.evaluate`; `method` is the name of a row.
    scores : sequence of Score
    condition : str
        Name of the condition.
    header : sequence of str
        Provenance of the numbers.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    page : MarkdownPage
        With the tables `summary` and `comparison`.
    """
    page = MarkdownPage("Evaluation", header)
    summary = summarise(per_clip, scores, seed=seed)
    page.add_rows("summary", summary.assign(condition=condition))
    tables = _with_parents(ablations, per_clip, scores, seed)
    for table in tables.values():
        page.add_rows("comparison", table.assign(condition=condition))
    lines = table_lines(["experiment", *map(title, scores)])
    for ablation in ablations:
        (row,) = summary[summary["method"] == ablation.name].to_dict("records")
        lines.append(
            row_of([f"**{ablation.name}**", *(interval(row, s) for s in scores)])
        )
        note = ablation.what
        if ablation.parent is not None:
            table = tables[ablation.name]
            note += f". {reading(table, ablation.parent, scores)}"
        lines.append(row_of([f"*{note}*", *[""] * len(scores)]))
    page.add(lines, READ_ROWS, HOW_TO_READ, descriptions(scores))
    return page


def _with_parents(
    ablations: Sequence[Ablation],
    per_clip: pd.DataFrame,
    scores: Sequence[Score],
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Compare each experiment with its parent; q is over all tests of the page."""
    tables = {}
    for ablation in ablations:
        if ablation.parent is not None:
            pair = per_clip[per_clip["method"].isin([ablation.name, ablation.parent])]
            tables[ablation.name] = compare(pair, ablation.name, scores, seed=seed)
    if tables:
        both = pd.concat(tables)
        both["q"] = false_discovery(both["p"])
        tables = {name: both.loc[name] for name in tables}
    return tables


FALSE_SHARE = 0.05  # largest q of a difference that is listed
READ_ROWS = (
    "Under each row: the mean difference from the row it names on the same clips, of "
    "the scores whose 95 % interval (percentile bootstrap over clips, each with all "
    f"its mixtures) excludes 0, and whose q is below {FALSE_SHARE:g} (two-sided "
    "Wilcoxon signed-rank test of the clips' mean differences, adjusted for the false "
    "discovery rate over all tests of the condition)."
)


def reading(comparison: pd.DataFrame, parent: str, scores: Sequence[Score]) -> str:
    """Return a line on the scores in which an experiment differs from its parent.

    Arguments
    ---------
    comparison : pandas.DataFrame
        From `paired_tests.compare`, with the experiment as the reference and the parent
        as the other method.
    parent : str
        Name of the parent's row.
    scores : sequence of Score

    Returns
    -------
    line : str
        Lists better and worse scores, and those without a direction, each with its
        difference and interval.
    """
    groups: dict[str, list[str]] = {"better": [], "worse": [], "changed": []}
    rows = comparison.set_index("metric")
    for score in scores:
        row = rows.loc[score.name]
        outside = row["low"] > 0 or row["high"] < 0
        if not (outside and row["q"] < FALSE_SHARE):
            continue
        group = "changed"
        if score.higher_is_better is not None:
            group = "better" if row["reference_better"] else "worse"
        sign = "+" if row["difference"] > 0 else ""
        shown = with_limits(row["difference"], row["low"], row["high"], score)
        groups[group].append(f"{score.name} {sign}{shown}")
    lines = [f"{group}: {', '.join(found)}" for group, found in groups.items() if found]
    if not lines:
        return f"No score differs from {parent}'s by more than chance"
    return f"Against {parent} {'; '.join(lines)}"
