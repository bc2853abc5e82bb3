"""Nodes of ruamel's round-trip trees: their text and their tags."""

from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.tag import Tag

from speechbrain_lmac.utils.errors import InputError


def parsed(text, name):
    """A text as ruamel's round-trip tree.

    Raises
    ------
    InputError
        Naming `name`, for what is no YAML.
    """
    yaml = YAML()
    yaml.preserve_quotes = True  # HyperPyYAML reads (dog) as a tuple, '(dog)' as text
    try:
        return _without_anchors(yaml.load(text))
    except YAMLError as error:
        line = " ".join(str(error).split("\n\n")[0].split())
        raise InputError(f"{name} is not readable as YAML: {line}") from error


def _without_anchors(tree):
    """The tree; what is shared stays so, but parts of two files may have one name."""
    seen, nodes = set(), [tree]
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


def tag_of(node):
    """The tag of a node as it is written, "" without one."""
    tag = getattr(node, "tag", None)
    return "" if tag is None or tag.value is None else str(tag.value)


def with_tag(node, tag):
    """The node, with another tag."""
    node.yaml_set_ctag(Tag(suffix=tag.replace("%", "%25")))
    return node
