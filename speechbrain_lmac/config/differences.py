"""Differences between resolved experiments, key by key."""

from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML

UNSET = "unset"


def values_of(resolved: str) -> dict[str, Any]:
    """Return the values of an experiment and the tags of its parts, by dotted key.

    Arguments
    ---------
    resolved : str
        From `resolving.resolve`.

    Returns
    -------
    values : dict
        Dotted key to the YAML value; for a part, the tag (`!new:...`), with its
        arguments below.

    Example
    -------
    >>> values_of("opt: !name:torch.optim.SGD {lr: 0.1}\\nsizes: [1, 2]")
    {'opt': '!name:torch.optim.SGD', 'opt.lr': 0.1, 'sizes.0': 1, 'sizes.1': 2}
    """
    return dict(_flat(YAML().load(resolved), ""))


def _flat(
    node: Any, key: str, seen: dict[int, str] | None = None
) -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) pairs.

    With `seen` (id to key), a part used before is `<key>`, and a list of plain values
    is one value.
    """
    if seen is not None and isinstance(node, dict | list):
        if id(node) in seen:
            yield key, f"<{seen[id(node)]}>"
            return
        seen[id(node)] = key
        if isinstance(node, list) and not any(map(_is_part, node)):
            yield key, f"[{', '.join(map(str, node))}]"
            return
    tag = getattr(node, "tag", None)
    tag = tag.value if tag is not None else None
    if isinstance(node, dict | list):
        if tag is not None and tag.startswith("!"):
            yield key, tag
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for name, value in items:
            yield from _flat(value, f"{key}.{name}" if key else str(name), seen)
    elif tag is not None:
        yield key, f"{tag} {node.value}".strip()
    else:
        yield key, node


def _is_part(node: Any) -> bool:
    """Return whether a node of a list is more than a plain value."""
    return isinstance(node, dict | list) or getattr(node, "tag", None) is not None


def differences(one: str, other: str) -> list[str]:
    """Return a line for each value that differs between two resolved experiments.

    A part used at several keys is listed at the first of them.

    Example
    -------
    >>> print(*differences("lr: 0.1\\nseed: 1", "lr: 0.2\\nsplit: test"), sep="\\n")
    lr: 0.1 -> 0.2
    seed: 1 -> unset
    split: unset -> test
    >>> differences("sizes: [1, 2]", "sizes: [1, 2, 4]")
    ['sizes: [1, 2] -> [1, 2, 4]']
    >>> differences(
    ...     "a: &a {b: 1}\\nmodules: {a: *a}", "a: &a {b: 2}\\nmodules: {a: *a}"
    ... )
    ['a.b: 1 -> 2']
    """
    first, second = (dict(_flat(YAML().load(text), "", {})) for text in (one, other))
    keys = [*first, *(key for key in second if key not in first)]
    pairs = ((key, first.get(key, UNSET), second.get(key, UNSET)) for key in keys)
    return [f"{key}: {a} -> {b}" for key, a, b in pairs if a != b]
