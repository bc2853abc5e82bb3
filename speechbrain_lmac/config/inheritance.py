"""Inheritance of experiment files.

A variant is a file of a few lines. `parent` names another experiment file; the other
keys change it. A mapping without a tag is merged into the parent's, any other value
replaces the parent's, and a new key is added. `null` removes a key, at the top or in a
mapping without a tag. Includes are searched in the folders of the file and of its
parent, in the current folder and in `hparams`.

    parent: ../toy_lmac.yaml
    output_folder: !ref results/ablations/mine/<seed>
    objective:
        weights:
            mask_out: 0.0
"""

import difflib
import io
import re
from collections.abc import Iterable, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar

from speechbrain_lmac.config.nodes import dumped, parsed, tag_of, with_tag
from speechbrain_lmac.config.old_parts import replaced_part
from speechbrain_lmac.config.training_keys import lift_block
from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.old_names import moved_hparams

PARENT = "parent"
INCLUDE = "!include:"
# The project's folder: beside the package, or the package itself if installed.
_PACKAGE = Path(__file__).resolve().parents[1]
PROJECT = next(f for f in (_PACKAGE.parent, _PACKAGE) if (f / "hparams").is_dir())
HPARAMS = PROJECT / "hparams"


def find_hparams(name: str | Path) -> Path:
    """Return the path of a YAML file: as given, or below the project's folder.

    The latter replaces the link `hparams` of a recipe on systems without links.

    Raises
    ------
    InputError
        If there is no such file; the message lists similar or available names.
    """
    name = Path(name).expanduser()
    for folder in (Path(), PROJECT):
        if (folder / name).is_file():
            return folder / name
    for folder in (Path(), PROJECT):
        if (folder / name).is_dir():
            files = some_of(sorted(p.name for p in (folder / name).glob("*.yaml")))
            raise InputError(
                f"{name} is a folder: give a YAML file in it (available: "
                f"{files or 'none'})"
            )
    moved = moved_hparams(name)
    if moved is not None:
        raise InputError(f"{name} has moved: it is now {moved}")
    shipped = sorted(path.name for path in HPARAMS.glob("*.yaml"))
    close = difflib.get_close_matches(name.name, shipped, cutoff=0.8)
    hint = f"did you mean {HPARAMS.name}/{close[0]}?" if close else None
    raise InputError(
        f"missing hyperparameter file: {name} (searched {Path.cwd()} and {PROJECT}); "
        f"{hint or f'available: {some_of(shipped)}'}"
    )


def open_hparams(path: Path | str) -> io.StringIO:
    """Return a stream of an experiment file, merged with its parents.

    Arguments
    ---------
    path : str or Path
        The file.

    Returns
    -------
    stream : io.StringIO
        The file as written if it has no parent; else the merged one, with absolute
        includes. Its `name` is the path.

    Raises
    ------
    InputError
        See `read_tree`.
    """
    path = Path(path)
    text = text_of(path)
    tree = parsed(text, path)
    if isinstance(tree, MutableMapping) and PARENT in tree:
        text = dumped(read_tree(path))
    stream = io.StringIO(text)
    stream.name = str(path)
    return stream


def read_tree(path: Path | str) -> CommentedMap:
    """Return an experiment file as a tree, merged with its parents.

    Arguments
    ---------
    path : str or Path
        The file.

    Returns
    -------
    tree : CommentedMap
        ruamel's tree, with absolute includes.

    Raises
    ------
    InputError
        For a file that is not YAML or has no keys, a missing or circular parent, a
        missing include, and a key to drop that the parent does not have.
    """
    return _merged_lineage(lineage(path))


def find_parent(named: Any, folder: Path, place: Path | str) -> Path:
    """Return the file that a `parent` names.

    Arguments
    ---------
    named : str
        The value of the key: a path relative to `folder`, the current folder, the
        project or its `hparams`.
    folder : Path
        Folder of the child.
    place : str or Path
        Prefix of the error message.

    Returns
    -------
    parent : Path

    Raises
    ------
    InputError
        If the file is missing.
    """
    if not isinstance(named, str):
        raise InputError(f"{place}: parent must be a path to a YAML file")
    name = Path(named).expanduser()
    for searched in (folder, Path(), PROJECT, HPARAMS):
        if (searched / name).is_file():
            return searched / name
    raise InputError(
        f"{place}: missing parent: {named} (searched {folder}, {Path.cwd()}, {PROJECT} "
        f"and {HPARAMS})"
    )


def blocks_of(text: str) -> dict[str, str]:
    """Return the YAML source of each top-level key.

    Example
    -------
    >>> blocks_of("# What it is.\\na: 1\\nb:\\n    c: 2\\n")
    {'a': 'a: 1\\n', 'b': 'b:\\n    c: 2\\n'}
    """
    parts = re.split(r"^(?=[A-Za-z_]\w*\s*:)", text, flags=re.MULTILINE)[1:]
    return {part.split(":", 1)[0].strip(): part for part in parts}


def top_level_keys(path: Path | str) -> list[str]:
    """Return the keys of an experiment file and of its parents."""
    return [str(key) for key in read_tree(path)]


def lineage(path: Path | str) -> list[tuple[Path, CommentedMap]]:
    """Return an experiment file, its parent, the parent of that, and so on.

    Arguments
    ---------
    path : str or Path
        The file.

    Returns
    -------
    files : list of tuple
        (Path, tree as written) of each.

    Raises
    ------
    InputError
        See `read_tree`.
    """
    files: list[tuple[Path, CommentedMap]] = []
    file: Path | None = Path(path)
    while file is not None:
        if file.resolve() in [other.resolve() for other, _ in files]:
            names = " -> ".join(path.name for path in (*(f for f, _ in files), file))
            raise InputError(f"{file}: circular parents: {names}")
        tree = parsed(text_of(file), file)
        if not isinstance(tree, CommentedMap):
            raise InputError(
                f"{file} is not an experiment file: it has no `key: value` lines"
            )
        files.append((file, tree))
        folder = file.resolve().parent
        file = find_parent(tree[PARENT], folder, file) if PARENT in tree else None
    return files


def parents_of(path: Path | str) -> list[Path]:
    """Return the parent of a file, the parent of that, and so on."""
    return [parent for parent, _ in lineage(path)[1:]]


def merged(base: Any, value: Any, place: str) -> Any:
    """Return `value`, or `base` with `value` merged into it.

    Arguments
    ---------
    base, value : node
        Nodes of ruamel's round-trip trees. `base` is changed. A list of names selects
        keys of a mapping, in the mapping's order; `null` drops a key of a mapping
        without a tag.
    place : str
        The dotted key, for error messages.

    Returns
    -------
    node

    Raises
    ------
    InputError
        For a mapping that would change a list or a reference, and for a list or a
        `null` that names an unknown key.
    """
    if (
        isinstance(value, list)
        and isinstance(base, MutableMapping)
        and not tag_of(base)
    ):
        return _select_keys(base, value, place)
    if not isinstance(value, MutableMapping) or tag_of(value):
        return value
    if isinstance(base, TaggedScalar) and not base.value and ":" in tag_of(base):
        base = with_tag(CommentedMap(), tag_of(base))  # `!new:Class` without arguments
    if not isinstance(base, MutableMapping):
        if tag_of(base) in ("!ref", "!copy"):
            raise InputError(
                f"{place} is `{tag_of(base)} {base.value}`: change the key that it "
                "refers to"
            )
        if isinstance(base, CommentedSeq):
            raise InputError(f"{place} is a list, got a mapping: give the whole list")
        return value
    for key, part in value.items():
        if part is None and not tag_of(base):  # an argument of a class may be null
            _drop(base, key, place)
        else:
            base[key] = merged(base.get(key), part, f"{place}.{key}")
    return base


def make_includes_absolute(node: Any, folders: Sequence[Path]) -> None:
    """Make the includes of a node absolute, in the first folder that has the file.

    Raises
    ------
    InputError
        If none of the folders has the file.
    """
    parts = node.values() if isinstance(node, MutableMapping) else node
    for part in parts if isinstance(node, MutableMapping | list) else ():
        make_includes_absolute(part, folders)
    tag = tag_of(node)
    if not tag.startswith(INCLUDE):
        return
    name = tag.removeprefix(INCLUDE)
    found = [folder / name for folder in folders if (folder / name).is_file()]
    if not found:
        places = dict.fromkeys(str(folder.resolve()) for folder in folders)
        instead = replaced_part(name)
        hint = f"; write {instead}" if instead else _similar_file(name, folders)
        raise InputError(
            f"missing file to include: {name} (searched {', '.join(places)}){hint}"
        )
    with_tag(node, f"{INCLUDE}{found[0].resolve()}")


def _similar_file(name: str, folders: Sequence[Path]) -> str:
    """Return "; did you mean X?" or the available files of its folder, or ""."""
    parent = Path(name).parent
    found = {p.name for folder in folders for p in (folder / parent).glob("*.yaml")}
    close = difflib.get_close_matches(Path(name).name, sorted(found), n=1)
    if close:
        return f"; did you mean {parent / close[0]}?"
    return f"; available in {parent}: {some_of(sorted(found))}" if found else ""


def text_of(path: Path) -> str:
    """Return the text of a YAML file.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors write a BOM
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"unreadable text file: {path}: {error}") from error


def _merged_lineage(files: list[tuple[Path, CommentedMap]]) -> CommentedMap:
    """Return the tree of the first file, merged with those of its parents."""
    (path, tree), *parents = files
    for key in tree:
        if not isinstance(key, str):
            raise InputError(f"{path}: keys must be strings, got {key!r}")
    lift_block(tree, path)
    folder = path.resolve().parent
    if not parents:
        make_includes_absolute(tree, [folder, Path.cwd(), HPARAMS])
        return tree
    base, parent = _merged_lineage(parents), parents[0][0]
    # In earlier versions includes were relative to the parent.
    make_includes_absolute(tree, [folder, parent.resolve().parent, Path.cwd(), HPARAMS])
    del tree[PARENT]
    base.ca.comment = tree.ca.comment  # the head of the file
    for key, value in tree.items():
        if value is not None:
            base[key] = merged(base.get(key), value, f"{path}: {key}")
            base.ca.items.pop(key, None)  # the comment on the old value
            if key in tree.ca.items:
                base.ca.items[key] = tree.ca.items[key]
        else:
            _drop(base, key, f"{path}: its parent {parent.name}")
    return base


def _drop(base: Any, key: Any, place: str) -> None:
    """Remove a key of a mapping."""
    if key not in base:
        close = difflib.get_close_matches(str(key), map(str, base))
        meant = f"; did you mean '{close[0]}'?" if close else ""
        raise InputError(f"{place} has no key '{key}' to drop{meant}")
    del base[key]


def _select_keys(base: Any, names: Iterable[Any], place: str) -> Any:
    """Remove all keys of a mapping but the named ones, and return it."""
    names = list(names)
    unknown = [str(n) for n in names if not isinstance(n, str) or n not in base]
    if unknown or not names:
        reason = f"has no {some_of(unknown)}" if unknown else "would be empty"
        raise InputError(f"{place} {reason}; available: {some_of(base, 30)}")
    for key in [key for key in base if key not in names]:
        del base[key]
    return base
