"""Experiments that stand in the list `experiments` of a YAML file, as texts.

    experiments:
        L-MAC: hparams/toy_lmac.yaml
        without mask-out:
            what: without the mask-out term
            parent: hparams/toy_lmac.yaml
            output_folder: !ref results/ablations/toy_no_mask_out/<seed>
            objective: {weights: {mask_out: 0.0}}

The mapping is a file with a `parent` (see `config.inheritance`), and `!ref` in it names
keys of that. So it is no part of the list's own experiment, which has its text.
"""

from collections.abc import Mapping
from pathlib import Path

from ruamel.yaml.scalarstring import LiteralScalarString

from speechbrain_lmac.config.inheritance import PARENT, find_parent
from speechbrain_lmac.config.nodes import dumped, tag_of
from speechbrain_lmac.utils.errors import InputError

ROWS = "experiments"
WHAT = "what"


def put_in_texts(tree, path: Path) -> None:
    """Put the text of a file in the place of each experiment that is a mapping.

    Arguments
    ---------
    tree : CommentedMap
        Of the list, its includes absolute; it is changed.
    path : str or Path
        The list's file. Parents may be relative to its folder.

    Raises
    ------
    InputError
        Naming the row, when it does not say `what` it is or of which `parent`, and
        when there is no such file.
    """
    rows = tree.get(ROWS)
    for name, row in rows.items() if isinstance(rows, Mapping) else ():
        if not isinstance(row, Mapping) or tag_of(row):
            continue
        place = f"{path}: {ROWS}.{name}"
        for key in (WHAT, PARENT):
            if not isinstance(row.get(key), str):
                raise InputError(f"{place} lacks the key `{key}`, a text")
        parent = find_parent(row[PARENT], Path(path).resolve().parent, place)
        row[PARENT] = str(parent.resolve())
        what = " ".join(row.pop(WHAT).split()).rstrip(".")
        head = f"# Ablation of {parent.stem}: {what}.\n# {Path(path).resolve()}\n"
        rows[name] = LiteralScalarString(head + dumped(row))
