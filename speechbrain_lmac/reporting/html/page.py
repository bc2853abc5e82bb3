"""The page itself: what an evaluation has left, and one template."""

import base64
import json
import mimetypes
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from speechbrain_lmac.evaluation.row_store import TEXT
from speechbrain_lmac.metrics import ALL_METRICS, HEARD_METRICS
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
# Pictures of an evaluation's folder, and what they show.
PICTURES = {
    "curves_*.png": "Faithfulness at equal sizes of the mask",
    "sanity_*.png": "Likeness of the masks when the classifier's layers are random",
}
# What is written over a clip, of the columns of per_clip.csv.
CONFIDENCES = ("p", "p_in", "p_out")


@dataclass
class ReportPage:
    """All that the page says, as plain values.

    Arguments
    ---------
    title : str
    facts : list of str
        Lines under the title: command, data, seed, versions.
    tables : list of dict
        `title`, `scores` (names) and `rows`: `method` and `cells` of (text, value).
    pictures : list of dict
        `title` and `file`, relative to the page.
    confusions : list of dict
        `title`, `labels` and `counts` (C, C), true class by predicted class.
    clips : list of dict
        See `clips.render_clips`, with `label`, `predicted` and, for each method,
        `p p_in p_out` and `scores`.
    notes : list of str
        What is missing, and why.
    """

    title: str
    facts: list = field(default_factory=list)
    tables: list = field(default_factory=list)
    pictures: list = field(default_factory=list)
    confusions: list = field(default_factory=list)
    clips: list = field(default_factory=list)
    notes: list = field(default_factory=list)


def read_evaluation(folder: Path) -> tuple[ReportPage, pd.DataFrame]:
    """The page of an evaluation's folder, still without its clips.

    Raises
    ------
    InputError
        When it holds no evaluation.
    """
    folder = Path(folder)
    if not (folder / "per_clip.csv").is_file():
        raise InputError(
            f"{folder} holds no evaluation: it has no per_clip.csv. Name the "
            "output_folder of evaluate.py"
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
                f"the tables in {folder} have no columns condition, block and method: "
                "they are of an older version; evaluate once more"
            )
    if summary.empty:
        page.notes.append("summary.csv is missing or empty: there are no tables.")
    else:
        page.tables = _tables(summary)
    for pattern, title in PICTURES.items():
        for path in sorted(folder.glob(pattern)):
            what = path.stem.split("_", 1)[1].replace("_", ", ")
            page.pictures.append({"title": f"{title}: {what}", "file": path.name})
    page.confusions = _confusions(per_clip)
    return page, per_clip


def read_rows(path: Path) -> pd.DataFrame:
    """A csv as a table, empty where there is none or nothing in it."""
    try:
        return read_csv(path, [*TEXT, "condition", "block"])
    except (OSError, pd.errors.EmptyDataError):
        return pd.DataFrame()


def add_clips(page: ReportPage, clips: list, per_clip: pd.DataFrame) -> None:
    """Put rendered clips on a page, with what per_clip.csv says of them."""
    keys = ["condition", "block", "id", "method"]
    rows = {}
    if not per_clip.empty:
        told = per_clip.astype({"id": str})
        rows = {tuple(row[key] for key in keys): row for row in told.to_dict("records")}
    scores = [name for name in SCORES if name in per_clip.columns]
    for clip in clips:
        for method, own in clip["methods"].items():
            row = rows.get((clip["condition"], clip["block"], clip["id"], method), {})
            clip.setdefault("label", _text(row.get("label")))
            clip.setdefault("predicted", _text(row.get("predicted")))
            own.update({name: _finite(row.get(name)) for name in CONFIDENCES})
            own["scores"] = {name: _finite(row.get(name)) for name in scores}
        page.clips.append(clip)


def write_page(page: ReportPage, folder: Path, single_file: bool = False) -> Path:
    """Write `index.html` into a folder that has the files of its clips.

    Arguments
    ---------
    page : ReportPage
    folder : Path
    single_file : bool
        Put every sound and picture into the page; else they stay beside it.

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


def copy_pictures(page: ReportPage, source: Path, folder: Path) -> None:
    """Put the pictures of an evaluation beside its page."""
    for picture in page.pictures:
        shutil.copy(Path(source) / picture["file"], Path(folder) / picture["file"])


def data_uri(path: Path) -> str:
    """A file as a URL that contains it."""
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _files_of(clip: dict[str, float | str]) -> Iterator[tuple]:
    """The places where a clip names a file."""
    yield clip, "input"
    yield clip, "picture"
    if clip.get("figure"):
        yield clip, "figure"
    for own in clip["methods"].values():
        for key in ("explanation", "rest", "mask"):
            yield own, key


def _facts(path: Path) -> list[str]:
    """The lines under the title of summary.md."""
    if not path.is_file():
        return []
    facts = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("- "):
            facts.append(line[2:].replace("`", ""))
        elif line.startswith("## "):
            break
    return facts


def _tables(summary: pd.DataFrame) -> list:
    """A table for each condition and block."""
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


def _head(score) -> dict[str, str]:
    arrow = {True: " ↑", False: " ↓", None: ""}[score.higher_is_better]
    return {"name": score.name + arrow, "about": score.description}


def _cell(row, score) -> dict[str, float | str]:
    """Mean and interval as text, and the mean to sort by."""
    value = row[score.name]
    if not np.isfinite(value):
        return {"mean": "–", "interval": "", "value": None}
    low, high = (number(row[f"{score.name}_{end}"], score) for end in ("low", "high"))
    return {
        "mean": number(value, score),
        "interval": f"{low} to {high}",
        "value": float(value),
    }


def _confusions(per_clip: pd.DataFrame) -> list:
    """True class by predicted class, of each condition."""
    if per_clip.empty or per_clip["label"].isna().all():
        return []
    confusions = []
    for condition, rows in per_clip.groupby("condition", sort=False):
        clips = rows.drop_duplicates("id").dropna(subset=["label", "predicted"])
        labels = sorted(set(clips["label"]) | set(clips["predicted"]), key=str)
        table = pd.crosstab(clips["label"], clips["predicted"])
        table = table.reindex(index=labels, columns=labels, fill_value=0)
        right = int(np.trace(table.to_numpy()))
        confusions.append(
            {
                "title": f"{condition}: {right} of {len(clips)} clips right",
                "labels": labels,
                "counts": table.to_numpy().tolist(),
                "most": int(table.to_numpy().max(initial=1)),
            }
        )
    return confusions


def _finite(value: float) -> float | None:
    """A number, or None for what is missing or not finite."""
    if value is None or not np.isfinite(float(value)):
        return None
    return round(float(value), 6)


def _text(value: str) -> str:
    return None if value is None or pd.isna(value) else str(value)


def _json(data: dict) -> str:
    """JSON that can stand in a script element: nothing in it ends the element."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
