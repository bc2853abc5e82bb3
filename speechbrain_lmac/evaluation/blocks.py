"""Opening of a benchmark and its blocks, from the experiment file."""

import difflib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from speechbrain_lmac.config.loading import check_sample_rates
from speechbrain_lmac.evaluation.benchmark import Benchmark
from speechbrain_lmac.evaluation.evaluate import Block
from speechbrain_lmac.explainers.by_name import open_explainers
from speechbrain_lmac.metrics import Score
from speechbrain_lmac.metrics.checks import check_labels
from speechbrain_lmac.utils.devices import check_device
from speechbrain_lmac.utils.errors import InputError

if TYPE_CHECKING:
    from speechbrain.utils.run_opts import RunOptions

# Keys of a block that are not rows.
BLOCK_KEYS = ("classifier", "domain")


def open_blocks(hparams: Mapping[str, Any]) -> dict[str, Block]:
    """Open the blocks of a table that contain a selected explainer.

    Arguments
    ---------
    hparams : dict
        `blocks`: name to Block, or to a dict of its rows (`explainers.by_name`); None
        removes a block. Special rows: `baselines`, a dict of rows shared between
        blocks; `classifier` and `domain`, which override those of the experiment.
        Also `classifier` and `dataset`; optional `methods` (names of rows, with the
        wildcard `*`; a list, or a comma-separated str), `background` (for SHAP) and
        `seed` (of random masks).

    Returns
    -------
    blocks : dict
        Name to Block.

    Raises
    ------
    InputError
        When an entry of `methods` matches no row, when no block is left, and as
        `open_explainers`.
    """
    blocks: dict[str, Block] = {}
    named = {name: rows for name, rows in hparams["blocks"].items() if rows is not None}
    methods = chosen_methods(hparams.get("methods"), _names(named), named)
    for name, rows in named.items():
        block = _opened(rows, methods, hparams) if isinstance(rows, Mapping) else rows
        if block is not None and block.explainers:
            blocks[name] = block
            rates = {"dataset": hparams["dataset"], "domain": block.domain}
            check_sample_rates(rates)
    if not blocks:
        raise InputError("nothing to evaluate: the blocks contain no explainer")
    return blocks


def chosen_methods(
    methods: Sequence[str] | str | None,
    available: Sequence[str],
    blocks: Sequence[str] | Mapping[str, Any] = (),
) -> list[str] | None:
    """Return the names and patterns in `methods`; raise if one matches no row.

    Names may contain commas: the longest matching run of pieces is used.

    Arguments
    ---------
    methods : list, str or None
        Names with the wildcard `*`; a str is comma-separated. None: all.
    available : list
        Names of rows.
    blocks : list
        Names of their blocks, for the error message.

    Returns
    -------
    chosen : list of str or None

    Raises
    ------
    InputError
        For a name that matches no row; the message suggests the closest one.

    Example
    -------
    >>> chosen_methods("L2I, RT=0.2,L-*", ["L2I, RT=0.2", "L-MAC"])
    ['L2I, RT=0.2', 'L-*']
    """
    if methods is None:
        return None
    pieces = methods.split(",") if isinstance(methods, str) else methods
    pieces = [str(piece).strip() for piece in pieces]
    chosen: list[str] = []
    start = 0
    while start < len(pieces):
        for end in range(len(pieces), start, -1):
            pattern = ", ".join(pieces[start:end])
            if any(fnmatchcase(name, pattern) for name in available):
                break
        else:  # `pattern` is the single piece now
            raise InputError(_unknown_method(pattern, available, blocks))
        chosen.append(pattern)
        start = end
    return chosen


def _unknown_method(
    pattern: str, available: Sequence[str], blocks: Sequence[str] | Mapping[str, Any]
) -> str:
    """Return the error message for a method that matches no row."""
    where = ", ".join(map(str, blocks))
    text = f"methods: no explainer {pattern!r} in the blocks {where}."
    lower = {name.casefold(): name for name in available}
    close = difflib.get_close_matches(pattern.casefold(), lower, n=1)
    if close:
        text += f" Did you mean {lower[close[0]]!r}?"
    return f"{text} Available: {'; '.join(available)}"


def _names(blocks: Mapping[str, Block | Mapping[str, Any]]) -> list[str]:
    """Return the distinct names of all rows."""
    names: list[str] = []
    for rows in blocks.values():
        if isinstance(rows, Mapping):
            flat = _flat(rows)
            names += [n for n in flat if n not in BLOCK_KEYS and flat[n] is not None]
        else:
            names += rows.explainers
    return list(dict.fromkeys(map(str, names)))


def _flat(rows: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rows of a block by name, including those of `baselines`."""
    flat: dict[str, Any] = {}
    for name, row in rows.items():
        flat |= row if name == "baselines" and row is not None else {name: row}
    return flat


def _opened(
    rows: Mapping[str, Any], methods: list[str] | None, hparams: Mapping[str, Any]
) -> Block | None:
    """Return the Block of rows by name; None if it has no domain."""
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
    # Without a chosen row there may be no domain.
    return None if domain is None else Block(domain, classifier, explainers)


def open_benchmark(
    hparams: Mapping[str, Any],
    run_opts: "RunOptions",
    manifests: Path | str,
    metrics: Sequence[Score],
) -> Benchmark:
    """Open an experiment's blocks and conditions, with its models on the device.

    Arguments
    ---------
    hparams : dict
        With `dataset`, `classifier`, `conditions`, `split`, `batch_size`, `blocks` and
        the other keys of `open_blocks`; optional: `n_clips`, `curves` and `checks`.
    run_opts : RunOptions
        Only the device is used.
    manifests : Path
        From `start_experiment`.
    metrics : sequence of EvidenceMetric
        From `metrics_by_name`, or other Scores of the recipe.

    Returns
    -------
    benchmark : Benchmark
    """
    dataset, classifier = hparams["dataset"], hparams["classifier"]
    labels = dataset.class_order(manifests, classifier.labels)
    checks = hparams.get("checks") or ()
    check_labels(checks, labels)
    device = check_device(run_opts.device)
    for part in hparams.values():
        if isinstance(part, torch.nn.Module):
            part.to(device)
    blocks = open_blocks(hparams)
    for block in blocks.values():
        block.to(device)
    conditions = {
        name: condition.open(dataset, manifests, hparams["split"], labels)
        for name, condition in hparams["conditions"].items()
    }
    return Benchmark(
        blocks,
        conditions,
        classifier,
        tuple(metrics),
        labels,
        batch_size=hparams["batch_size"],
        n_clips=hparams.get("n_clips"),
        curves=hparams.get("curves"),
        checks=checks,
        device=device,
    )
