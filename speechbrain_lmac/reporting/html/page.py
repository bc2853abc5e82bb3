"""The HTML page of an evaluation: page data, filled into a template."""

import base64
import json
import mimetypes
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from speechbrain_lmac.evaluation.row_store import TEXT
from speechbrain_lmac.metrics import ALL_METRICS, HEARD_METRICS, Score
from speechbrain_lmac.metrics.bss_eval import ARTEFACT_SCORES
from speechbrain_lmac.metrics.curves import AREAS
from speechbrain_lmac.metrics.separation import IRM_OVERLAP_HEARD, SOURCE_SCORES
from speechbrain_lmac.reporting.paper_order import in_paper_order
from speechbrain_lmac.reporting.tables import HOW_TO_READ, number
from speechbrain_lmac.utils.csv_files import read_csv
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import write_text

TEMPLATE = Path(__file__).parent / "template"
TRUTH = (*SOURCE_SCORES, IRM_OVERLAP_HEARD, *ARTEFACT_SCORES)
SCORES = {s.name: s for s in (*ALL_METRICS, *HEARD_METRICS, *AREAS, *TRUTH)}
# Figures of an evaluation's folder, and their titles.
PICTURES = {
    "curves_*.png": "Faithfulness at equal mask sizes",
    "sanity_*.png": "Similarity of masks as classifier layers are randomised",
}
# Columns of per_clip.csv shown with each clip.
CONFIDENCES = ("p", "p_in", "p_out")


@dataclass
class ReportPage:
    """The content of the page, as JSON-serialisable values.

    Arguments
    ---------
    title : str
    facts : list of str
        Lines under the title: command, data, seed, versions.
    tables : list of dict
        `title`, `scores` (`name` and `about` of each) and `rows`: `method`, `n` and,
        for each score, `cells` with the texts `mean` and `interval`, and `value`.
    pictures : list of dict
        `title` and `file`, relative to the page.
    confusions : list of dict
        `title`, `labels`, `counts` (C, C), true class by predicted class, and `most`,
        their maximum.
    clips : list of dict
        See `clips.render_clips`, with `label`, `predicted` and, for each method,
        `p p_in p_out` and `scores`.
    notes : list of str
        Messages about missing parts.
    """

    title: str
    facts: list[str] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)
    pictures: list[dict[str, str]] = field(default_factory=list)
    confusions: list[dict[str, Any]] = field(default_factory=list)
    clips: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_evaluation(folder: str | Path) -> tuple[ReportPage, pd.DataFrame]:
    """Read an evaluation folder; return its page without clips, and its rows.

    Raises
    ------
    InputError
        If the folder contains no evaluation, or one written by an older version.
    """
    folder = Path(folder)
    if not (folder / "per_clip.csv").is_file():
        raise InputError(
            f"{folder} has no evaluation (missing per_clip.csv): give the output "
            "folder of evaluate.py"
        )
    page = ReportPage(title=folder.resolve().parent.name)
    page.facts = _facts(folder / "summary.md")
    per_clip = read_rows(folder / "per_clip.csv")
    summary = read_rows(folder / "summary.csv")
    if per_clip.empty:
        page.notes.append("per_clip.csv is empty: no clip was evaluated.")
    for table in (per_clip, summary):
        if not table.empty and not {"condition", "block", "method"} <= set(table):
            raise InputError(
                f"the tables in {folder} must have the columns condition, block and "
                "method: they were written by an older version; repeat the evaluation"
            )
    if summary.empty:
        page.notes.append("summary.csv is missing or empty: there are no tables.")
    else:
        page.tables = _tables(summary)
    for pattern, title in PICTURES.items():
        for path in sorted(folder.glob(pattern)):
            subject = path.stem.split("_", 1)[1].replace("_", ", ")
            page.pictures.append({"title": f"{title}: {subject}", "file": path.name})
    page.confusions = _confusions(per_clip)
    return page, per_clip


def read_rows(path: Path) -> pd.DataFrame:
    """Read a CSV file; an empty table if it is missing or empty."""
    try:
        return read_csv(path, [*TEXT, "condition", "block"])
    except (OSError, pd.errors.EmptyDataError):
        return pd.DataFrame()


def add_clips(
    page: ReportPage, clips: Iterable[dict[str, Any]], per_clip: pd.DataFrame
) -> None:
    """Add rendered clips to a page, with their scores.

    Arguments
    ---------
    page : ReportPage
    clips : iterable of dict
        From `clips.render_clips`; labels and scores are added to each.
    per_clip : pandas.DataFrame
        From `read_evaluation`.
    """
    keys = ["condition", "block", "id", "method"]
    rows = {}
    if not per_clip.empty:
        records = per_clip.astype({"id": str}).to_dict("records")
        rows = {tuple(row[key] for key in keys): row for row in records}
    scores = [name for name in SCORES if name in per_clip.columns]
    for clip in clips:
        for method, own in clip["methods"].items():
            row = rows.get((clip["condition"], clip["block"], clip["id"], method), {})
            clip.setdefault("label", _text(row.get("label")))
            clip.setdefault("predicted", _text(row.get("predicted")))
            own.update({name: _finite(row.get(name)) for name in CONFIDENCES})
            own["scores"] = {name: _finite(row.get(name)) for name in scores}
        page.clips.append(clip)


def write_page(page: ReportPage, folder: str | Path, single_file: bool = False) -> Path:
    """Write `index.html` to a folder, which contains the files of the clips.

    Arguments
    ---------
    page : ReportPage
    folder : str or Path
    single_file : bool
        Embed all audio and pictures in the page, instead of linking to the files.

    Returns
    -------
    path : Path
    """
    from jinja2 import Environment, FileSystemLoader

    folder, files = Path(folder), {}
    for clip in page.clips:
        for where, key in _files_of(clip):
            name = where[key]
            if not (folder / name).is_file():
                where[key] = None
                if (note := f"{name} is missing") not in page.notes:
                    page.notes.append(note)
            elif single_file:
                files[name] = data_uri(folder / name)
    for picture in page.pictures:
        path = folder / picture["file"]
        picture["url"] = data_uri(path) if single_file else picture["file"]
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE), autoescape=True, trim_blocks=True
    )
    used = {
        name
        for clip in page.clips
        for m in clip["methods"].values()
        for name in m.get("scores", {})
    }
    scores = {
        name: {
            "better": score.higher_is_better,
            "unit": score.unit,
            "about": score.description,
        }
        for name, score in SCORES.items()
        if name in used
    }
    text = environment.get_template("page.html").render(
        page=page,
        how_to_read=HOW_TO_READ,
        style=(TEMPLATE / "page.css").read_text(encoding="utf-8"),
        script=(TEMPLATE / "page.js").read_text(encoding="utf-8"),
        data=_json({"clips": page.clips, "scores": scores, "files": files}),
    )
    write_text(text, folder / "index.html")
    return folder / "index.html"


def copy_pictures(page: ReportPage, source: str | Path, folder: str | Path) -> None:
    """Copy the figures of an evaluation to its page.

    Arguments
    ---------
    page : ReportPage
    source : str or Path
        The evaluation's folder.
    folder : str or Path
        The page's folder.
    """
    for picture in page.pictures:
        shutil.copy(Path(source) / picture["file"], Path(folder) / picture["file"])


def data_uri(path: Path) -> str:
    """Return the content of a file as a data URL."""
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _files_of(clip: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the (dict, key) pairs of a clip whose values are file names."""
    yield clip, "input"
    yield clip, "picture"
    if clip.get("figure"):
        yield clip, "figure"
    for own in clip["methods"].values():
        for key in ("explanation", "rest", "mask"):
            yield own, key


def _facts(path: Path) -> list[str]:
    """Return the header lines below the title of summary.md."""
    if not path.is_file():
        return []
    facts = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("- "):
            facts.append(line[2:].replace("`", ""))
        elif line.startswith("## "):
            break
    return facts


def _tables(summary: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table for each condition and block."""
    tables = []
    for (condition, block), rows in summary.groupby(["condition", "block"], sort=False):
        scores = [n for n in SCORES if n in rows and np.isfinite(rows[n]).any()]
        tables.append(
            {
                "title": f"{condition}, {block}",
                "scores": [_head(SCORES[name]) for name in scores],
                "rows": [
                    {
                        "method": row["method"],
                        "n": int(row["n"]),
                        "cells": [_cell(row, SCORES[name]) for name in scores],
                    }
                    for _, row in in_paper_order(rows).iterrows()
                ],
            }
        )
    return tables


def _head(score: Score) -> dict[str, str]:
    arrow = {True: " ↑", False: " ↓", None: ""}[score.higher_is_better]
    return {"name": score.name + arrow, "about": score.description}


def _cell(row: pd.Series, score: Score) -> dict[str, float | str | None]:
    """Return mean and interval as text, and the mean as the sort key."""
    value = row[score.name]
    if not np.isfinite(value):
        return {"mean": "–", "interval": "", "value": None}
    low, high = (number(row[f"{score.name}_{end}"], score) for end in ("low", "high"))
    return {
        "mean": number(value, score),
        "interval": f"{low} to {high}",
        "value": float(value),
    }


def _confusions(per_clip: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the confusion matrix (true by predicted class) of each condition."""
    if per_clip.empty or per_clip["label"].isna().all():
        return []
    confusions = []
    for condition, rows in per_clip.groupby("condition", sort=False):
        clips = rows.drop_duplicates("id").dropna(subset=["label", "predicted"])
        labels = sorted(set(clips["label"]) | set(clips["predicted"]), key=str)
        table = pd.crosstab(clips["label"], clips["predicted"])
        table = table.reindex(index=labels, columns=labels, fill_value=0)
        n_correct = int(np.trace(table.to_numpy()))
        confusions.append(
            {
                "title": f"{condition}: {n_correct} of {len(clips)} clips correct",
                "labels": labels,
                "counts": table.to_numpy().tolist(),
                "most": int(table.to_numpy().max(initial=1)),
            }
        )
    return confusions


def _finite(value: float | None) -> float | None:
    """Return a number, or None if it is missing or not finite."""
    if value is None or not np.isfinite(float(value)):
        return None
    return round(float(value), 6)


def _text(value: object) -> str | None:
    return None if value is None or pd.isna(value) else str(value)


def _json(data: dict[str, Any]) -> str:
    """Return JSON for a script element, escaped so that it cannot close it."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
