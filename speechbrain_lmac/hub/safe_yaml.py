"""The YAML of a model from elsewhere, read as data: it cannot call what it likes.

HyperPyYAML builds whatever a file names: `!apply:os.system`, but also a plain scalar in
round brackets, which it parses once more with a loader that runs code. So the file of a
model that somebody has published is not given to it. Here the text is parsed once, into
plain values, `Build` and `Refer` (`safe_build`), of the keys of `KINDS`.
"""

import re
from pathlib import Path

from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.composer import Composer
from ruamel.yaml.nodes import MappingNode, ScalarNode
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
    Place,
    Refer,
    build,
)
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.old_names import current_name

LARGEST_FILE = 2**18  # bytes
DEEPEST = 32  # nodes in nodes
MOST_BRACKETS = 100  # open at once
MOST_NODES = 10_000
MOST_REFERENCES = 200
MOST_EXPANDED = 200_000  # nodes, where each reference stands for what it refers to
LARGEST_NUMBER = 2**20  # of a whole number: sizes beyond it only fill the memory
LARGEST_REAL = 1e9
LONGEST_WINDOW = 600.0  # seconds


PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in "str int float bool null".split()}
MAPPING, SEQUENCE = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"


def read_safely(path: Path, overrides: dict | None = None, declared: int = 0) -> dict:
    """Read and build the YAML file of a model that somebody else has made.

    Arguments
    ---------
    path : str or Path
        Of a file in the form that `model_folder.write_model` writes.
    overrides : dict, optional
        Yours, by key: other values, or for the arguments of a class a dict of them.
    declared : int
        Bytes of the weight files: parameters have at most `limits.PARAMETERS_PER_BYTE`
        times as many.

    Returns
    -------
    hparams : dict
        As `load_hyperpyyaml` would return it.

    Raises
    ------
    InputError
        For a file that is not readable, and for everything that is not allowed, naming
        the tag and the line, before anything is built.
    """
    path = Path(path)
    with BoundedConstruction(declared):
        return build(parse(path, overrides), path)


class _PlainResolver(VersionedResolver):
    """YAML's own kinds of scalars: HyperPyYAML adds tuples for the whole process."""

    def add_version_implicit_resolver(
        self, version: tuple[int, int], tag: str, regexp, first: list[str] | str
    ) -> None:
        if str(tag).startswith("tag:yaml.org,2002:"):
            super().add_version_implicit_resolver(version, tag, regexp, first)


def parse(path: Path, overrides: dict | None = None) -> dict:
    """The file as plain values, `Build` and `Refer`; nothing is imported or built.

    Raises
    ------
    InputError
        Naming the line, also for a key or a kind of value that no model has.
    """
    path = Path(path)
    tree = _parse(path)
    for key, value in tree.items():
        _check_kind(key, value, path)
    _check_references(tree, path)
    _override(tree, overrides or {}, path)
    return tree


class _BoundedComposer(Composer):
    """Nodes of YAML, at most so many and so deep; ruamel.yaml knows no limit."""

    depth = -1  # of the root: 0
    nodes = 0

    def compose_node(self, parent, index):
        self.depth += 1
        self.nodes += 1
        line = self.parser.peek_event().start_mark.line + 1
        if self.depth > DEEPEST:
            raise _TooMuch(line, f"more than {DEEPEST} levels")
        if self.nodes > MOST_NODES:
            raise _TooMuch(line, f"more than {MOST_NODES:,} values")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _TooMuch(Exception):
    """A line, and what it has too much of."""


def _parse(path: Path) -> dict:
    """The tree of a file, whatever its keys are."""
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_FILE + 1)
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path} as UTF-8: {error}") from error
    if len(content) > LARGEST_FILE:
        raise InputError(
            f"{path} has more than {LARGEST_FILE:,} bytes: it is no YAML of a model"
        )
    # The parser takes a second for thousands of brackets before it says a word.
    if _nesting(text) > MOST_BRACKETS:
        raise InputError(f"{path} has brackets in brackets, more than {MOST_BRACKETS}")
    yaml = YAML(typ="safe", pure=True)
    yaml.Resolver = _PlainResolver
    yaml.Composer = _BoundedComposer
    try:
        root = yaml.compose(text)
    except _TooMuch as error:
        line, what = error.args
        raise Place(path, line).error(what) from None
    except (YAMLError, ValueError) as error:
        said = " ".join(str(error).split())[:300]
        raise InputError(f"{path} is not readable as YAML: {said}") from error
    if not isinstance(root, MappingNode) or root.tag != MAPPING:
        raise InputError(f"{path} has no keys: it is not the YAML of a model")
    return _read(root, path)


def _nesting(text: str) -> int:
    """How deep brackets lie in brackets, wherever they stand."""
    depth = deepest = 0
    for bracket in re.findall(r"[][{}]", text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest


def _is_object(value) -> bool:
    return isinstance(value, Refer) or (isinstance(value, Build) and value.now)


def _is_encoder(value: Build) -> bool:
    return isinstance(value, Build) and value.now and value.name == ENCODER


def _is_explainer(value: Build | str) -> bool:
    return (
        isinstance(value, Build) and not value.now and value.name.startswith(EXPLAINERS)
    )


def _is_pretrainer(value: Build | str) -> bool:
    if not isinstance(value, Build) or not value.now or value.name != PRETRAINER:
        return False
    arguments = value.arguments
    return isinstance(arguments, dict) and _are_references(arguments.get("loadables"))


def _are_references(value: dict | str | None) -> bool:
    if not isinstance(value, dict) or not value:
        return False
    return all(isinstance(part, Refer) for part in value.values())


def _are_texts(value: list | str) -> bool:
    return isinstance(value, list) and all(isinstance(part, str) for part in value)


def _is_window(value) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (number and 0 < value <= LONGEST_WINDOW)


# Keys of a model, and what may stand there.
KINDS = {
    "window_seconds": (
        _is_window,
        f"a number above 0 and at most {LONGEST_WINDOW:g}, or null",
    ),
    "prompts": (_are_texts, "a list of texts"),
    "template": (lambda value: isinstance(value, str), "a text"),
    "label_encoder": (_is_encoder, f"!new:{ENCODER} without arguments"),
    "explainer": (_is_explainer, f"!name:{EXPLAINERS}..."),
    "modules": (_are_references, "names, each with a !ref <KEY>"),
    "pretrainer": (_is_pretrainer, "a Pretrainer with loadables, each a !ref <KEY>"),
    **dict.fromkeys(
        ("domain", "model", "clap", "interpreter"), (_is_object, "!new:...")
    ),
}
KEYS = {**KINDS, **PARTS}


def _check_kind(key: str, value, path: Path) -> None:
    """Refuse a key that a model does not have, and another kind of value."""
    if key not in KEYS:
        raise InputError(
            f"{path}: the key {key!r} is none of a model. "
            f"There are: {', '.join(KEYS)}; how a model is run (device, compile, "
            "precision, ...) is for its user to say"
        )
    fits, wanted = KEYS[key]
    if not fits(value):
        raise InputError(f"{path}: {key} has to be {wanted}")


def _check_references(tree: dict, path: Path):
    """Refuse references that are too many, or stand for too much, or lead nowhere."""
    n_references = 0
    sizes = {}

    def size_of(value, around: tuple[str, ...]) -> int:
        nonlocal n_references
        if isinstance(value, Refer):
            n_references += 1
            if value.key not in tree or value.key in around:
                raise value.place.error(f"!ref <{value.key}> leads nowhere")
            if value.key not in sizes:
                inner = size_of(tree[value.key], (*around, value.key))
                sizes[value.key] = inner
            return sizes[value.key]
        if isinstance(value, Build):
            value = value.arguments
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            return 1 + sum(size_of(part, around) for part in value)
        return 1

    for key, value in tree.items():
        expanded = size_of(value, (key,))
        if expanded > MOST_EXPANDED or n_references > MOST_REFERENCES:
            raise InputError(
                f"{path}: {key} has too many references: at most {MOST_REFERENCES} in "
                f"a file, which stand for {MOST_EXPANDED:,} values"
            )


def _read(node, path: Path):
    """A node as a plain value, `Build` or `Refer`."""
    place = Place(path, node.start_mark.line + 1)
    if node.anchor is not None:
        raise place.refuse(f"the anchor &{node.anchor}")
    tag = node.tag
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
        raise place.refuse(f"{tag} is not on the list")
    _check_arguments(tag, name, arguments, place)
    return Build(name, arguments, kind == "!new", place)


def _check_arguments(tag: str, name: str, arguments: dict | list, place: Place) -> None:
    """Refuse arguments that lead out of the folder, or say how a model is run."""
    named = arguments if isinstance(arguments, dict) else {}
    extra = set(named) & RUN_ARGUMENTS
    if name in ARGUMENTS:
        listed = arguments if isinstance(arguments, list) else []
        extra = [*map(str, listed), *sorted(set(named) - ARGUMENTS[name])]
    if extra:
        raise place.refuse(f"{tag} with {', '.join(sorted(extra))}")


def _plain(node, place: Place) -> float | str:
    """The value of a scalar."""
    kind = node.tag.rpartition(":")[2]
    text = node.value
    if kind == "str":
        return text
    try:
        return _VALUES[kind](text)
    except ValueError as error:
        raise place.error(f"{text[:80]!r} is no {kind} ({error})") from error


def _whole(text: str) -> int:
    value = int(text.replace("_", ""), 0) if len(text) < 40 else LARGEST_NUMBER + 1
    if abs(value) > LARGEST_NUMBER:
        raise ValueError(f"beyond {LARGEST_NUMBER:,}")
    return value


def _real(text: str) -> float:
    text = text.replace("_", "").lower()
    value = float(text.replace(".inf", "inf").replace(".nan", "nan"))
    if not abs(value) <= LARGEST_REAL:
        raise ValueError(f"no number up to {LARGEST_REAL:g}")
    return value


_VALUES = {
    "int": _whole,
    "float": _real,
    "bool": lambda text: text.lower() == "true",
    "null": lambda text: None,
}


def _mapping(node, path: Path) -> dict:
    """The keys and values of a mapping."""
    values = {}
    for key_node, value_node in node.value:
        place = Place(path, key_node.start_mark.line + 1)
        if key_node.tag != "tag:yaml.org,2002:str" or key_node.anchor is not None:
            raise place.refuse(f"a key with the tag {key_node.tag}")
        if key_node.value in values:
            raise place.error(f"the key {key_node.value!r} twice")
        values[key_node.value] = _read(value_node, path)
    return values


def _override(tree: dict, overrides: dict[str, int], path: Path) -> None:
    """Put other values in place of some."""
    for key, value in overrides.items():
        if key not in tree:
            raise InputError(f"{path} has no key {key!r}, which is to be overridden")
        inner = tree[key]
        inner = inner.arguments if isinstance(inner, Build) else inner
        if isinstance(value, dict) and isinstance(inner, dict):
            _override(inner, value, path)
        else:
            tree[key] = value
