"""Cascading randomisation of a classifier's layers (Adebayo et al. 2018).

Layers are reinitialised from the logits down, one more at each step. An explanation of
the classifier must change with its weights; if it does not, it only reflects the input.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain

import pandas as pd
import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from speechbrain_lmac.data.dataset import ClipBatch, lens_on
from speechbrain_lmac.dsp.pad_crop import score_recordings
from speechbrain_lmac.metrics import Score
from speechbrain_lmac.metrics.similarity import (
    WINDOW,
    jaccard_distance,
    spearman,
    ssim,
)
from speechbrain_lmac.types import Explainer, Explanation
from speechbrain_lmac.utils.console import progress_bar
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.seeding import seed_of

SPEARMAN = Score(
    name="Spearman",
    higher_is_better=False,
    unit="",
    description="rank correlation of the mask before and after randomisation",
)
SSIM = Score(
    name="SSIM",
    higher_is_better=False,
    unit="",
    description="structural similarity of the mask before and after randomisation",
)
OVERLAP = Score(
    name="overlap",
    higher_is_better=False,
    unit="",
    description="sum of minima / sum of maxima of the masks before and after; it also "
    "falls if a mask only becomes weaker everywhere",
)
SIMILARITIES = (SPEARMAN, SSIM, OVERLAP)
TRAINED = "trained"  # the step without a random layer


def cascade_layers(classifier: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    """Return the layers of a classifier in the order of their randomisation.

    A layer is a module with direct parameters. If a module has as many batch norms as
    convolutions, its i-th batch norm belongs to its i-th convolution; all other modules
    are layers on their own. The order is the reverse of that in the classifier's
    `__init__`: for a sequential network, from the logits down.

    Arguments
    ---------
    classifier : torch.nn.Module

    Returns
    -------
    layers : list of (str, torch.nn.Module)
        Names and modules. A convolution with its batch norm is a `ModuleList` of both,
        under the name of the convolution.

    Raises
    ------
    InputError
        When the classifier has no weights.

    Example
    -------
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv1d(1, 8, 3), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 2)
    ... )
    >>> [(name, type(module).__name__) for name, module in cascade_layers(model)]
    [('2', 'Linear'), ('0', 'ModuleList')]
    """
    norms: dict[torch.nn.Module, torch.nn.Module] = {}  # by convolution
    for module in classifier.modules():
        children = list(module.children())
        convolutions = [child for child in children if isinstance(child, _ConvNd)]
        own_norms = [child for child in children if isinstance(child, _BatchNorm)]
        if len(convolutions) == len(own_norms):
            norms.update(zip(convolutions, own_norms, strict=True))
    paired = set(norms.values())
    layers: list[tuple[str, torch.nn.Module]] = []
    for name, module in classifier.named_modules():
        if module in norms:
            layers.append((name, torch.nn.ModuleList([module, norms[module]])))
        elif module not in paired and _has_weights(module):
            layers.append((name, module))
    if not layers:
        raise InputError(
            f"{type(classifier).__name__} has no layer with weights to randomise"
        )
    return layers[::-1]


def _has_weights(module: torch.nn.Module) -> bool:
    """Return whether a module has direct parameters or running statistics."""
    own = next(module.parameters(recurse=False), None) is not None
    return own or isinstance(module, _BatchNorm)


def reinitialise(module: torch.nn.Module, *key: str | int) -> None:
    """Give a module and its submodules new weights, seeded by the key.

    Calls `reset_parameters` of each module, which also resets the running statistics of
    batch norms. Parameters of modules without this method are permuted.
    """
    devices = {p.device.index for p in module.parameters() if p.is_cuda}
    with torch.random.fork_rng(devices=sorted(devices)), torch.no_grad():
        torch.manual_seed(seed_of(*key))
        for part in module.modules():
            reset = getattr(part, "reset_parameters", None)
            if reset is not None:
                reset()
                continue
            for parameter in part.parameters(recurse=False):
                order = torch.randperm(parameter.numel()).to(parameter.device)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))


@contextmanager
def cascade(classifier: torch.nn.Module, seed: int = 1234) -> Iterator[Iterator[str]]:
    """Randomise a classifier layer by layer, and restore it at the end.

    The context manager returns an iterator over the names of `cascade_layers`: when it
    yields a name, that layer and all previous ones are random. On exit, even after an
    error, parameters and buffers are restored exactly.

    Arguments
    ---------
    classifier : torch.nn.Module
    seed : int
        The random weights of a layer depend only on this seed and its name.

    Example
    -------
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    >>> with cascade(model) as steps:
    ...     list(steps)
    ['1', '0']
    """
    tensors = [*classifier.parameters(), *classifier.buffers()]
    saved = [tensor.detach().clone() for tensor in tensors]
    try:
        yield _randomise(cascade_layers(classifier), seed)
    finally:
        with torch.no_grad():
            for tensor, values in zip(tensors, saved, strict=True):
                tensor.copy_(values)


def _randomise(
    layers: Iterable[tuple[str, torch.nn.Module]], seed: int
) -> Iterator[str]:
    """Randomise the layers in order, and yield the name of each."""
    for name, module in layers:
        reinitialise(module, "cascade", seed, name)
        yield name


def randomisation_check(
    explainer: Explainer,
    classifier: torch.nn.Module,
    batches: Iterable[ClipBatch],
    seed: int = 1234,
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> pd.DataFrame:
    """Compare masks before and after the classifier's layers are randomised.

    Every step explains the class predicted by the trained classifier, so masks do not
    differ because of the class. Only the classifier is randomised, not a trained
    interpreter, whose masks should depend on the classifier.

    Arguments
    ---------
    explainer : Explainer
        Must hold this `classifier` object, not a copy.
    classifier : torch.nn.Module
        Restored at the end.
    batches : iterable of ClipBatch
        Explained once per step. All masks are kept in memory.
    seed : int
        Seed of the random weights.
    device : str
        Device that the models are on.
    progress : bool
        Show a progress bar.

    Returns
    -------
    table : pandas.DataFrame
        One row per step and clip with the columns `id step layer` and `SIMILARITIES`.
        Step 0, "trained", compares two explanations of the same classifier: 1, except
        for random methods. The summary counts NaN: Spearman and SSIM of a mask that is
        constant before or after, SSIM of a recording shorter than its window, and
        overlap of a mask that is 0 everywhere both before and after.

    Raises
    ------
    InputError
        If there are no clips, or if the explainer's logits do not change when the
        classifier is randomised.
    """
    batches = list(batches)
    if not batches:
        raise InputError("nothing to check: the data contain no clips")
    before = [
        explainer.explain(batch.wav.to(device), lens=lens_on(batch, device))
        for batch in batches
    ]
    total = len(cascade_layers(classifier)) + 1
    with cascade(classifier, seed) as names:
        steps = enumerate(chain([TRAINED], names))
        bar = progress_bar(
            steps, "randomise", total, unit="layer", disable=not progress
        )
        tables = [
            _compare(explainer, batches, before, step, layer) for step, layer in bar
        ]
    return pd.concat(tables, ignore_index=True)


def _compare(
    explainer: Explainer,
    batches: Sequence[ClipBatch],
    before: Sequence[Explanation],
    step: int,
    layer: str,
) -> pd.DataFrame:
    """Return the rows of one step."""
    rows, changed = [], False
    for batch, old in zip(batches, before, strict=True):
        # A copy: `Remembered` caches by object identity, and would return the
        # explanation of the trained classifier.
        wav = batch.wav.to(old.mask.device, copy=True)
        new = explainer.explain(wav, old.target, lens_on(batch, wav.device))
        changed |= not torch.equal(new.logits, old.logits)
        masks = old.encoded.frames, old.mask.detach(), new.mask.detach()
        columns = {"id": list(batch.ids), "step": step, "layer": layer}
        columns[SPEARMAN.name] = score_recordings(spearman, *masks).cpu().numpy()
        columns[SSIM.name] = score_recordings(_ssim, *masks).cpu().numpy()
        apart = score_recordings(jaccard_distance, *masks)
        columns[OVERLAP.name] = (1 - apart).cpu().numpy()
        rows.append(pd.DataFrame(columns))
    if step and not changed:
        raise InputError(
            f"the logits do not change when layer {layer} is randomised: the explainer "
            "uses a copy of the classifier. Build both with the same object"
        )
    return pd.concat(rows, ignore_index=True)


def _ssim(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return SSIM (B,) of maps (B, T, F); NaN for fewer frames than its window."""
    if first.shape[1] < WINDOW:
        return first.new_full((len(first),), math.nan, dtype=torch.float64)
    return ssim(first, second)
