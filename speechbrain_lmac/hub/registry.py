"""Models by name: those that come with the package, folders, and the hub's."""

import difflib
import functools
import json
import os
import re
import stat
from dataclasses import asdict, dataclass
from pathlib import Path

from speechbrain_lmac.hub.remote import fetch_model_file, has_model_file
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import write_text

SHIPPED = Path(__file__).resolve().parents[1] / "pretrained"
# Which weights of a model of the package lie in another one's folder: a wheel has no
# links.
SHARED = "shared.json"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
MODEL_YAML = "hyperparams.yaml"
RECORD = "model.json"
LARGEST_TEXT = 2**20  # bytes of a card or a record
NON_COMMERCIAL = re.compile(r"(^|-)nc(-|$)")
LONGEST_CHAIN = 40  # links, as Linux has it
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


def shipped_models() -> dict[str, Path]:
    """The models of the package: name to folder, by name."""
    folders = sorted(path.parent for path in SHIPPED.glob(f"*/{RECORD}"))
    return {folder.name: folder for folder in folders}


@functools.cache
def _shared() -> dict:
    """Name of a model to the names of its files that another model has."""
    path = SHIPPED / SHARED
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def shipped_files(name: str) -> dict[str, Path]:
    """The files of a model of the package: name to path, by name."""
    files = {p.name: p for p in (SHIPPED / name).iterdir() if p.is_file()}
    for filename, other in _shared().get(name, {}).items():
        files[filename] = SHIPPED / other / filename
    return dict(sorted(files.items()))


def size_of(name: str) -> int:
    """Bytes of a model of the package, with what it shares."""
    return sum(path.stat().st_size for path in shipped_files(name).values())


def share_weights() -> None:
    """Keep one copy of the `.ckpt` files that models of the package have in common."""
    first, shared = {}, {}
    for name in shipped_models():
        for filename, path in shipped_files(name).items():
            if path.suffix != ".ckpt":
                continue
            owner = first.setdefault((filename, path.read_bytes()), name)
            if owner != name:
                shared.setdefault(name, {})[filename] = owner
    for name, files in shared.items():
        for filename in files:
            (SHIPPED / name / filename).unlink(missing_ok=True)
    write_text(json.dumps(shared, indent=2) + "\n", SHIPPED / SHARED)
    _shared.cache_clear()


def model_lines() -> list[str]:
    """The shipped models as the lines of a table."""
    rows = [["name", "method", "trained on", "size", "clean test clips"]]
    for name, folder in shipped_models().items():
        record = read_record(folder)
        size = size_of(name) / 1e6
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


def read_record(folder: Path) -> ModelRecord:
    """The `ModelRecord` of a folder.

    Raises
    ------
    InputError
        When there is none, or it is unreadable.
    """
    return record_of(Path(folder) / RECORD)


def record_of(path: Path) -> ModelRecord:
    """The `ModelRecord` of a file.

    Raises
    ------
    InputError
        When it is none.
    """
    try:
        record = ModelRecord(**json.loads(read_text(path)))
    except (ValueError, TypeError, RecursionError) as error:
        said = str(error)[:300]
        raise InputError(f"{path} does not describe a model: {said}") from error
    if not isinstance(record.license, str):
        raise InputError(f"{path} does not describe a model: its license is no text")
    return record


def read_text(path: Path) -> str:
    """The text of a card or a record.

    Raises
    ------
    InputError
        When it cannot be read, or is longer than `LARGEST_TEXT`.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_TEXT + 1)
        if len(content) > LARGEST_TEXT:
            raise ValueError(f"it has more than {LARGEST_TEXT:,} bytes")
        return content.decode("utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}") from error


def is_non_commercial(license_id: str) -> bool:
    """Whether a licence, as the hub calls it, forbids commercial use.

    Example
    -------
    >>> is_non_commercial("cc-by-nc-3.0"), is_non_commercial("cc-by-3.0")
    (True, False)
    """
    return bool(NON_COMMERCIAL.search(license_id.lower()))


def write_record(record: ModelRecord, folder: Path) -> None:
    """Write `model.json`."""
    text = json.dumps(asdict(record), indent=2, ensure_ascii=False) + "\n"
    write_text(text, Path(folder) / RECORD)


def model_text(source: Path) -> str:
    """The card of a model, below its licence where that forbids commercial use.

    Arguments
    ---------
    source : Path or str
        From `find_model`.

    Raises
    ------
    InputError
        When it has no card, or one of the two is not readable.
    """
    card = read_text(model_file(source, "README.md"))
    if has_file(source, RECORD):
        record = record_of(model_file(source, RECORD))
        if is_non_commercial(record.license):
            return f"NOT FOR COMMERCIAL USE: {record.license}\n\n{card}"
    return card


def is_shipped(source: Path | str) -> bool:
    """Whether a model, as `find_model` has it, is one of the package."""
    return isinstance(source, Path) and source.resolve().parent == SHIPPED


def find_model(source: Path | str) -> Path | str:
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
    models = shipped_models()
    # A folder that happens to be called like a model of the package is none.
    if folder.is_dir() and (text not in models or (folder / MODEL_YAML).exists()):
        if (folder / "train_log.txt").is_file():
            raise InputError(
                f"{source} holds the results of a training: make a model of them with "
                "speechbrain-lmac publish RESULTS --dry-run, and name what it writes"
            )
        return folder
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


def model_file(source: Path | str, filename: str, revision=None, token=None) -> Path:
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
        When the model has no such file, it is none that could be read, or it lies
        outside of the model's folder (`model_folders`).
    """
    _check_name(filename)
    if isinstance(source, str):
        return fetch_model_file(source, filename, revision, token)
    path = _path_in(source, filename)
    if not os.path.lexists(path):
        raise InputError(
            f"the model in {source} has no file {filename}: it is none that "
            "publish.py writes, or it is not complete"
        )
    try:
        target = path.resolve(strict=True)
        regular = stat.S_ISREG(target.stat().st_mode)
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or "a loop of links"
        raise InputError(f"{path} cannot be read: {why}") from error
    if not regular:
        raise InputError(f"{path} is no file of a model: it is a folder or a device")
    folders = [path.parent.resolve(), *model_folders(source)]
    if not any(folder in target.parents for folder in folders):
        raise InputError(
            f"{path} is a link that leads out of its folder: put the file itself there"
        )
    return path


def has_file(source: Path, filename: str, revision=None, token=None) -> bool:
    """Whether a model has a file; arguments are those of `model_file`."""
    _check_name(filename)
    if isinstance(source, str):
        return has_model_file(source, filename, revision, token)
    return os.path.lexists(_path_in(source, filename))


def model_folders(source: Path) -> list[Path]:
    """In which folders the files of a model may lie.

    Its own; of a snapshot in the hub's cache the folder of the repository; and, where
    its YAML is a link, the folder that has the YAML. So a folder of links to a model
    opens, and one with a link of its own to anything else does not.

    Arguments
    ---------
    source : Path
        The folder of the model.

    Returns
    -------
    folders : list of Path
        Without links.
    """
    folders = [_repository(source.resolve())]
    path = source / MODEL_YAML
    for _ in range(LONGEST_CHAIN):
        if not path.is_symlink():
            break
        path = path.parent / os.readlink(path)
        # Of another name, or not there, it would make a model's folder of any.
        if path.name == MODEL_YAML and path.is_file():
            folders.append(_repository(path.parent.resolve()))
    return folders


def _repository(folder: Path) -> Path:
    """The folder of a repository in the hub's cache for one of its snapshots."""
    place = folder.parent.parent
    cached = folder.parent.name == "snapshots" and place.name.startswith("models--")
    return place if cached else folder


def _check_name(filename: str) -> None:
    if Path(filename).name != filename or filename in ("", ".", ".."):
        raise InputError(f"{filename!r} is not the name of a file in a model's folder")


def _path_in(folder: Path, filename: str) -> Path:
    """Where a file of a model is, which another model of the package may have."""
    if is_shipped(folder):
        other = _shared().get(folder.name, {}).get(filename)
        folder = folder if other is None else SHIPPED / other
    return folder / filename
