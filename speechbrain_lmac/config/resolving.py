"""Resolution of experiment files: overrides, includes and references.

The semantics are HyperPyYAML's, but for overrides and arguments of includes: a node
with a tag (`!new:`, `!name:`, `!include:`, ...) replaces the old node, whereas
HyperPyYAML keeps the old tag. A mapping without a tag is merged into the node; a list
in place of a mapping selects its keys (`--conditions clean,noise`).
"""

import io
import math
import os
import re
import traceback
from collections.abc import MutableMapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hyperpyyaml.core import _applyref_function, recursive_resolve
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from speechbrain_lmac.config.checking import OURS
from speechbrain_lmac.config.inheritance import (
    HPARAMS,
    INCLUDE,
    make_includes_absolute,
    merged,
    read_tree,
    text_of,
)
from speechbrain_lmac.config.listed_experiments import put_in_texts
from speechbrain_lmac.config.nodes import parsed, tag_of
from speechbrain_lmac.config.training_keys import BLOCK, BLOCK_REMOVED
from speechbrain_lmac.utils.arguments import run_options
from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.old_names import current_name

# The tags of HyperPyYAML.
TAGGED = re.compile(
    r"!(ref|copy|PLACEHOLDER|(new|name|module|apply|applyref|include):)"
)
# Keys with text values, even where the file has null or a placeholder.
TEXT_KEY = re.compile(r"(folder|file|path|source|checkpoint)$")
# The top-level keys in a reference.
REFERRED = re.compile(r"<([^<>\[\].]+)")
# Tags of references and includes.
LEADING = ("!ref", "!copy", "!applyref:", INCLUDE)
# What HyperPyYAML raises for a reference that has no value.
NO_VALUE = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError)
HOME = re.compile(r"~[\w.-]*(/|$)")

Place = tuple[str | int, ...]  # the keys and indices that lead to a node


def resolve(path: Path | str, overrides: dict[str, str] | None = None) -> str:
    """Return an experiment file as one text without references.

    Arguments
    ---------
    path : str or Path
        The file.
    overrides : dict, optional
        Key at the top of the file to its new value, a str. If the file has text there,
        it is text, except `null` and values with a tag of HyperPyYAML; else it is YAML.
        A `~` at the beginning of a path is expanded.

    Returns
    -------
    text : str
        YAML, with the tags `!new:`, `!name:`, `!apply:` and `!module:` only.

    Raises
    ------
    InputError
        For invalid YAML, an unknown key, a value of another type than the file's, a
        missing include or reference, and placeholders without a value.
    """
    tree = read_tree(path)
    place = Path(path).resolve().parent
    for key, text in (overrides or {}).items():
        if key not in tree:
            hint = (
                _hint(key, tree)
                or f" List the keys with `speechbrain-lmac config {path}`"
            )
            raise InputError(f"{path}: unknown key '{key}'.{hint}")
        value = _Override(key, text, tree).value
        make_includes_absolute(value, [place, Path.cwd(), HPARAMS])
        tree[key] = merged(tree[key], value, f"--{key}")
    put_in_texts(tree, path)
    resolver = _Resolver(path)
    tree = resolver.resolve(tree, place, ())
    resolver.raise_if_placeholders()
    stream = io.StringIO()
    YAML().dump(_expanded(tree), stream)
    return stream.getvalue()


class _Override:
    """The value of an option `--key text`, of the type that the file has there."""

    def __init__(self, key: str, text: str, tree: Any) -> None:
        self.key, self.text = key, text
        self.value = self._node(_current(tree[key], tree))

    def _node(self, current: Any) -> Any:
        if TAGGED.match(self.text) or self.text == "null":
            return self._yaml()
        if isinstance(current, str) or (
            _is_untyped(current) and TEXT_KEY.search(self.key)
        ):
            return self._plain_text()
        if _is_untyped(current):
            try:
                value = self._yaml()
            except InputError:
                value = self.text
            return self._plain_text() if isinstance(value, str) else value
        value = self._yaml()
        if isinstance(current, bool):
            self._check(isinstance(value, bool), "true or false")
        elif isinstance(current, int | float):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            kind = "whole" if isinstance(current, int) else "finite"
            self._check(number and math.isfinite(value), f"a {kind} number")
        elif isinstance(current, CommentedSeq) and not tag_of(current):
            value = _names(value)
            self._check(isinstance(value, CommentedSeq), "a list, such as '[a, b]'")
        elif isinstance(current, MutableMapping) and not tag_of(current):
            value = _names(value)
            expected = "names of its keys, such as '[a, b]', or a mapping of changes"
            self._check(isinstance(value, MutableMapping | list), expected)
        elif isinstance(current, MutableMapping) or tag_of(current):
            expected = "a mapping, such as '{key: value}', or begin with a tag"
            self._check(
                isinstance(value, MutableMapping) or bool(tag_of(value)), expected
            )
        return value

    def _yaml(self) -> Any:
        return parsed(self.text, f"--{self.key} {self.text}")

    def _plain_text(self) -> DoubleQuotedScalarString:
        if re.fullmatch(r"\(.*\)", self.text, re.DOTALL):
            raise InputError(
                f"--{self.key} {self.text}: HyperPyYAML reads (...) as a tuple; write "
                "a path as ./(...)"
            )
        return DoubleQuotedScalarString(self.text)

    def _check(self, right: bool, expected: str) -> None:
        if not right:
            raise InputError(f"--{self.key} must be {expected}, got {self.text!r}")


class _Resolver:
    """Resolves includes and references, as HyperPyYAML does; collects placeholders.

    Arguments
    ---------
    path : str or Path
        The experiment file, for error messages.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self.placeholders: dict[int, Place] = {}  # id of a placeholder to its place
        self.files = [Path(path).resolve()]  # that include the current one
        self.begun: set[int] = set()  # ids of the nodes that lead to the current one

    def resolve(self, tree: Any, folder: Path, place: Place) -> Any:
        """Return the tree of a file, with the references in it resolved.

        Arguments
        ---------
        tree : node
        folder : Path
            Folder that includes are relative to.
        place : tuple of (str or int)
            Keys and indices that lead to the tree in the experiment.

        Returns
        -------
        tree : node
        """
        settled: set[str] = set()

        def settle(key: str) -> None:
            if isinstance(tree, MutableMapping) and key in tree and key not in settled:
                settled.add(key)
                tree[key] = walk(tree[key], (*place, key))

        def walk(node: Any, place: Place) -> Any:
            if id(node) in self.begun:
                raise InputError(f"{self.path}: {_dotted(place)} refers to itself")
            self.begun.add(id(node))
            try:
                return resolved(node, place)
            finally:
                self.begun.discard(id(node))

        def resolved(node: Any, place: Place) -> Any:
            if isinstance(node, list):
                for index, part in enumerate(node):
                    node[index] = walk(part, (*place, index))
            elif node is tree and isinstance(node, MutableMapping):
                for key in node:
                    settle(key)
            elif isinstance(node, MutableMapping):
                for key, part in node.items():
                    node[key] = walk(part, (*place, key))
            tag = tag_of(node)
            if tag == "!PLACEHOLDER":
                self.placeholders.setdefault(id(node), place)
            elif tag in ("!ref", "!copy"):
                for name in REFERRED.findall(str(node.value)):
                    settle(name)  # it may stand below, and be an include
                found = self._reference(node, tree, place)
                # The reference is circular, or leads to an unresolved node.
                again = id(found) in self.begun or tag_of(found).startswith(LEADING)
                return walk(found, place) if again else found
            elif tag.startswith(INCLUDE):
                return self._include(node, folder / tag.removeprefix(INCLUDE), place)
            elif tag.startswith("!applyref:"):
                return self._applied(node, place)
            return node

        return walk(tree, place)

    def raise_if_placeholders(self) -> None:
        """Raise `InputError` if placeholders are left, listing all."""
        if self.placeholders:
            names = [_dotted(place) for place in self.placeholders.values()]
            verb = "is a !PLACEHOLDER" if len(names) == 1 else "are !PLACEHOLDERs"
            raise InputError(
                f"{self.path}: {some_of(names, 30)} {verb}: set a value in the file or "
                "on the command line"
            )

    def _reference(self, node: Any, tree: Any, place: Place) -> Any:
        copies = tag_of(node) == "!copy"
        try:
            return recursive_resolve(node.value, [], tree, copies)
        except RecursionError as error:
            message = f"{self.path}: {_dotted(place)} refers to itself: {node.value}"
            raise InputError(message) from error
        except NO_VALUE as error:
            self.raise_if_placeholders()  # which may be the reason
            raise InputError(
                f"{self.path}: {_dotted(place)}: {tag_of(node)} {node.value} has no "
                f"value ({error})"
            ) from error

    def _applied(self, node: Any, place: Place) -> Any:
        """Return the result of the function of an `!applyref:`."""
        name = current_name(tag_of(node).removeprefix("!applyref:"))
        try:
            return _applyref_function(name, node)
        except InputError:
            raise
        except Exception as error:
            frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
            if frames[-1].f_globals.get("__name__", "").startswith(OURS):
                raise
            message = " ".join(" ".join(map(str, error.args)).split())
            raise InputError(
                f"{self.path}: {_dotted(place)}, {tag_of(node)}: {message} "
                f"({type(error).__name__})"
            ) from error

    def _include(self, node: Any, file: Path, place: Place) -> Any:
        if not file.is_file():
            raise InputError(
                f"{self.path}: {_dotted(place)}: missing file to include: {file}"
            )
        if file.resolve() in self.files:
            raise InputError(
                f"{self.path}: {_dotted(place)}: {file} includes itself, through "
                f"{self.files[-1].name}"
            )
        tree = parsed(text_of(file), file)
        if tree is None:
            raise InputError(f"{self.path}: {_dotted(place)}: {file} is empty")
        if isinstance(node, MutableMapping):
            arguments = CommentedMap(node.items())
            tree = merged(tree, arguments, f"{file}, included at {_dotted(place)}")
        self.files.append(file.resolve())
        tree = self.resolve(tree, file.parent, place)
        self.files.pop()
        return tree


def _dotted(place: Place) -> str:
    """Return the dotted key of a node."""
    return ".".join(map(str, place))


def _current(node: Any, tree: Any) -> Any:
    """Return the node, or the one that it refers to."""
    if tag_of(node) in ("!ref", "!copy"):
        try:
            return recursive_resolve(node.value, [], tree)
        except (*NO_VALUE, RecursionError):
            return None  # a reference into an include is not text
    return node


def _names(value: Any) -> Any:
    """Return the list of names in a text like `clean,noise`; else the value."""
    if not isinstance(value, str) or tag_of(value):
        return value
    return CommentedSeq(name.strip() for name in value.split(","))


def _is_untyped(node: Any) -> bool:
    """Return whether a value has no type yet: null or a placeholder."""
    return node is None or tag_of(node) == "!PLACEHOLDER"


def _hint(key: str, tree: Any) -> str:
    """Return a hint for an unknown key: the closest key or option, or all keys."""
    if key == BLOCK:
        return f" In this version {BLOCK_REMOVED}"
    options = [name.removeprefix("--") for name in run_options()]
    if key in options:
        return " It is an option of the recipes, not a key of the file"
    names = [*tree, *options]
    close = get_close_matches(key, names)
    if close:
        return f" Did you mean '{close[0]}'?"
    keys = [name for name in tree if not name.startswith("__")]
    return f" The keys of the file are {some_of(keys, 40)}" if keys else ""


def _expanded(node: Any) -> Any:
    """Expand `~` at the beginning of the strings in a node, and return it."""
    if isinstance(node, MutableMapping):
        for key, part in node.items():
            node[key] = _expanded(part)
    elif isinstance(node, list):
        for index, part in enumerate(node):
            node[index] = _expanded(part)
    elif isinstance(node, str) and HOME.match(node):
        return type(node)(os.path.expanduser(node))
    return node
