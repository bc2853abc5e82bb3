"""Building the objects of an experiment, and the errors of building.

A part raises `InputError` for an invalid value. Any other exception is treated by its
origin: in our code it is a bug and keeps its traceback; in a library or a user's class
it becomes an `InputError` that names the place in the YAML file.
"""

import shlex
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import Loader
from ruamel.yaml.nodes import Node

from speechbrain_lmac.config.checking import (
    OURS,
    check_parts,
    check_types,
    parts_of,
    tag_and_name,
)
from speechbrain_lmac.utils.errors import InputError


class Unbuilt(Exception):
    """An exception that building a node of the YAML raised.

    Arguments
    ---------
    node : Node
    place : str
        Its dotted key.
    named : tuple or None
        Its tag and dotted name, see `tag_and_name`; None for a plain value.
    error : Exception
    """

    def __init__(
        self, node: Node, place: str, named: tuple[str, str] | None, error: Exception
    ) -> None:
        super().__init__(node, place, named, error)
        self.node, self.place, self.named, self.error = node, place, named, error


def build(
    resolved: str,
    path: Path | str,
    folders: Sequence[str],
    overrides: dict[str, str] | None = None,
    existing: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Build the objects of an experiment by HyperPyYAML, after checking all of them.

    Arguments
    ---------
    resolved : str
        YAML without `!ref` and `!include:`.
    path : str or Path
        The experiment file, for error messages.
    folders : sequence of str
        Folders to search for modules, besides the installed packages.
    overrides : dict, optional
        The keys of the command line, for error messages.
    existing : dict, optional
        Name to an existing object, used for `!given NAME`.

    Returns
    -------
    hparams : dict

    Raises
    ------
    InputError
        Before anything is built: for an unknown name or invalid arguments. Then for an
        invalid value of a part, and for an exception of a class that is not ours.
    """
    objects = existing or {}

    class _Loader(Loader):
        """Checks all nodes before the first is built; names the one that fails."""

        def construct_document(self, node: Node) -> dict[str, Any]:
            self.root = node
            try:
                check_parts(node, folders)
            except InputError as error:
                raise InputError(f"{path}: {error}") from error
            return super().construct_document(node)

        def construct_object(self, node: Node, deep: bool = True) -> Any:
            try:
                return super().construct_object(node, deep)
            except (InputError, Unbuilt, MemoryError):
                raise
            except Exception as error:
                places = (p for p, part in parts_of(self.root) if part is node)
                place = next(places, "")
                raise Unbuilt(node, place, tag_and_name(node), error) from error

    _Loader.add_constructor("!given", lambda _, node: objects[node.value])
    try:
        return load_hyperpyyaml(resolved, loader=_Loader)
    except Unbuilt as unbuilt:
        error = unbuilt.error
        if is_ours(unbuilt, folders):
            _check_types(unbuilt, path)
            error.add_note(f"in building {unbuilt.place} of {path}")
            raise error from None
        raise InputError(_why(unbuilt, path, overrides or {})) from error


def is_ours(unbuilt: Unbuilt, folders: Sequence[str]) -> bool:
    """Return whether our code raised the error, with no user's code in the traceback.

    `folders` are those of the user's modules.
    """
    if unbuilt.named is None or not unbuilt.named[1].startswith(OURS):
        return False
    error = unbuilt.error
    if isinstance(error, OSError):  # a problem of a file or folder
        return False
    if isinstance(error, ImportError) and not f"{error.name}.".startswith(OURS):
        return False  # a package that is not installed
    frames = [f for f, _ in traceback.walk_tb(error.__traceback__)]
    if any(_is_users(frame, folders) for frame in frames):
        return False
    return _module_of(frames[-1]).startswith(OURS)


def _check_types(unbuilt: Unbuilt, path: Path | str) -> None:
    """Raise `InputError` if an argument of our class has the wrong type."""
    assert unbuilt.named is not None
    try:
        check_types(unbuilt.named[1], unbuilt.node, unbuilt.place)
    except InputError as error:
        raise InputError(f"{path}: {error}") from unbuilt.error


def _is_users(frame: FrameType, folders: Sequence[str]) -> bool:
    """Return whether a frame's module is the user's: not ours, not installed."""
    file = Path(frame.f_code.co_filename)
    inside = any(file.is_relative_to(folder) for folder in folders)
    installed = "site-packages" in file.parts
    return inside and not installed and not _module_of(frame).startswith(OURS)


def _module_of(frame: FrameType) -> str:
    return frame.f_globals.get("__name__", "")


def _why(unbuilt: Unbuilt, path: Path | str, overrides: dict[str, str]) -> str:
    """Return the message of one line for a part that could not be built."""
    error = unbuilt.error
    words = [str(error)] if isinstance(error, OSError) else map(str, error.args)
    message = " ".join(" ".join(words).split())
    options = shlex.join(f"--{key}={value}" for key, value in overrides.items())
    options = f" with {options}" if options else ""
    kind = type(error).__name__
    if unbuilt.named is None:
        return f"{path}: invalid YAML at {unbuilt.place}{options}: {message} ({kind})"
    place = f"{unbuilt.place}, {':'.join(unbuilt.named)}"
    return f"{path} cannot be built{options}: {message} ({kind}), at {place}"
