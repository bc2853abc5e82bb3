"""Safe parsing of the YAML of an untrusted model, as data.

HyperPyYAML can run any code that a file names: by `!apply:os.system`, but also by a
plain scalar in parentheses, which it parses again with an unsafe loader. So untrusted
files are not passed to it. This module parses the text once, into plain values, `Build`
and `Refer` (`safe_build`), for the keys in `KEYS`.
"""

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.composer import Composer
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode
from ruamel.yaml.resolver import VersionedResolver

from speechbrain_lmac.hub.limits import BoundedConstruction
from speechbrain_lmac.hub.safe_build import (
    ALLOWED,
    ARGUMENTS,
    ENCODER,
    EXPLAINERS,
    LAYER,
    PARTS,
    PRETRAINER,
    RUN_ARGUMENTS,
    Build,
    Check,
    Place,
    Refer,
    build,
)
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.old_names import current_name

LARGEST_FILE = 2**18  # bytes
DEEPEST = 32  # levels of nested nodes
MOST_BRACKETS = 100  # levels of nested brackets
MOST_NODES = 10_000
MOST_REFERENCES = 200
MOST_EXPANDED = 200_000  # nodes after replacing references by their targets
LARGEST_INTEGER = 2**20  # no useful size is larger
LARGEST_FLOAT = 1e9
LONGEST_WINDOW = 600.0  # seconds


PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in "str int float bool null".split()}
MAPPING, SEQUENCE = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"


def read_safely(
    path: Path | str, overrides: dict[str, Any] | None = None, weight_bytes: int = 0
) -> dict[str, Any]:
    """Read and build the YAML file of an untrusted model.

    Arguments
    ---------
    path : str or Path
        A file in the format of `model_folder.write_model`.
    overrides : dict, optional
        Key to its new value; for a class, a dict of new arguments.
    weight_bytes : int
        Size of the weight files in bytes, which limits the parameters; see
        `limits.BoundedConstruction`.

    Returns
    -------
    hparams : dict
        As returned by `load_hyperpyyaml`.

    Raises
    ------
    InputError
        For an unreadable file, and for a part that is not allowed, with its tag and
        line, before anything is built.
    """
    path = Path(path)
    with BoundedConstruction(weight_bytes):
        return build(parse(path, overrides), path)


class _PlainResolver(VersionedResolver):
    """A resolver of YAML's standard scalars only, without HyperPyYAML's tuples."""

    def add_version_implicit_resolver(
        self, version: Any, tag: Any, regexp: Any, first: Any
    ) -> None:
        if str(tag).startswith("tag:yaml.org,2002:"):
            super().add_version_implicit_resolver(version, tag, regexp, first)


def parse(path: Path | str, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
    """Parse a file into plain values, `Build` and `Refer`, without importing anything.

    Raises
    ------
    InputError
        As `read_safely`; also for an unknown key or a wrong type of value.
    """
    path = Path(path)
    tree = _parse(path)
    for key, value in tree.items():
        _check_kind(key, value, path)
    _check_references(tree, path)
    _override(tree, overrides or {}, path)
    return tree


class _BoundedComposer(Composer):
    """A composer that limits the number and depth of nodes; ruamel.yaml does not."""

    depth = -1  # 0 at the root
    nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        self.nodes += 1
        line = self.parser.peek_event().start_mark.line + 1
        if self.depth > DEEPEST:
            raise _LimitError(line, f"more than {DEEPEST} levels")
        if self.nodes > MOST_NODES:
            raise _LimitError(line, f"more than {MOST_NODES:,} values")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _LimitError(Exception):
    """A line of the file and the limit that it exceeds."""


def _parse(path: Path) -> dict[str, Any]:
    """Return the tree of a file, with any keys."""
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_FILE + 1)
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path} as UTF-8: {error}") from error
    if len(content) > LARGEST_FILE:
        raise InputError(
            f"{path} has more than {LARGEST_FILE:,} bytes: not the YAML of a model"
        )
    # The parser is slow for thousands of nested brackets.
    if _nesting(text) > MOST_BRACKETS:
        raise InputError(f"{path} has more than {MOST_BRACKETS} nested brackets")
    yaml = YAML(typ="safe", pure=True)
    yaml.Resolver = _PlainResolver
    yaml.Composer = _BoundedComposer
    try:
        root = yaml.compose(text)
    except _LimitError as error:
        line, message = error.args
        raise Place(path, line).error(message) from None
    except (YAMLError, ValueError) as error:
        message = " ".join(str(error).split())[:300]
        raise InputError(f"{path} is not readable as YAML: {message}") from error
    if not isinstance(root, MappingNode) or root.tag != MAPPING:
        raise InputError(
            f"{path} must be a mapping of keys: it is not the YAML of a model"
        )
    return _read(root, path)


def _nesting(text: str) -> int:
    """Return the maximum depth of nested brackets, including those in strings."""
    depth = deepest = 0
    for bracket in re.findall(r"[][{}]", text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest


def _is_object(value: Any) -> bool:
    """Whether a value is an object or a reference to one."""
    return isinstance(value, Refer) or (isinstance(value, Build) and value.is_new)


def _is_encoder(value: Any) -> bool:
    """Whether a value is SpeechBrain's label encoder."""
    return isinstance(value, Build) and value.is_new and value.name == ENCODER


def _is_explainer(value: Any) -> bool:
    """Whether a value is the `!name:` of one of our explainers."""
    return (
        isinstance(value, Build)
        and not value.is_new
        and value.name.startswith(EXPLAINERS)
    )


def _is_pretrainer(value: Any) -> bool:
    """Whether a value is SpeechBrain's pretrainer with `loadables`."""
    if not isinstance(value, Build) or not value.is_new or value.name != PRETRAINER:
        return False
    arguments = value.arguments
    return isinstance(arguments, dict) and _are_references(arguments.get("loadables"))


def _are_references(value: Any) -> bool:
    """Whether a value is a non-empty mapping of names to references."""
    if not isinstance(value, dict) or not value:
        return False
    return all(isinstance(part, Refer) for part in value.values())


def _are_strings(value: Any) -> bool:
    """Whether a value is a list of strings."""
    return isinstance(value, list) and all(isinstance(part, str) for part in value)


def _is_window(value: Any) -> bool:
    """Whether a value is null or a length in seconds, at most `LONGEST_WINDOW`."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (number and 0 < value <= LONGEST_WINDOW)


# Key of a model's YAML to (check of its value, description of a valid value).
KINDS: dict[str, tuple[Check, str]] = {
    "window_seconds": (
        _is_window,
        f"a number above 0 and at most {LONGEST_WINDOW:g}, or null",
    ),
    "prompts": (_are_strings, "a list of strings"),
    "template": (lambda value: isinstance(value, str), "a string"),
    "label_encoder": (_is_encoder, f"!new:{ENCODER} without arguments"),
    "explainer": (_is_explainer, f"!name:{EXPLAINERS}..."),
    "modules": (_are_references, "a mapping of names to !ref <KEY>"),
    "pretrainer": (_is_pretrainer, "a Pretrainer with loadables, each a !ref <KEY>"),
    **dict.fromkeys(
        ("domain", "model", "clap", "interpreter"), (_is_object, "!new:...")
    ),
}
KEYS = {**KINDS, **PARTS}


def _check_kind(key: str, value: Any, path: Path) -> None:
    """Raise for an unknown key or a wrong type of value."""
    if key not in KEYS:
        raise InputError(
            f"{path}: unknown key {key!r}. The keys of a model are {', '.join(KEYS)}; "
            "run options (device, compile, precision, ...) are not part of it"
        )
    fits, expected = KEYS[key]
    if not fits(value):
        raise InputError(f"{path}: {key} must be {expected}")


def _check_references(tree: dict[str, Any], path: Path) -> None:
    """Raise for too many references, or references without a target."""
    n_references = 0
    sizes: dict[str, int] = {}

    def size_of(value: Any, ancestors: tuple[str, ...]) -> int:
        nonlocal n_references
        if isinstance(value, Refer):
            n_references += 1
            if value.key not in tree or value.key in ancestors:
                raise value.place.error(
                    f"!ref <{value.key}> has no target, or refers to itself"
                )
            if value.key not in sizes:
                inner = size_of(tree[value.key], (*ancestors, value.key))
                sizes[value.key] = inner
            return sizes[value.key]
        if isinstance(value, Build):
            value = value.arguments
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            return 1 + sum(size_of(part, ancestors) for part in value)
        return 1

    for key, value in tree.items():
        expanded = size_of(value, (key,))
        if expanded > MOST_EXPANDED or n_references > MOST_REFERENCES:
            raise InputError(
                f"{path}: {key} has too many references: the limit is "
                f"{MOST_REFERENCES} in a file, and {MOST_EXPANDED:,} values after "
                "replacing them"
            )


def _read(node: Node, path: Path) -> Any:
    """Return a node as a plain value, `Build` or `Refer`."""
    place = Place(path, node.start_mark.line + 1)
    if node.anchor is not None:
        raise place.refuse(f"the anchor &{node.anchor}")
    tag = str(node.tag)
    arguments: dict[str, Any] | list[Any]
    if isinstance(node, ScalarNode):
        if tag in PLAIN:
            return _plain(node, place)
        arguments = {}
        key = re.fullmatch(r"<(\w+)>", node.value)
        if tag == "!ref" and key:
            return Refer(key.group(1), place)
        if node.value:
            raise place.refuse(f"{tag} {node.value[:80]!r}")
    elif isinstance(node, MappingNode):
        arguments = _mapping(node, path)
        if tag == MAPPING:
            return arguments
    else:
        arguments = [_read(part, path) for part in node.value]
        if tag == SEQUENCE:
            return arguments
    kind, _, name = tag.partition(":")
    name = name if name in ALLOWED else current_name(name)
    if kind not in ("!new", "!name"):
        raise place.refuse(f"the tag {tag}")
    if name not in ALLOWED and not LAYER.fullmatch(name):
        raise place.refuse(f"{tag} is not an allowed class")
    _check_arguments(tag, name, arguments, place)
    return Build(name, arguments, kind == "!new", place)


def _check_arguments(
    tag: str, name: str, arguments: dict[str, Any] | list[Any], place: Place
) -> None:
    """Raise for arguments that name other files, or set device or precision."""
    named = arguments if isinstance(arguments, dict) else {}
    extra = set(named) & RUN_ARGUMENTS
    if name in ARGUMENTS:
        listed = arguments if isinstance(arguments, list) else []
        extra = {*map(str, listed), *(set(named) - ARGUMENTS[name])}
    if extra:
        raise place.refuse(f"{tag} with {', '.join(sorted(extra))}")


def _plain(node: ScalarNode, place: Place) -> Any:
    """Return the value of a scalar."""
    kind = str(node.tag).rpartition(":")[2]
    text = node.value
    if kind == "str":
        return text
    try:
        return _VALUES[kind](text)
    except ValueError as error:
        raise place.error(f"{text[:80]!r} is not a valid {kind} ({error})") from error


def _integer(text: str) -> int:
    """Return an integer of at most `LARGEST_INTEGER`."""
    value = int(text.replace("_", ""), 0) if len(text) < 40 else LARGEST_INTEGER + 1
    if abs(value) > LARGEST_INTEGER:
        raise ValueError(f"the limit is {LARGEST_INTEGER:,}")
    return value


def _float(text: str) -> float:
    """Return a finite float of at most `LARGEST_FLOAT`."""
    text = text.replace("_", "").lower()
    value = float(text.replace(".inf", "inf").replace(".nan", "nan"))
    if not abs(value) <= LARGEST_FLOAT:
        raise ValueError(f"the limit is {LARGEST_FLOAT:g}")
    return value


_VALUES = {
    "int": _integer,
    "float": _float,
    "bool": lambda text: text.lower() == "true",
    "null": lambda text: None,
}


def _mapping(node: MappingNode, path: Path) -> dict[str, Any]:
    """Return the keys and values of a mapping."""
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        place = Place(path, key_node.start_mark.line + 1)
        if key_node.tag != "tag:yaml.org,2002:str" or key_node.anchor is not None:
            raise place.refuse(f"a key with the tag {key_node.tag}")
        if key_node.value in values:
            raise place.error(f"duplicate key {key_node.value!r}")
        values[key_node.value] = _read(value_node, path)
    return values


def _override(tree: dict[str, Any], overrides: dict[str, Any], path: Path) -> None:
    """Replace the values of a tree by those of `overrides`, in place."""
    for key, value in overrides.items():
        if key not in tree:
            raise InputError(f"{path} has no key {key!r} to override")
        inner = tree[key]
        inner = inner.arguments if isinstance(inner, Build) else inner
        if isinstance(value, dict) and isinstance(inner, dict):
            _override(inner, value, path)
        else:
            tree[key] = value
