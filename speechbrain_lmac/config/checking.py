"""Whether everything that an experiment names is there and takes its arguments.

Looked at before anything is built: a misspelt class or argument is a mistake in the
YAML file, whatever the class would make of it.
"""

import difflib
import inspect
import pkgutil
import pydoc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from speechbrain_lmac.utils.errors import InputError, some_of

OURS = "speechbrain_lmac."
# Of plain values.
PLAIN = "tag:yaml.org,2002:"
# Tags of HyperPyYAML, and what they name.
KINDS = {
    "!new": "class",
    "!name": "class or function",
    "!apply": "function",
    "!module": "module",
}
OTHERS = ("!tuple", "!given")  # of HyperPyYAML, and ours


def check_parts(root, folders: list[str]) -> None:
    """Raise for the first part of an experiment that cannot be built as it is written.

    Arguments
    ---------
    root : MappingNode
        The composed YAML, all references and includes put in.
    folders : list of str
        Where modules are looked for besides what is installed.

    Raises
    ------
    InputError
        For a name that cannot be imported, for one of another kind than its tag says,
        and for arguments that it does not take. It begins with the dotted key.
    """
    for place, node in parts_of(root):
        kind = str(node.tag or "").partition(":")[0]
        if kind.startswith("!") and kind not in (*KINDS, *OTHERS):
            close = difflib.get_close_matches(kind, KINDS, n=1)
            hint = f"; did you mean {close[0]}:?" if close else ""
            raise InputError(
                f"{place} is not readable as YAML: there is no tag {kind}{hint}"
            )
        if named := tag_and_name(node):
            kind, name = named
            check_part(kind, _located(kind, name, place, folders), name, node, place)


def parts_of(root):
    """Yield (dotted key, node) for each node once, what it consists of before it."""
    seen = set()

    def walk(node, place: tuple[str, ...]) -> Iterator[tuple]:
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


def tag_and_name(node) -> tuple[str, str] | None:
    """The tag of HyperPyYAML and the dotted name of a node, None for plain YAML.

    Returns
    -------
    named : tuple or None
        As `("!new", "torch.nn.Linear")`.
    """
    kind, _, name = str(node.tag or "").partition(":")
    return (kind, name) if kind in KINDS and name else None


def check_part(kind: str, named, name: str, node, place: str) -> None:
    """Raise unless what a tag names is of its kind and takes the node's arguments.

    Arguments
    ---------
    kind : str
        The tag, a key of `KINDS`.
    named : object
        What the dotted `name` has led to.
    name : str
    node : Node
        The arguments: a mapping, a list, or an empty scalar.
    place : str
        The dotted key.

    Raises
    ------
    InputError
    """
    listed, given = _arguments(node)
    fits = {
        "!new": inspect.isclass(named),
        "!name": callable(named) or not (listed or given),
        "!apply": inspect.isroutine(named),
        "!module": inspect.ismodule(named),
    }
    if not fits[kind]:
        raise InputError(
            f"{place}: {kind}:{name} should name a {KINDS[kind]}, but is {named!r:.80}"
        )
    if kind == "!module":
        if listed or given:
            raise InputError(f"{place}: a module takes no arguments: {kind}:{name}")
        return
    ours = _is_ours(getattr(named, "__module__", None))
    try:
        signature = inspect.signature(named, eval_str=ours)
    except (TypeError, ValueError):  # a value, or a built-in function without one
        return
    _check_bound(kind, named, name, signature, (listed, given), place)
    if ours and kind == "!name":  # it is called later; others say it better themselves
        _check_values(signature, given, place)


def check_kinds(name: str, node, place: str) -> None:
    """Raise where a part of ours was given a value of another kind than it takes.

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
        Naming the argument. The kinds are those of a parameter's annotation, else of
        its default where this is no None.
    """
    signature = inspect.signature(pydoc.locate(name), eval_str=True)
    listed, given = _arguments(node)
    _check_values(signature, given or signature.bind(*listed).arguments, place)


def _located(kind: str, name: str, place: str, folders: list[str]):
    """What a dotted name leads to."""
    try:
        found = pydoc.locate(name)
    except pydoc.ErrorDuringImport as error:
        if isinstance(error.value, InputError):
            raise error.value from error
        missing = getattr(error.value, "name", None) or ""
        lacks = isinstance(error.value, ImportError) and not _is_ours(missing)
        if _is_ours(name) and not lacks:
            raise  # our module, and so our fault
        message = " ".join(str(error).split())
        raise InputError(f"{place}: cannot import {name}: {message}") from error
    if found is None:
        places = ", ".join(dict.fromkeys(folders))
        raise InputError(
            f"{place}: There is no such {KINDS[kind]} as {name}{_close(name)} (looked "
            f"in what is installed, in {places})"
        )
    return found


def _is_ours(name: str) -> bool:
    return f"{name}.".startswith(OURS)


def _close(name: str) -> str:
    """A hint at the name that a misspelt one may mean."""
    names = name.split(".")
    for end in range(len(names) - 1, 0, -1):
        found = pydoc.locate(".".join(names[:end]))
        if found is not None:
            modules = pkgutil.iter_modules(getattr(found, "__path__", []))
            there = [*dir(found), *(module.name for module in modules)]
            there = [name for name in there if name != names[end]]  # of another kind
            close = difflib.get_close_matches(names[end], there, n=1)
            close = close or [name for name in there if name.startswith(names[end])][:1]
            meant = ".".join([*names[:end], *close])
            return f"; did you mean {meant}?" if close else ""
    return ""


def _arguments(node) -> tuple:
    """The listed and the named arguments of a node: a list and a dict of nodes."""
    if isinstance(node, SequenceNode):
        return node.value, {}
    named = {}
    for key, value in node.value if isinstance(node, MappingNode) else ():
        if key.tag == f"{PLAIN}merge":
            merged = value.value if isinstance(value, SequenceNode) else [value]
            for part in reversed(merged):
                named = {**_arguments(part)[1], **named}
        else:
            named[str(key.value)] = value
    return [], named


def _check_bound(
    kind: str, named, name: str, signature, arguments: tuple, place: str
) -> None:
    """Raise unless a signature takes the arguments; `!name:` may leave some open."""
    listed, given = arguments
    bind = signature.bind_partial if kind == "!name" else signature.bind
    try:
        bind(*listed, **given)
    except TypeError as error:
        taken = [
            parameter.name
            for parameter in signature.parameters.values()
            if parameter.kind
            in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        ]
        wrong = [key for key in given if key not in taken]
        what = "class" if inspect.isclass(named) else "function"
        why = str(error)
        if wrong:
            close = difflib.get_close_matches(wrong[0], taken, n=1)
            hint = f"did you mean '{close[0]}'?" if close else _takes(taken)
            why = f"there is no argument '{wrong[0]}'; {hint}"
        raise InputError(
            f"{place}: Invalid argument to {what} {name}: {why}"
        ) from error


def _takes(names: list[str]) -> str:
    return f"it takes {some_of(names, 30)}" if names else "it takes none"


def _check_values(signature, given: dict, place: str) -> None:
    """Raise for a plain value of another kind than its parameter takes."""
    for key, value in given.items():
        if key in signature.parameters and isinstance(value, Node):
            _check_value(value, signature.parameters[key], f"{place}.{key}")


def _check_value(node, parameter, place: str) -> None:
    kinds = _kinds_of(parameter)
    if not str(node.tag or "").startswith(PLAIN) or not kinds:
        return  # an object, a tuple
    wanted = [WANTED[kind] for kind in kinds if kind in WANTED]
    if not any(_is_kind(node, kind) for kind in kinds):
        got = repr(node.value) if isinstance(node, ScalarNode) else _container(node)
        raise InputError(f"{place} must be {' or '.join(wanted) or OBJECT}, got {got}")


OBJECT = "an object, as !new:CLASS"
WANTED = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "a mapping",
    NoneType: "null",
}


# Annotations that take any value, and those that stand for a plain value of YAML.
ANYTHING = {Any, Literal, object}
CONCRETE: dict[Any, type] = {tuple: list, Sequence: list, Iterable: list, Mapping: dict}


def _kinds_of(parameter) -> tuple:
    """The types that a parameter takes, () for any."""
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
            kinds = [float]  # 1 where 0.5 is meant, too
        elif kinds[0] not in WANTED and kinds[0] is not tuple:
            return ()
    if not ANYTHING.isdisjoint(kinds):
        return ()
    return tuple(dict.fromkeys(CONCRETE.get(kind, kind) for kind in kinds))


def _is_kind(node, kind) -> bool:
    """Whether a plain value is of a type. Objects of a class are no plain values."""
    names = {
        bool: ("bool",),
        int: ("int",),
        float: ("int", "float"),
        str: ("str",),
        NoneType: ("null",),
        list: ("seq",),
        dict: ("map", "omap"),
    }
    return node.tag.removeprefix(PLAIN) in names.get(kind, ())


def _container(node) -> str:
    return "a list" if isinstance(node, SequenceNode) else "a mapping"
