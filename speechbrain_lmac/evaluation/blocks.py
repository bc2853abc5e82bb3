"""The blocks of a table, opened as its YAML file names them."""

from collections.abc import Mapping
from fnmatch import fnmatchcase

from speechbrain_lmac.config.loading import check_sample_rates
from speechbrain_lmac.evaluation.evaluate import Block
from speechbrain_lmac.explainers.by_name import open_explainers
from speechbrain_lmac.utils.errors import InputError


def open_blocks(hparams):
    """The blocks of a table, those without a wanted explainer left out.

    Arguments
    ---------
    hparams : dict
        `blocks`: name to Block, or to the rows of one by their names
        (`explainers.by_name`); None leaves a block out. Among the rows `baselines`
        stands for several, a mapping that blocks share, and `classifier` and `domain`
        for those of this block alone.
        `classifier`, `dataset`; if wanted `methods` (names of rows, also with `*` for
        any letters), `background` (for SHAP) and `seed` (of random masks).

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
    methods = hparams.get("methods")
    blocks = {}
    named = {name: rows for name, rows in hparams["blocks"].items() if rows is not None}
    for name, rows in named.items():
        block = _opened(rows, methods, hparams) if isinstance(rows, Mapping) else rows
        if block.explainers:
            blocks[name] = block
            rates = {"dataset": hparams["dataset"], "domain": block.domain}
            check_sample_rates(rates)
    there = [name for block in blocks.values() for name in block.explainers]
    for pattern in [methods] if isinstance(methods, str) else methods or ():
        if not any(fnmatchcase(name, pattern) for name in there):
            several = "; name several as '[a, b]'" if "," in str(pattern) else ""
            raise InputError(
                f"methods: the blocks {', '.join(map(str, named))} have no "
                f"explainer {pattern!r}{several}"
            )
    if not blocks:
        raise InputError("there is nothing to evaluate: no block has an explainer")
    return blocks


def _opened(rows, methods, hparams):
    """A Block of rows by their names."""
    flat = {}
    for name, row in rows.items():
        flat |= row if name == "baselines" and row is not None else {name: row}
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
