"""Nodes of ruamel's round-trip trees: text and tags."""

import functools
import io
import pickle
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.tag import Tag

from speechbrain_lmac.utils.errors import InputError


def parsed(text: str, name: Path | str) -> Any:
    """Return ruamel's round-trip tree of a YAML text.

    Raises
    ------
    InputError
        For invalid YAML; the message begins with `name`.
    """
    try:
        return pickle.loads(_pickled(text))
    except YAMLError as error:
        line = " ".join(str(error).split("\n\n")[0].split())
        line = line.replace(' in "<unicode string>",', ",")
        raise InputError(f"{name}: invalid YAML: {line}") from error


@functools.lru_cache(maxsize=256)
def _pickled(text: str) -> bytes:
    """Return the tree of a YAML text as bytes.

    A command reads an experiment and its parents four times, and changes the trees.
    Bytes are read eight times as fast as YAML.
    """
    yaml = YAML()
    yaml.preserve_quotes = True  # HyperPyYAML reads (dog) as a tuple, '(dog)' as text
    return pickle.dumps(_without_anchors(yaml.load(text)))


def dumped(tree: Any) -> str:
    """Return the YAML text of a tree, each value on one line."""
    yaml, stream = YAML(), io.StringIO()
    yaml.indent(mapping=4, sequence=6, offset=4)
    yaml.width = 10_000
    yaml.dump(tree, stream)
    return stream.getvalue()


def _without_anchors(tree: Any) -> Any:
    """Remove the anchor names of a tree: files to merge may have the same ones."""
    seen, nodes = set[int](), [tree]
    while nodes:
        node = nodes.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if hasattr(node, "anchor"):
            node.anchor.value = None
        if isinstance(node, dict | list):
            nodes += node.values() if isinstance(node, dict) else node
    return tree


def tag_of(node: Any) -> str:
    """Return the tag of a node as written, or ""."""
    tag = getattr(node, "tag", None)
    value = "" if tag is None or tag.value is None else str(tag.value)
    try:
        return value.encode("latin-1").decode()  # ruamel reads %C3%A9 as 2 characters
    except UnicodeError:
        return value


def with_tag(node: Any, tag: str) -> Any:
    """Set the tag of a node, and return the node."""
    node.yaml_set_ctag(Tag(suffix=quote(tag, safe="!:/")))
    return node
