"""YAML files of experiments: found by name, and put together with their parents.

A variant is a file of a few lines. `parent` names another experiment file; each other
key is put into that one: a mapping without a tag is merged into the parent's, anything
else takes its place, `null` drops the key (of a mapping without a tag, too), and a key
that the parent does not have is added. Includes are relative to the file that they
stand in.

    parent: ../toy_lmac.yaml
    output_folder: !ref results/ablations/mine/<seed>
    objective:
        weights:
            mask_out: 0.0
"""

import difflib
import io
import re
from collections.abc import Mapping
from pathlib import Path

from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar

from speechbrain_lmac.config.nodes import dumped, parsed, tag_of, with_tag
from speechbrain_lmac.config.old_parts import replaced_part
from speechbrain_lmac.config.training_keys import lift_block
from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.old_names import moved_hparams

PARENT = "parent"
INCLUDE = "!include:"
# Of the project: beside the package, or in it where it is installed.
_PACKAGE = Path(__file__).resolve().parents[1]
PROJECT = next(f for f in (_PACKAGE.parent, _PACKAGE) if (f / "hparams").is_dir())
HPARAMS = PROJECT / "hparams"


def find_hparams(name: str) -> Path:
    """The YAML file: as named, or in the project (where links are not supported).

    Raises
    ------
    InputError
        When there is none; lists what there is.
    """
    name = Path(name).expanduser()
    for folder in (Path(), PROJECT):
        if (folder / name).is_file():
            return folder / name
    for folder in (Path(), PROJECT):
        if (folder / name).is_dir():
            there = some_of(sorted(p.name for p in (folder / name).glob("*.yaml")))
            raise InputError(
                f"{name} is a folder: name a YAML file in it. There are: "
                f"{there or 'none'}"
            )
    now = moved_hparams(name)
    if now is not None:
        raise InputError(f"there is no {name} any more: it is {now}")
    shipped = sorted(path.name for path in HPARAMS.glob("*.yaml"))
    raise InputError(
        f"no such hyperparameter file: {name} (looked in {Path.cwd()} and in the "
        f"project). There are: {', '.join(shipped)}"
    )


def open_hparams(path: Path):
    """A stream of an experiment file, put together with its parents.

    Arguments
    ---------
    path : str or Path
        The file.

    Returns
    -------
    stream : io.StringIO
        The file as it is where it has no parent; else with absolute includes. Its
        `name` is the path.

    Raises
    ------
    InputError
        As `read_tree`.
    """
    path = Path(path)
    text = text_of(path)
    tree = parsed(text, path)
    if isinstance(tree, Mapping) and PARENT in tree:
        text = dumped(read_tree(path))
    stream = io.StringIO(text)
    stream.name = str(path)
    return stream


def read_tree(path: Path):
    """An experiment file as a tree, put together with its parents.

    Arguments
    ---------
    path : str or Path
        The file.

    Returns
    -------
    tree : CommentedMap
        Of ruamel; its includes are absolute.

    Raises
    ------
    InputError
        For a file that is no YAML or has no keys, for a parent that is missing or
        goes in circles, an include that leads nowhere, and a key to drop that the
        parent does not have.
    """
    return _put_together(lineage(path))


def find_parent(named, folder: Path, where: Path | str) -> Path:
    """The file that a `parent` names: from the folder, from here, or of the project.

    Raises
    ------
    InputError
        Beginning with `where`, when there is none.
    """
    if not isinstance(named, str):
        raise InputError(f"{where}: parent must be the name of a YAML file")
    name = Path(named).expanduser()
    for place in (folder, Path(), PROJECT, HPARAMS):
        if (place / name).is_file():
            return place / name
    raise InputError(f"{where}: there is no parent {named}")


def blocks_of(text: str) -> dict[str, str]:
    """The text of each key at the left margin, up to the next one.

    Example
    -------
    >>> blocks_of("# What it is.\\na: 1\\nb:\\n    c: 2\\n")
    {'a': 'a: 1\\n', 'b': 'b:\\n    c: 2\\n'}
    """
    parts = re.split(r"^(?=[A-Za-z_]\w*\s*:)", text, flags=re.MULTILINE)[1:]
    return {part.split(":", 1)[0].strip(): part for part in parts}


def top_level_keys(path: Path) -> list[str]:
    """The keys of an experiment file, texts, its parents' included."""
    return [str(key) for key in read_tree(path)]


def lineage(path: Path | str) -> list:
    """An experiment file, its parent, the parent's, and so on.

    Arguments
    ---------
    path : str or Path
        The file.

    Returns
    -------
    files : list of tuple
        (Path, tree as it is written) of each.

    Raises
    ------
    InputError
        As `read_tree`.
    """
    files, path = [], Path(path)
    while path is not None:
        if path.resolve() in [file.resolve() for file, _ in files]:
            raise InputError(f"{path} is its own parent, by way of {files[-1][0].name}")
        tree = parsed(text_of(path), path)
        if not isinstance(tree, Mapping):
            raise InputError(f"{path} is no experiment: it has no `key: value` lines")
        files.append((path, tree))
        named = tree.get(PARENT)
        here = path.resolve().parent
        path = find_parent(named, here, path) if PARENT in tree else None
    return files


def parents_of(path: Path | str) -> list[Path]:
    """The parent of a file, the parent of that, and so on: a list of Path."""
    return [parent for parent, _ in lineage(path)[1:]]


def merged(base, value, where: str):
    """`value` in the place of `base`, or merged into it.

    Arguments
    ---------
    base, value : node
        Of ruamel's round-trip trees. `base` is changed. A list of names keeps these
        keys of a mapping, in their order there; `null` drops a key of a mapping
        without a tag.
    where : str
        Names the place in an error.

    Returns
    -------
    node

    Raises
    ------
    InputError
        For a mapping that would change a list or a reference, and for a list or a
        `null` that names a key that there is not.
    """
    if isinstance(value, list) and isinstance(base, Mapping) and not tag_of(base):
        return _chosen(base, value, where)
    if not isinstance(value, Mapping) or tag_of(value):
        return value
    if isinstance(base, TaggedScalar) and not base.value and ":" in tag_of(base):
        base = with_tag(CommentedMap(), tag_of(base))  # `!new:Class` without arguments
    if not isinstance(base, Mapping):
        if tag_of(base) in ("!ref", "!copy"):
            raise InputError(
                f"{where} is `{tag_of(base)} {base.value}`: change it at the key that "
                "this names"
            )
        if isinstance(base, CommentedSeq):
            raise InputError(f"{where} is a list, and a mapping cannot change it")
        return value
    for key, part in value.items():
        if part is None and not tag_of(base):  # of a class it is a value
            _drop(base, key, where)
        else:
            base[key] = merged(base.get(key), part, f"{where}.{key}")
    return base


def place_includes(node, folders: list[Path]) -> None:
    """Make the includes of a node absolute: the first of the folders that has one.

    Raises
    ------
    InputError
        When none has.
    """
    parts = node.values() if isinstance(node, Mapping) else node
    for part in parts if isinstance(node, Mapping | list) else ():
        place_includes(part, folders)
    tag = tag_of(node)
    if not tag.startswith(INCLUDE):
        return
    name = tag.removeprefix(INCLUDE)
    found = [folder / name for folder in folders if (folder / name).is_file()]
    if not found:
        places = dict.fromkeys(str(folder.resolve()) for folder in folders)
        instead = replaced_part(name)
        raise InputError(
            f"there is no file {name} to include (looked in {', '.join(places)})"
            + (f"; write {instead}" if instead else "")
        )
    with_tag(node, f"{INCLUDE}{found[0].resolve()}")


def text_of(path: Path) -> str:
    """The text of a YAML file.

    Raises
    ------
    InputError
        When it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors begin with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no text that can be read: {error}") from error


def _put_together(files: list):
    """The tree of the first of a lineage's files, put into that of its parents."""
    (path, tree), *parents = files
    for key in tree:
        if not isinstance(key, str):
            raise InputError(f"{path}: the key {key!r} must be a text")
    lift_block(tree, path)
    folder = path.resolve().parent
    if not parents:
        place_includes(tree, [folder, Path.cwd(), HPARAMS])
        return tree
    base, parent = _put_together(parents), parents[0][0]
    # Those of earlier versions were relative to the parent.
    place_includes(tree, [folder, parent.resolve().parent, Path.cwd(), HPARAMS])
    del tree[PARENT]
    base.ca.comment = tree.ca.comment  # the head: what the file is
    for key, value in tree.items():
        if value is not None:
            base[key] = merged(base.get(key), value, f"{path}: {key}")
            base.ca.items.pop(key, None)  # what is said of the value that was there
            if key in tree.ca.items:
                base.ca.items[key] = tree.ca.items[key]
        else:
            _drop(base, key, f"{path}: its parent {parent.name}")
    return base


def _drop(base, key, where: str) -> None:
    """Remove a key of a mapping."""
    if key not in base:
        close = difflib.get_close_matches(str(key), map(str, base))
        meant = f"; did you mean '{close[0]}'?" if close else ""
        raise InputError(f"{where} has no key '{key}' to drop{meant}")
    del base[key]


def _chosen(base, names, where: str):
    """A mapping with the named keys alone."""
    unknown = [str(n) for n in names if not isinstance(n, str) or n not in base]
    if unknown or not names:
        what = f"has no {some_of(unknown)}" if unknown else "would be empty"
        raise InputError(f"{where} {what}; there are: {some_of(base, 30)}")
    for key in [key for key in base if key not in names]:
        del base[key]
    return base
