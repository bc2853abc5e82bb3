"""Rebuilding some keys of a finished experiment from its resolved YAML file."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from speechbrain_lmac.config.building import build
from speechbrain_lmac.config.loading import extend_import_path, in_current_names
from speechbrain_lmac.config.nodes import parsed
from speechbrain_lmac.utils.errors import InputError


def build_keys(
    path: Path | str, names: Sequence[str], existing: dict[str, Any]
) -> dict[str, Any]:
    """Build some keys of a resolved YAML file, and only the parts that they need.

    Arguments
    ---------
    path : str or Path
        `hyperparams.yaml` of a folder of results, also of an earlier version.
    names : sequence of str
        Keys at its top; missing ones are skipped.
    existing : dict
        Key at its top to an object. References to the key get the object, and the key
        is not built.

    Returns
    -------
    built : dict
        Name to object.

    Raises
    ------
    InputError
        If the file is not YAML, or an object cannot be built.
    """
    text = in_current_names(Path(path).read_text(encoding="utf-8"), path)
    tree = parsed(text, path)
    if not isinstance(tree, dict):
        raise InputError(
            f"{path} is not an experiment file: it has no `key: value` lines"
        )
    marks = {
        id(tree[key]): parsed(f"it: !given '{key}'", path)["it"]
        for key in existing
        if isinstance(tree.get(key), dict)
    }
    for key in [key for key in tree if key not in names]:
        del tree[key]
    text_of_keys = io.StringIO()
    YAML().dump(_replaced(tree, marks), text_of_keys)
    folders = extend_import_path(path)
    return build(text_of_keys.getvalue(), path, folders, existing=existing)


def _replaced(node: Any, marks: dict[int, Any]) -> Any:
    """Return the tree with each node whose id has a mark replaced by it."""
    if id(node) in marks:
        return marks[id(node)]
    places: Iterable[tuple[Any, Any]] = ()
    if isinstance(node, dict | list):
        places = list(node.items() if isinstance(node, dict) else enumerate(node))
    for place, part in places:
        node[place] = _replaced(part, marks)
    return node
