"""Model registry: shipped models, model folders, and models on the hub."""

import difflib
import functools
import json
import os
import re
import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from speechbrain_lmac.hub.remote import fetch_model_file, has_model_file
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import write_text

SHIPPED = Path(__file__).resolve().parents[1] / "pretrained"
# Weight files that a shipped model shares with another one: wheels cannot contain
# symbolic links.
SHARED = "shared.json"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
MODEL_YAML = "hyperparams.yaml"
RECORD = "model.json"
LARGEST_TEXT = 2**20  # bytes of a model card or a record
NON_COMMERCIAL = re.compile(r"(^|-)nc(-|$)")
LONGEST_CHAIN = 40  # symbolic links, the limit of Linux
SHOWN = ("accuracy", "AI", "AD", "Fid-In")  # metrics in the list of models


@dataclass(frozen=True)
class ModelRecord:
    """The description of a model in its `model.json`."""

    name: str
    method: str  # "L-MAC", "LMAC-TD", ...; "classifier"
    interface: str  # the class of `speechbrain_lmac.inference` that loads it
    classes: list[str]  # class labels, or prompts
    dataset: str  # of the training
    license: str  # license id (as on the hub) that the data requires
    credit: str  # attribution of the data
    commands: list[str]  # that made it, in order
    versions: str  # software versions of the training
    # Name to mean, low and high of a 95 % interval, and n clips.
    metrics: dict[str, dict[str, Any]]
    measured_on: str  # description of the clips of the metrics


def shipped_models() -> dict[str, Path]:
    """Return the shipped models: name to folder, sorted by name."""
    folders = sorted(path.parent for path in SHIPPED.glob(f"*/{RECORD}"))
    return {folder.name: folder for folder in folders}


@functools.cache
def _shared() -> dict[str, dict[str, str]]:
    """Return the shared files: model to file name to the model that has the file."""
    path = SHIPPED / SHARED
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def shipped_files(name: str) -> dict[str, Path]:
    """Return the files of a shipped model: name to path, sorted by name."""
    files = {p.name: p for p in (SHIPPED / name).iterdir() if p.is_file()}
    for filename, other in _shared().get(name, {}).items():
        files[filename] = SHIPPED / other / filename
    return dict(sorted(files.items()))


def size_of(name: str) -> int:
    """Return the size of a shipped model in bytes, with its shared files."""
    return sum(path.stat().st_size for path in shipped_files(name).values())


def share_weights() -> None:
    """Deduplicate the `.ckpt` files that shipped models have in common."""
    first: dict[tuple[str, bytes], str] = {}
    shared: dict[str, dict[str, str]] = {}
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
    """Return a table of the shipped models, as lines of text."""
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


def read_record(folder: Path | str) -> ModelRecord:
    """Return the `ModelRecord` of a model folder.

    Raises
    ------
    InputError
        When it is missing or invalid.
    """
    return record_of(Path(folder) / RECORD)


def record_of(path: Path) -> ModelRecord:
    """Return the `ModelRecord` in a file.

    Raises
    ------
    InputError
        When it is missing or invalid.
    """
    try:
        record = ModelRecord(**json.loads(read_text(path)))
    except (ValueError, TypeError, RecursionError) as error:
        message = str(error)[:300]
        raise InputError(f"{path} does not describe a model: {message}") from error
    if not isinstance(record.license, str):
        raise InputError(f"{path} does not describe a model: license must be a string")
    return record


def read_text(path: Path) -> str:
    """Return the text of a model card or a record.

    Raises
    ------
    InputError
        When it is unreadable, or longer than `LARGEST_TEXT`.
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
    """Whether a licence, by its id on the hub, forbids commercial use.

    Example
    -------
    >>> is_non_commercial("cc-by-nc-3.0"), is_non_commercial("cc-by-3.0")
    (True, False)
    """
    return bool(NON_COMMERCIAL.search(license_id.lower()))


def write_record(record: ModelRecord, folder: Path | str) -> None:
    """Write `model.json`."""
    text = json.dumps(asdict(record), indent=2, ensure_ascii=False) + "\n"
    write_text(text, Path(folder) / RECORD)


def model_text(source: Path | str) -> str:
    """Return the card of a model, preceded by a non-commercial licence if it has one.

    Arguments
    ---------
    source : Path or str
        From `find_model`.

    Raises
    ------
    InputError
        When its card is missing, or its card or record is unreadable.
    """
    card = read_text(model_file(source, "README.md"))
    if has_file(source, RECORD):
        record = record_of(model_file(source, RECORD))
        if is_non_commercial(record.license):
            return f"NOT FOR COMMERCIAL USE: {record.license}\n\n{card}"
    return card


def is_shipped(source: Path | str) -> bool:
    """Whether a model, as `find_model` returns it, is a shipped one."""
    return isinstance(source, Path) and source.resolve().parent == SHIPPED


def find_model(source: Path | str) -> Path | str:
    """Return the folder of a model, or its id on the hub.

    Arguments
    ---------
    source : str or Path
        A folder, the name of a shipped model, or "user/name".

    Returns
    -------
    source : Path or str
        A Path is a folder, a str an id on the hub.

    Raises
    ------
    InputError
        When it is none of the three, or the results folder of a training.

    Example
    -------
    >>> find_model("user/name")
    'user/name'
    >>> find_model("esc10-lmac").name
    'esc10-lmac'
    """
    folder, text = Path(source), str(source)
    models = shipped_models()
    # A folder with the name of a shipped model counts only if it holds a model.
    if folder.is_dir() and (text not in models or (folder / MODEL_YAML).exists()):
        if (folder / "train_log.txt").is_file():
            raise InputError(
                f"{source} is the results folder of a training, not a model: run "
                "speechbrain-lmac publish RESULTS --dry-run and use its folder"
            )
        return folder
    if text in models:
        return models[text]
    if HUB_ID.fullmatch(text) and text.split("/")[0] not in (".", "..", "results"):
        return text
    close = difflib.get_close_matches(text, models)
    hint = f" Did you mean {close[0]}?" if close else ""
    if folder.is_file():
        hint = f" It is a file: give the folder of the model, e.g. {folder.parent}"
    raise InputError(
        f"unknown model {text!r}: no such folder, not a shipped model "
        f"({', '.join(models)}), and not a hub id (USER/NAME).{hint}"
    )


def model_file(
    source: Path | str,
    filename: str,
    revision: str | None = None,
    token: str | bool | None = None,
) -> Path:
    """Return the path of a model's file; download it if the model is on the hub.

    Arguments
    ---------
    source : Path or str
        From `find_model`.
    filename : str
        A name without folders.
    revision, token : str, optional
        Git revision and access token of the hub.

    Returns
    -------
    path : Path

    Raises
    ------
    InputError
        When the file is missing, not a readable file, or outside of the model's folder
        (`model_folders`).
    """
    _check_name(filename)
    if isinstance(source, str):
        return fetch_model_file(source, filename, revision, token)
    path = _path_in(source, filename)
    if not os.path.lexists(path):
        raise InputError(
            f"the model in {source} has no file {filename}: it is incomplete, or was "
            "not written by publish.py"
        )
    try:
        target = path.resolve(strict=True)
        regular = stat.S_ISREG(target.stat().st_mode)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "a loop of links"
        raise InputError(f"{path} cannot be read: {reason}") from error
    if not regular:
        raise InputError(f"{path} must be a regular file, got a folder or a device")
    folders = [path.parent.resolve(), *model_folders(source)]
    if not any(folder in target.parents for folder in folders):
        raise InputError(
            f"{path} is a link to a file outside the model's folder: use a copy instead"
        )
    return path


def has_file(
    source: Path | str,
    filename: str,
    revision: str | None = None,
    token: str | bool | None = None,
) -> bool:
    """Whether a model has a file.

    Arguments
    ---------
    source, filename, revision, token
        As in `model_file`.

    Returns
    -------
    found : bool
    """
    _check_name(filename)
    if isinstance(source, str):
        return has_model_file(source, filename, revision, token)
    return os.path.lexists(_path_in(source, filename))


def model_folders(source: Path) -> list[Path]:
    """Return the folders that may contain the files of a model.

    These are its own folder; for a snapshot in the hub's cache, the folder of the
    repository; and, if its YAML is a link, the folder of the linked YAML. So a folder
    of links to one model can be loaded, one with links to other places cannot.

    Arguments
    ---------
    source : Path
        The folder of the model.

    Returns
    -------
    folders : list of Path
        With links resolved.
    """
    folders = [_repository(source.resolve())]
    path = source / MODEL_YAML
    for _ in range(LONGEST_CHAIN):
        if not path.is_symlink():
            break
        path = path.parent / os.readlink(path)
        # Only links to an existing YAML count: others could add any folder.
        if path.name == MODEL_YAML and path.is_file():
            folders.append(_repository(path.parent.resolve()))
    return folders


def _repository(folder: Path) -> Path:
    """Return the repository of a snapshot in the hub's cache, else the folder."""
    repository = folder.parent.parent
    is_snapshot = folder.parent.name == "snapshots"
    cached = is_snapshot and repository.name.startswith("models--")
    return repository if cached else folder


def _check_name(filename: str) -> None:
    """Raise unless a file name is a plain name, without folders."""
    if Path(filename).name != filename or filename in ("", ".", ".."):
        raise InputError(f"{filename!r} is not the name of a file in a model's folder")


def _path_in(folder: Path, filename: str) -> Path:
    """Return the path of a model's file, which may be in another shipped model."""
    if is_shipped(folder):
        other = _shared().get(folder.name, {}).get(filename)
        folder = folder if other is None else SHIPPED / other
    return folder / filename
