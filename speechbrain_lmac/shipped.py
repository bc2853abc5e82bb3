"""Models by name: those that come with the package, folders, and the hub's."""

import difflib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from speechbrain_lmac.errors import InputError
from speechbrain_lmac.files import write_text
from speechbrain_lmac.hub import fetch_model_file

SHIPPED = Path(__file__).resolve().parent / "pretrained"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
RECORD = "model.json"
SHOWN = ("accuracy", "AI", "AD", "Fid-In")  # of the metrics, in the list of models


@dataclass(frozen=True)
class ModelRecord:
    """What a model folder says of itself in `model.json`."""

    name: str
    method: str  # "L-MAC", "LMAC-TD", ...; "classifier"
    interface: str  # the class of `speechbrain_lmac.inference` that reads it
    classes: list  # their names, or the prompts
    dataset: str  # what it was trained on
    license: str  # that its data ask for, as the hub calls it
    credit: str  # of the data
    commands: list  # that made it, in their order
    versions: str  # that it was trained with
    metrics: dict  # name to mean, low and high of a 95 % interval, and n clips
    measured_on: str


def shipped_models():
    """The models of the package: name to folder, by name."""
    folders = sorted(path.parent for path in SHIPPED.glob(f"*/{RECORD}"))
    return {folder.name: folder for folder in folders}


def model_lines():
    """The shipped models as the lines of a table."""
    rows = [["name", "method", "trained on", "size", "clean test clips"]]
    for name, folder in shipped_models().items():
        record = read_record(folder)
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        shown = [key for key in SHOWN if key in record.metrics]
        scores = ", ".join(f"{key} {record.metrics[key]['mean']:.3g}" for key in shown)
        rows.append([name, record.method, record.dataset, f"{size:.1f} MB", scores])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def read_record(folder):
    """The `ModelRecord` of a folder.

    Raises
    ------
    InputError
        When there is none, or it is unreadable.
    """
    path = Path(folder) / RECORD
    try:
        return ModelRecord(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} does not describe a model: {error}") from error


def write_record(record, folder):
    """Write `model.json`."""
    text = json.dumps(asdict(record), indent=2, ensure_ascii=False) + "\n"
    write_text(text, Path(folder) / RECORD)


def find_model(source):
    """Where a model is: a folder, or an id of the hub.

    Arguments
    ---------
    source : str or Path
        A folder, the name of a shipped model, or "user/name".

    Returns
    -------
    place : Path or str
        The folder; a str is an id of the hub.

    Raises
    ------
    InputError
        When it is none of the three, and for the folder of a training's results.

    Example
    -------
    >>> find_model("user/name")
    'user/name'
    >>> find_model("esc10-lmac").name
    'esc10-lmac'
    """
    folder, text = Path(source), str(source)
    if folder.is_dir():
        if (folder / "train_log.txt").is_file():
            raise InputError(
                f"{source} holds the results of a training: make a model of them with "
                "speechbrain-lmac publish RESULTS --dry-run, and name what it writes"
            )
        return folder
    models = shipped_models()
    if text in models:
        return models[text]
    if HUB_ID.fullmatch(text) and text.split("/")[0] not in (".", "..", "results"):
        return text
    close = difflib.get_close_matches(text, models)
    meant = f" Did you mean {close[0]}?" if close else ""
    raise InputError(
        f"there is no model {text!r}: no such folder, no model of the package "
        f"({', '.join(models)}), and no id of the hub, which is USER/NAME.{meant}"
    )


def model_file(source, filename, revision=None, token=None):
    """The path of a file of a model, fetched where the model is on the hub.

    Arguments
    ---------
    source : Path or str
        From `find_model`.
    filename : str
        A name without folders.
    revision, token : str, optional
        Of the hub.

    Raises
    ------
    InputError
        When the model has no such file, or the name leads out of the folder.
    """
    if Path(filename).name != filename or filename in ("", ".", ".."):
        raise InputError(f"{filename!r} is not the name of a file in a model's folder")
    if isinstance(source, str):
        return fetch_model_file(source, filename, revision, token)
    path = source / filename
    if not path.is_file():
        raise InputError(
            f"the model in {source} has no file {filename}: it is none that "
            "publish.py writes, or it is not complete"
        )
    if source.resolve() not in path.resolve().parents:
        raise InputError(f"{path} leads out of its folder")
    return path
