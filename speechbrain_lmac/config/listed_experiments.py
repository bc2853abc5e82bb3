"""Experiments in the list `experiments` of a YAML file, as YAML text.

    experiments:
        L-MAC: hparams/toy_lmac.yaml
        without mask-out:
            what: without the mask-out term
            parent: hparams/toy_lmac.yaml
            output_folder: !ref results/ablations/toy_no_mask_out/<seed>
            objective: {weights: {mask_out: 0.0}}

A mapping is like a file with a `parent` (see `config.inheritance`), and `!ref` in it
names keys of the parent. The experiment of the list has it as text.
"""

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from ruamel.yaml.scalarstring import LiteralScalarString

from speechbrain_lmac.config.inheritance import PARENT, find_parent
from speechbrain_lmac.config.nodes import dumped, tag_of
from speechbrain_lmac.utils.errors import InputError

ROWS = "experiments"
WHAT = "what"


def put_in_texts(tree: Any, path: Path | str) -> None:
    """Replace each experiment that is a mapping by the text of a file.

    Arguments
    ---------
    tree : CommentedMap
        The experiment with the list, its includes absolute; it is changed.
    path : str or Path
        The file of the list. Parents may be relative to its folder.

    Raises
    ------
    InputError
        Naming the row, if the key `what` or `parent` or the parent's file is missing.
    """
    rows = tree.get(ROWS)
    for name, row in rows.items() if isinstance(rows, MutableMapping) else ():
        if not isinstance(row, MutableMapping) or tag_of(row):
            continue
        place = f"{path}: {ROWS}.{name}"
        for key in (WHAT, PARENT):
            if not isinstance(row.get(key), str):
                raise InputError(f"{place}: missing key `{key}` (a string)")
        parent = find_parent(row[PARENT], Path(path).resolve().parent, place)
        row[PARENT] = str(parent.resolve())
        summary = " ".join(row.pop(WHAT).split()).rstrip(".")
        head = f"# Ablation of {parent.stem}: {summary}.\n# {Path(path).resolve()}\n"
        rows[name] = LiteralScalarString(head + dumped(row))
