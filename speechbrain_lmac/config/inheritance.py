"""YAML files of experiments: found by name, and put together with their parents.

An ablation is a file of a few lines: `parent` names another experiment file, and each
other key takes the place of the parent's key of that name, with everything below it.

    parent: ../toy_lmac.yaml
    output_folder: !ref results/ablations/toy_no_mask_out/<seed>
    objective: !include:parts/objective/lmac.yaml
        weights:
            mask_out: 0.0
"""

import difflib
import io
import re
from pathlib import Path

from speechbrain_lmac.utils.arguments import run_keys
from speechbrain_lmac.utils.errors import InputError, some_of

PARENT = "parent"
# Of the project: beside the package, or in it where it is installed.
_PACKAGE = Path(__file__).resolve().parents[1]
PROJECT = next(f for f in (_PACKAGE.parent, _PACKAGE) if (f / "hparams").is_dir())
HPARAMS = PROJECT / "hparams"


def find_hparams(name):
    """The YAML file: as named, or in the project (where links are not supported).

    Raises
    ------
    InputError
        When there is none; lists what there is.
    """
    name = Path(name).expanduser()
    for folder in (Path(), PROJECT):
        if (folder / name).is_file():
            return folder / name
    for folder in (Path(), PROJECT):
        if (folder / name).is_dir():
            there = some_of(sorted(p.name for p in (folder / name).glob("*.yaml")))
            raise InputError(
                f"{name} is a folder: name a YAML file in it. There are: "
                f"{there or 'none'}"
            )
    shipped = sorted(path.name for path in HPARAMS.glob("*.yaml"))
    raise InputError(
        f"no such hyperparameter file: {name} (looked in {Path.cwd()} and in the "
        f"project). There are: {', '.join(shipped)}"
    )


def open_hparams(path):
    """A stream of an experiment file, put together with its parents.

    Arguments
    ---------
    path : str or Path
        The file.

    Returns
    -------
    stream : io.StringIO
        Its `name` is the file that includes are relative to: the last parent.

    Raises
    ------
    InputError
        For a parent that is missing or goes in circles, and for a key that the parent
        does not have.
    """
    text, place = _put_together(Path(path), ())
    stream = io.StringIO(text)
    stream.name = str(place)
    return stream


def blocks_of(text):
    """The text of each key at the left margin, up to the next one.

    Example
    -------
    >>> blocks_of("# What it is.\\na: 1\\nb:\\n    c: 2\\n")
    {'a': 'a: 1\\n', 'b': 'b:\\n    c: 2\\n'}
    """
    parts = re.split(r"^(?=[A-Za-z_]\w*\s*:)", text, flags=re.MULTILINE)[1:]
    return {part.split(":", 1)[0].strip(): part for part in parts}


def top_level_keys(path):
    """The keys at the left margin of a YAML file, its parents' included."""
    return list(blocks_of(open_hparams(path).getvalue()))


def _put_together(path, children):
    """The text of a file with that of its parents, and the last parent's path."""
    if path.resolve() in children:
        raise InputError(f"{path} is its own parent, by way of {children[-1].name}")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no text that can be read: {error}") from error
    ours = blocks_of(text)
    if PARENT not in ours:
        return text, path
    named = ours.pop(PARENT).split(":", 1)[1].split("#")[0].strip()
    parent = path.resolve().parent / named
    if not parent.is_file():
        raise InputError(f"{path}: there is no parent {named}")
    text, place = _put_together(parent, (*children, path.resolve()))
    theirs = blocks_of(text)
    for key in ours:
        if key not in theirs and key not in run_keys():
            close = difflib.get_close_matches(key, theirs)
            meant = f"; did you mean '{close[0]}'?" if close else ""
            raise InputError(f"{path}: its parent {named} has no key '{key}'{meant}")
    blocks = {**theirs, **ours}.values()
    return "".join(b if b[-1] == "\n" else f"{b}\n" for b in blocks), place
