"""Checks of the names and arguments in an experiment file, before anything is built.

A misspelt class or argument is an error of the YAML file, not of the class.
"""

import difflib
import inspect
import pkgutil
import pydoc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from inspect import Parameter, Signature
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from speechbrain_lmac.utils.errors import InputError, some_of

OURS = "speechbrain_lmac."
# Prefix of the tags of plain values.
PLAIN = "tag:yaml.org,2002:"
# Tags of HyperPyYAML, and the kind of object that each names.
KINDS = {
    "!new": "class",
    "!name": "class or function",
    "!apply": "function",
    "!module": "module",
}
OTHERS = ("!tuple", "!given")  # of HyperPyYAML, and ours

# Named arguments, by key, as nodes or as values.
Arguments = dict[str, Any]


def check_parts(root: Node, folders: Sequence[str]) -> None:
    """Raise for the first part of an experiment that cannot be built.

    Arguments
    ---------
    root : MappingNode
        The composed YAML, all references and includes resolved.
    folders : sequence of str
        Folders of the user's modules, for the message; they must be in `sys.path`.

    Raises
    ------
    InputError
        For a name that cannot be imported or does not fit its tag, and for invalid
        arguments; the message begins with the dotted key. An InputError that a module
        raises when it is imported is passed on unchanged.
    """
    for place, node in parts_of(root):
        kind = str(node.tag or "").partition(":")[0]
        if kind.startswith("!") and kind not in (*KINDS, *OTHERS):
            close = difflib.get_close_matches(kind, KINDS, n=1)
            known = ", ".join(f"{tag}:" for tag in KINDS)
            hint = f"did you mean {close[0]}:?" if close else f"use one of {known}"
            raise InputError(f"{place}: invalid YAML: unknown tag {kind}; {hint}")
        if named := tag_and_name(node):
            kind, name = named
            check_part(kind, _located(kind, name, place, folders), name, node, place)


def parts_of(root: Node) -> Iterator[tuple[str, Node]]:
    """Yield (dotted key, node) for each node once, children first."""
    seen: set[int] = set()

    def walk(node: Node, place: tuple[str, ...]) -> Iterator[tuple[str, Node]]:
        if id(node) in seen:
            return
        seen.add(id(node))
        if isinstance(node, MappingNode):
            for key, value in node.value:
                yield from walk(value, (*place, str(key.value)))
        elif isinstance(node, SequenceNode):
            for index, value in enumerate(node.value):
                yield from walk(value, (*place, str(index)))
        yield ".".join(place), node

    return walk(root, ())


def tag_and_name(node: Node) -> tuple[str, str] | None:
    """Return the tag of HyperPyYAML and the dotted name of a node, None for plain YAML.

    Returns
    -------
    named : tuple or None
        For example `("!new", "torch.nn.Linear")`.
    """
    kind, _, name = str(node.tag or "").partition(":")
    return (kind, name) if kind in KINDS and name else None


def check_part(kind: str, named: Any, name: str, node: Node, place: str) -> None:
    """Raise unless an object has the kind of its tag and takes the node's arguments.

    Arguments
    ---------
    kind : str
        The tag, a key of `KINDS`.
    named : object
        The imported object.
    name : str
        Its dotted name.
    node : Node
        The arguments: a mapping, a list, or an empty scalar.
    place : str
        The dotted key.

    Raises
    ------
    InputError
        Naming the place, the name, and the argument.
    """
    listed, values = _arguments(node)
    fits = {
        "!new": inspect.isclass(named),
        "!name": callable(named) or not (listed or values),
        "!apply": inspect.isroutine(named),
        "!module": inspect.ismodule(named),
    }
    if not fits[kind]:
        raise InputError(
            f"{place}: {kind}:{name} must name a {KINDS[kind]}, got {named!r:.80}"
        )
    if kind == "!module":
        if listed or values:
            raise InputError(f"{place}: {kind}:{name} takes no arguments")
        return
    ours = _is_ours(getattr(named, "__module__", None) or "")
    try:
        signature = inspect.signature(named, eval_str=ours)
    except (TypeError, ValueError):  # not callable, or a built-in without signature
        return
    _check_bound(kind, named, name, signature, (listed, values), place)
    if ours and kind == "!name":  # called later; `!new:` checks when it is built
        _check_values(signature, values, place)


def check_types(name: str, node: Node, place: str) -> None:
    """Raise if a plain value has the wrong type for an argument of our class.

    Arguments
    ---------
    name : str
        The dotted name of the part.
    node : Node
        Its arguments.
    place : str
        The dotted key.

    Raises
    ------
    InputError
        Naming the argument. The expected types are those of the annotation, or else
        that of a default other than None.
    """
    located: Any = pydoc.locate(name)
    signature = inspect.signature(located, eval_str=True)
    listed, values = _arguments(node)
    _check_values(signature, values or signature.bind(*listed).arguments, place)


def _located(kind: str, name: str, place: str, folders: Sequence[str]) -> Any:
    """Return the object with a dotted name."""
    try:
        found = pydoc.locate(name)
    except pydoc.ErrorDuringImport as error:
        if isinstance(error.value, InputError):
            raise error.value from error
        missing = getattr(error.value, "name", None) or ""
        is_missing = isinstance(error.value, ImportError) and not _is_ours(missing)
        if _is_ours(name) and not is_missing:
            raise  # a bug in our module
        message = " ".join(str(error).split())
        raise InputError(f"{place}: cannot import {name}: {message}") from error
    if found is None:
        places = ", ".join(dict.fromkeys(folders))
        raise InputError(
            f"{place}: unknown {KINDS[kind]} {name}{_close(name)} (searched installed "
            f"packages, {places})"
        )
    return found


def _is_ours(name: str) -> bool:
    return f"{name}.".startswith(OURS)


def _close(name: str) -> str:
    """Return "; did you mean X?" with the closest existing name, or ""."""
    names = name.split(".")
    for end in range(len(names) - 1, 0, -1):
        found = pydoc.locate(".".join(names[:end]))
        if found is not None:
            modules = pkgutil.iter_modules(getattr(found, "__path__", []))
            known = [*dir(found), *(module.name for module in modules)]
            known = [name for name in known if name != names[end]]  # names[end] is None
            close = difflib.get_close_matches(names[end], known, n=1)
            close = close or [name for name in known if name.startswith(names[end])][:1]
            meant = ".".join([*names[:end], *close])
            return f"; did you mean {meant}?" if close else ""
    return ""


def _arguments(node: Node) -> tuple[list[Node], Arguments]:
    """Return the listed and the named arguments of a node."""
    if isinstance(node, SequenceNode):
        return node.value, {}
    named: Arguments = {}
    for key, value in node.value if isinstance(node, MappingNode) else ():
        if key.tag == f"{PLAIN}merge":
            merged = value.value if isinstance(value, SequenceNode) else [value]
            for part in reversed(merged):
                named = {**_arguments(part)[1], **named}
        else:
            named[str(key.value)] = value
    return [], named


def _check_bound(
    kind: str,
    named: Any,
    name: str,
    signature: Signature,
    arguments: tuple[list[Node], Arguments],
    place: str,
) -> None:
    """Raise unless a signature takes the arguments; `!name:` may omit some."""
    listed, values = arguments
    bind = signature.bind_partial if kind == "!name" else signature.bind
    try:
        bind(*listed, **values)
    except TypeError as error:
        taken = [
            parameter.name
            for parameter in signature.parameters.values()
            if parameter.kind
            in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        ]
        wrong = [key for key in values if key not in taken]
        subject = "class" if inspect.isclass(named) else "function"
        reason = str(error)
        if wrong:
            close = difflib.get_close_matches(wrong[0], taken, n=1)
            hint = f"did you mean '{close[0]}'?" if close else _takes(taken)
            reason = f"unknown argument '{wrong[0]}'; {hint}"
        raise InputError(f"{place}: {subject} {name}: {reason}") from error


def _takes(names: list[str]) -> str:
    return f"it takes {some_of(names, 30)}" if names else "it takes none"


def _check_values(signature: Signature, values: Arguments, place: str) -> None:
    """Raise for a plain value that has the wrong type for its parameter."""
    for key, value in values.items():
        if key in signature.parameters and isinstance(value, Node):
            _check_value(value, signature.parameters[key], f"{place}.{key}")


def _check_value(node: Node, parameter: Parameter, place: str) -> None:
    kinds = _types_of(parameter)
    if not str(node.tag or "").startswith(PLAIN) or not kinds:
        return  # an object, a tuple
    expected = [EXPECTED[kind] for kind in kinds if kind in EXPECTED]
    if not any(_has_type(node, kind) for kind in kinds):
        got = repr(node.value) if isinstance(node, ScalarNode) else _container(node)
        names = " or ".join(expected) or OBJECT
        raise InputError(f"{place} must be {names}, got {got}")


OBJECT = "an object, such as !new:CLASS"
EXPECTED = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "a mapping",
    NoneType: "null",
}


# Annotations whose values are not checked; and the YAML type of each abstract one.
ANYTHING = {Any, Literal, object}
CONCRETE: dict[Any, type] = {tuple: list, Sequence: list, Iterable: list, Mapping: dict}


def _types_of(parameter: Parameter) -> tuple[Any, ...]:
    """Return the types that a parameter takes, () if values are not checked."""
    annotation = parameter.annotation
    if annotation is not parameter.empty:
        parts = (
            get_args(annotation) if isinstance(annotation, UnionType) else [annotation]
        )
        kinds = [get_origin(part) or part for part in parts]
    elif parameter.default is parameter.empty or parameter.default is None:
        return ()
    else:
        kinds = [type(parameter.default)]
        if kinds[0] is int:
            kinds = [float]  # a default of 1 may be meant as 1.0
        elif kinds[0] not in EXPECTED and kinds[0] is not tuple:
            return ()
    if not ANYTHING.isdisjoint(kinds):
        return ()
    return tuple(dict.fromkeys(CONCRETE.get(kind, kind) for kind in kinds))


def _has_type(node: Node, kind: Any) -> bool:
    """Return whether a plain value, not an object, has a type."""
    names: dict[Any, tuple[str, ...]] = {
        bool: ("bool",),
        int: ("int",),
        float: ("int", "float"),
        str: ("str",),
        NoneType: ("null",),
        list: ("seq",),
        dict: ("map", "omap"),
    }
    return str(node.tag).removeprefix(PLAIN) in names.get(kind, ())


def _container(node: Node) -> str:
    return "a list" if isinstance(node, SequenceNode) else "a mapping"
