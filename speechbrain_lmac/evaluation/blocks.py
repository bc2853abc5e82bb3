"""The blocks of a table, opened as its YAML file names them."""

import difflib
from collections.abc import Mapping
from fnmatch import fnmatchcase

from speechbrain_lmac.config.loading import check_sample_rates
from speechbrain_lmac.evaluation.evaluate import Block
from speechbrain_lmac.explainers.by_name import open_explainers
from speechbrain_lmac.utils.errors import InputError

# Keys of a block that are no rows.
OF_BLOCK = ("classifier", "domain")


def open_blocks(hparams: dict[str, int | str]) -> dict[str, Block]:
    """The blocks of a table, those without a wanted explainer left out.

    Arguments
    ---------
    hparams : dict
        `blocks`: name to Block, or to the rows of one by their names
        (`explainers.by_name`); None leaves a block out. Among the rows `baselines`
        stands for several, a mapping that blocks share, and `classifier` and `domain`
        for those of this block alone.
        `classifier`, `dataset`; if wanted `methods` (names of rows, also with `*` for
        any letters: a list, or a str with commas), `background` (for SHAP) and `seed`
        (of random masks).

    Returns
    -------
    blocks : dict
        Name to Block.

    Raises
    ------
    InputError
        When `methods` name no row, when no block is left, and whatever
        `open_explainers` refuses.
    """
    blocks = {}
    named = {name: rows for name, rows in hparams["blocks"].items() if rows is not None}
    methods = chosen_methods(hparams.get("methods"), _names(named), named)
    for name, rows in named.items():
        block = _opened(rows, methods, hparams) if isinstance(rows, Mapping) else rows
        if block.explainers:
            blocks[name] = block
            rates = {"dataset": hparams["dataset"], "domain": block.domain}
            check_sample_rates(rates)
    if not blocks:
        raise InputError("there is nothing to evaluate: no block has an explainer")
    return blocks


def chosen_methods(
    methods: list[str] | str | None,
    there: list[str],
    blocks: dict[str, Block] | tuple = (),
) -> list[str] | None:
    """The names and patterns that `methods` has, each of which some row has.

    Names may have commas of their own: as many pieces as possible make one.

    Arguments
    ---------
    methods : list, str or None
        Of names, also with `*` for any letters; a str with commas between them. None:
        all are wanted.
    there : list
        Names of rows.
    blocks : list
        Names of the blocks that have them, for the error.

    Returns
    -------
    chosen : list of str or None

    Raises
    ------
    InputError
        For a name that no row has, with the closest one.

    Example
    -------
    >>> chosen_methods("L2I, RT=0.2,L-*", ["L2I, RT=0.2", "L-MAC"])
    ['L2I, RT=0.2', 'L-*']
    """
    if methods is None:
        return None
    pieces = methods.split(",") if isinstance(methods, str) else methods
    pieces = [str(piece).strip() for piece in pieces]
    chosen, start = [], 0
    while start < len(pieces):
        for end in range(len(pieces), start, -1):
            pattern = ", ".join(pieces[start:end])
            if any(fnmatchcase(name, pattern) for name in there):
                break
        else:  # nor does the piece alone, which `pattern` is now
            raise InputError(_no_explainer(pattern, there, blocks))
        chosen.append(pattern)
        start = end
    return chosen


def _no_explainer(pattern: str, there: list[str], blocks: dict) -> str:
    """The message on a name of a method that no row has."""
    where = f"the blocks {', '.join(map(str, blocks))} have"
    text = f"methods: {where} no explainer {pattern!r}."
    lower = {name.casefold(): name for name in there}
    close = difflib.get_close_matches(pattern.casefold(), lower, n=1)
    if close:
        text += f" Did you mean {lower[close[0]]!r}?"
    return f"{text} There are: {'; '.join(there)}"


def _names(blocks: dict[str, Block]) -> list[str]:
    """The names of all rows, each once."""
    names = []
    for rows in blocks.values():
        if isinstance(rows, Mapping):
            flat = _flat(rows)
            names += [n for n in flat if n not in OF_BLOCK and flat[n] is not None]
        else:
            names += rows.explainers
    return list(dict.fromkeys(map(str, names)))


def _flat(rows: dict) -> dict:
    """The rows of a block by their names, those of `baselines` among them."""
    flat = {}
    for name, row in rows.items():
        flat |= row if name == "baselines" and row is not None else {name: row}
    return flat


def _opened(
    rows: dict, methods: list[str] | None, hparams: dict[str, int | str]
) -> Block:
    """A Block of rows by their names."""
    flat = _flat(rows)
    classifier = flat.pop("classifier", hparams["classifier"])
    explainers, domain = open_explainers(
        flat,
        classifier,
        flat.pop("domain", None),
        hparams.get("background"),
        hparams.get("seed", 1234),
        methods,
    )
    return Block(domain, classifier, explainers)
