"""Building an experiment; whose fault it is when a part cannot be built.

A part raises `InputError` for a value that it cannot take. With any other exception it
counts where it was raised: out of our code it is a bug and keeps its traceback; what a
library or a class of the user's makes of the values is a line that names the place in
the YAML file.
"""

import shlex
import traceback
from pathlib import Path

from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import Loader

from speechbrain_lmac.config.checking import (
    OURS,
    check_kinds,
    check_parts,
    parts_of,
    tag_and_name,
)
from speechbrain_lmac.utils.errors import InputError


class Unbuilt(Exception):
    """What building a node of the YAML has raised.

    Arguments
    ---------
    node : Node
    place : str
        Its dotted key.
    named : tuple or None
        Its tag and dotted name, see `tag_and_name`; None for a plain value.
    error : Exception
    """

    def __init__(self, node, place: str, named: tuple[str, str] | None, error):
        super().__init__(node, place, named, error)
        self.node, self.place, self.named, self.error = node, place, named, error


def build(
    resolved: str,
    path: Path | str,
    folders: list[str],
    overrides: dict[str, str] | None = None,
    given: dict | None = None,
) -> dict:
    """What an experiment describes: HyperPyYAML's objects, looked at before.

    Arguments
    ---------
    resolved : str
        YAML without `!ref` and `!include:`.
    path : Path
        The file that it was made of, for errors.
    folders : list of str
        Where modules are looked for besides what is installed.
    overrides : dict, optional
        What the command line has changed, for errors.
    given : dict, optional
        Name to an object that is there already, which `!given NAME` stands for.

    Returns
    -------
    hparams : dict

    Raises
    ------
    InputError
        For what is not there or takes other arguments, before anything is built; for
        what a part refuses; for what a class that is not ours raises.
    """

    class _Loader(Loader):
        """Nodes that are checked as a whole, and named when they cannot be built."""

        def construct_document(self, node) -> dict:
            self.root = node
            try:
                check_parts(node, folders)
            except InputError as error:
                raise InputError(f"{path}: {error}") from error
            return super().construct_document(node)

        def construct_object(self, node, deep: bool = True):
            try:
                return super().construct_object(node, deep)
            except (InputError, Unbuilt, MemoryError):
                raise
            except Exception as error:
                places = (p for p, part in parts_of(self.root) if part is node)
                place = next(places, "")
                raise Unbuilt(node, place, tag_and_name(node), error) from error

    _Loader.add_constructor("!given", lambda _, node: given[node.value])
    try:
        return load_hyperpyyaml(resolved, loader=_Loader)
    except Unbuilt as unbuilt:
        error = unbuilt.error
        if is_ours(unbuilt, folders):
            _check_kinds(unbuilt, path)
            error.add_note(f"in building {unbuilt.place} of {path}")
            raise error from None
        raise InputError(_why(unbuilt, path, overrides or {})) from error


def is_ours(unbuilt: Unbuilt, folders: list[str]) -> bool:
    """Whether code of ours is to blame: it raised the error, and no user's took part.

    Arguments
    ---------
    unbuilt : Unbuilt
    folders : list of str
        Where the user's modules are.

    Returns
    -------
    ours : bool
    """
    if unbuilt.named is None or not unbuilt.named[1].startswith(OURS):
        return False
    error = unbuilt.error
    if isinstance(error, OSError):  # of a file or a folder
        return False
    if isinstance(error, ImportError) and not f"{error.name}.".startswith(OURS):
        return False  # a package that is not installed
    frames = [f for f, _ in traceback.walk_tb(error.__traceback__)]
    if any(_is_users(frame, folders) for frame in frames):
        return False
    return _module_of(frames[-1]).startswith(OURS)


def _check_kinds(unbuilt: Unbuilt, path: str) -> None:
    """Raise `InputError` where our code stumbled over a value of another kind."""
    try:
        check_kinds(unbuilt.named[1], unbuilt.node, unbuilt.place)
    except InputError as error:
        raise InputError(f"{path}: {error}") from unbuilt.error


def _is_users(frame, folders: list[str]) -> bool:
    """Whether a frame's module lies in the user's folders: not ours, not installed."""
    file = Path(frame.f_code.co_filename)
    inside = any(file.is_relative_to(folder) for folder in folders)
    installed = "site-packages" in file.parts
    return inside and not installed and not _module_of(frame).startswith(OURS)


def _module_of(frame) -> str:
    return frame.f_globals.get("__name__", "")


def _why(unbuilt: Unbuilt, path: Path | str, overrides: dict[str, str]) -> str:
    """One line for what building a part raised."""
    error = unbuilt.error
    words = [str(error)] if isinstance(error, OSError) else map(str, error.args)
    message = " ".join(" ".join(words).split())
    given = shlex.join(f"--{key}={value}" for key, value in overrides.items())
    given = f" with {given}" if given else ""
    kind = type(error).__name__
    if unbuilt.named is None:
        what = f"{unbuilt.place} is not readable as YAML{given}"
        return f"{path}: {what}: {message} ({kind})"
    by = f"{unbuilt.place}, {':'.join(unbuilt.named)}"
    return f"{path} cannot be built{given}: {message} ({kind}), at {by}"
