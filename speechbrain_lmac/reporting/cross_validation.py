"""Cross-validation: run a recipe on several folds, and average its scores."""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from speechbrain_lmac.config.inheritance import find_hparams, top_level_keys
from speechbrain_lmac.config.loading import require_keys
from speechbrain_lmac.config.resolving import resolve
from speechbrain_lmac.config.run_options import read_command
from speechbrain_lmac.reporting.markdown import MarkdownPage, table_lines
from speechbrain_lmac.utils.console import quiet_options, show
from speechbrain_lmac.utils.csv_files import read_csv
from speechbrain_lmac.utils.errors import InputError

KEYS = ["condition", "block", "method"]  # of a row of `summary.csv`
# Suffixes of the columns of a score other than its mean in `summary.csv`.
SUFFIXES = ("_low", "_high", "_n")


def fold_runs(
    hparams_file: str, options: list[str], folds: Sequence[int]
) -> tuple[dict[int, Path], int]:
    """Return the output folder of each fold.

    Arguments
    ---------
    hparams_file : str
        A YAML with a key `fold`, whose `output_folder` depends on it.
    options : list of str
        Command-line options of the recipe after the YAML, without `--fold`.
    folds : sequence of int
        Distinct folds.

    Returns
    -------
    folders : dict
        Fold to its output folder; all have the same parent folder.
    seed : int
        Seed of the experiment.

    Raises
    ------
    InputError
        For a YAML without the key, a duplicate fold, `--fold` among the options, or an
        output folder shared by several folds.
    """
    path = find_hparams(hparams_file)
    if "fold" not in top_level_keys(path):
        raise InputError(
            f"{path} has no key 'fold' and cannot be cross-validated: run the recipe "
            "directly"
        )
    if any(o == "--fold" or o.startswith("--fold=") for o in options):
        raise InputError("--fold is set for each run: list the folds with --folds")
    if not folds or len(set(folds)) < len(folds):
        raise InputError(f"--folds must list distinct folds, got {list(folds)}")
    folders = {}
    for fold in folds:
        scalars = _scalars(path, [*options, f"--fold={fold}"])
        folders[fold] = Path(scalars["output_folder"])
    if len(set(folders.values())) < len(folds):
        raise InputError(
            f"several folds share the output folder {folders[folds[0]]}: its name must "
            "contain <fold>, e.g. --output_folder='!ref "
            "results/mine/<seed>/fold<fold>'"
        )
    parents = {folder.parent for folder in folders.values()}
    if len(parents) > 1:
        raise InputError(
            "the output folders of all folds must have the same parent folder, got "
            f"{', '.join(sorted(map(str, parents)))}"
        )
    return folders, scalars["seed"]


def _scalars(path: Path, options: list[str]) -> Any:
    """Return the top level of a YAML with resolved references, without building it."""
    _, _, overrides = read_command([str(path), *options], training=True)
    scalars = YAML().load(resolve(path, overrides))
    require_keys(scalars, ["output_folder", "seed"], path)
    return scalars


def run_folds(
    script: str | Path,
    hparams_file: str,
    options: list[str],
    folds: Iterable[int],
) -> None:
    """Run the recipe for each fold in turn, in its own process.

    Recipes resume, so calling this again after an interruption repeats little.

    Arguments
    ---------
    script : str or Path
        The recipe script.
    hparams_file, options, folds
        As for `fold_runs`.

    Raises
    ------
    InputError
        If a fold fails; results of the other folds are kept.
    """
    for fold in folds:
        show(f"fold {fold}: {Path(script).name} {hparams_file}")
        command = [sys.executable, str(script), hparams_file, *options]
        done = subprocess.run([*command, f"--fold={fold}", *quiet_options()])
        if done.returncode:
            raise InputError(
                f"fold {fold} failed with exit status {done.returncode}, see its "
                "message above. Repeat the command to resume from the finished parts"
            )


def read_scores(folder: Path) -> pd.DataFrame:
    """Read the scores of a recipe: test scores of a training run, or a summary table.

    Arguments
    ---------
    folder : Path
        Contains `training.json` or `summary.csv`; the former takes precedence.

    Returns
    -------
    scores : pandas.DataFrame
        Columns `score` and `value`; for a summary table preceded by `KEYS`. Intervals
        within a fold are dropped.
    """
    if (folder / "training.json").is_file():
        record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        return pd.DataFrame(record["test"].items(), columns=["score", "value"])
    if not (folder / "summary.csv").is_file():
        raise InputError(
            f"no scores in {folder}: neither training.json nor summary.csv exists "
            "(training with --debug writes no results)"
        )
    summary = read_csv(folder / "summary.csv", KEYS)
    left_out = [c for c in summary.columns if c.endswith(SUFFIXES)]
    table = summary.drop(columns=left_out)
    # Keep the order of the table: all scores of a method, then the next method.
    names = [column for column in table.columns if column not in KEYS]
    long = table.melt(KEYS, names, "score", ignore_index=False)
    return long.sort_index(kind="stable").reset_index(drop=True)


def over_folds(scores: Mapping[int, pd.DataFrame]) -> pd.DataFrame:
    """Return the mean and standard deviation of each score over the folds.

    Arguments
    ---------
    scores : dict
        Fold to its scores, from `read_scores`.

    Returns
    -------
    table : pandas.DataFrame
        `KEYS` if present, `score`, `mean`, `std` (with n - 1; NaN for a single fold),
        `n` (number of folds with a finite value, which are averaged), and a column
        `fold K` per fold, NaN where the score is missing.

    Example
    -------
    >>> one, other = ({"score": ["AI"], "value": [v]} for v in (40.0, 44.0))
    >>> over_folds({1: pd.DataFrame(one), 2: pd.DataFrame(other)})
      score  mean       std  n  fold 1  fold 2
    0    AI  42.0  2.828427  2    40.0    44.0
    """
    columns: dict[str, pd.Series] = {}
    keys: list[str] = []
    for fold, table in scores.items():
        keys = [column for column in table.columns if column != "value"]
        columns[f"fold {fold}"] = table.set_index(keys)["value"].astype(float)
    # In order of appearance: pandas would sort if the folds differ.
    order = list(dict.fromkeys(row for c in columns.values() for row in c.index))
    values = pd.DataFrame({name: c.reindex(order) for name, c in columns.items()})
    values = values.mask(values.abs() == float("inf"))
    table = pd.DataFrame(
        {
            "mean": values.mean(axis=1),
            "std": values.std(axis=1, ddof=1),
            "n": values.count(axis=1),
        }
    )
    table = table.join(values)
    table.index.names = keys
    return table.reset_index()


def write_folds(folder: Path, table: pd.DataFrame, header: Sequence[str]) -> None:
    """Write `folds.csv` (full precision) and `folds.md` (four digits), each atomically.

    Arguments
    ---------
    folder : Path
    table : pandas.DataFrame
        From `over_folds`.
    header : sequence of str
        Command, folds, seed and versions.
    """
    page = MarkdownPage("Over the folds", header)
    page.add_rows("folds", table)
    groups = [("", table)]
    if "condition" in table:
        groups = [
            (f"## {condition}, {block}", rows.drop(columns=["condition", "block"]))
            for (condition, block), rows in table.groupby(
                ["condition", "block"], sort=False
            )
        ]
    for title, rows in groups:
        page.add(title, markdown_rows(rows))
    page.add("std: over the folds, with n - 1; n: folds with a finite value.")
    page.write(folder / "folds.md")


def markdown_rows(table: pd.DataFrame) -> list[str]:
    """Return a Markdown table, numbers with four digits.

    Example
    -------
    >>> markdown_rows(pd.DataFrame({"score": ["AI"], "mean": [41.66666], "n": [3]}))
    ['| score | mean | n |', '| --- | --- | --- |', '| AI | 41.67 | 3 |']
    """
    rows = [
        [f"{cell:.4g}" if isinstance(cell, float) else cell for cell in row]
        for row in table.itertuples(index=False)
    ]
    return table_lines(table.columns, rows)
