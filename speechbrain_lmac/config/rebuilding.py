"""Some keys of a finished experiment, built again of its resolved YAML file."""

import io
from pathlib import Path

from ruamel.yaml import YAML

from speechbrain_lmac.config.building import build
from speechbrain_lmac.config.loading import extend_import_path, in_current_names
from speechbrain_lmac.config.nodes import parsed
from speechbrain_lmac.utils.errors import InputError


def build_keys(path: Path, names: tuple[str, str, str], given: dict) -> dict:
    """Build some keys of a resolved YAML file, and nothing that they do not need.

    Arguments
    ---------
    path : str or Path
        `hyperparams.yaml` of a folder of results, also of an earlier version.
    names : sequence of str
        Keys at its top; those that it does not have are left out.
    given : dict
        Key at its top to an object: what refers to the key gets the object, and the
        key is not built.

    Returns
    -------
    built : dict
        Name to object.

    Raises
    ------
    InputError
        When the file is no YAML, or an object cannot be built.
    """
    text = in_current_names(Path(path).read_text(encoding="utf-8"), path)
    tree = parsed(text, path)
    if not isinstance(tree, dict):
        raise InputError(f"{path} is no experiment: it has no `key: value` lines")
    marks = {
        id(tree[key]): parsed(f"it: !given '{key}'", path)["it"]
        for key in given
        if isinstance(tree.get(key), dict)
    }
    for key in [key for key in tree if key not in names]:
        del tree[key]
    wanted = io.StringIO()
    YAML().dump(_replaced(tree, marks), wanted)
    folders = extend_import_path(path)
    return build(wanted.getvalue(), path, folders, given=given)


def _replaced(node, marks: dict):
    """The tree with a mark in the place of each node whose id has one."""
    if id(node) in marks:
        return marks[id(node)]
    places = ()
    if isinstance(node, dict | list):
        places = list(node.items() if isinstance(node, dict) else enumerate(node))
    for place, part in places:
        node[place] = _replaced(part, marks)
    return node
