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
        return yaml.load(text)
    except YAMLError as error:
        line = " ".join(str(error).split("\n\n")[0].split())
        raise InputError(f"{name} is not readable as YAML: {line}") from error


def tag_of(node):
    """The tag of a node as it is written, "" without one."""
    tag = getattr(node, "tag", None)
    return "" if tag is None or tag.value is None else str(tag.value)


def with_tag(node, tag):
    """The node, with another tag."""
    node.yaml_set_ctag(Tag(suffix=tag.replace("%", "%25")))
    return node
