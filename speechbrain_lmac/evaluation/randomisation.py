"""Does an explanation depend on the classifier it explains?

Cascading randomisation (Adebayo et al. 2018): the classifier's layers are given
random weights, from the logits down, one more at each step. An explanation of the
classifier must change with it; one that does not shows the input, not the decision.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import pandas as pd
import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from speechbrain_lmac.data.dataset import lens_on
from speechbrain_lmac.dsp.pad_crop import score_recordings
from speechbrain_lmac.metrics import Score
from speechbrain_lmac.metrics.similarity import WINDOW, spearman, ssim
from speechbrain_lmac.utils.console import progress_bar
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.seeding import seed_of

SPEARMAN = Score(
    name="Spearman",
    higher_is_better=False,
    unit="",
    description="rank correlation of the masks' cells before and after",
)
SSIM = Score(
    name="SSIM",
    higher_is_better=False,
    unit="",
    description="structural similarity of the masks before and after",
)
SIMILARITIES = (SPEARMAN, SSIM)
TRAINED = "trained"  # the step at which no layer is random


def cascade_layers(classifier) -> list:
    """The layers of a classifier, the last one first.

    A layer is a module with parameters of its own. The i-th batch norm of a module
    belongs to its i-th convolution, if it has as many of the one as of the other; any
    other module stands alone. The order is that in which the classifier's `__init__`
    named them, backwards, which for a chain of layers is the order from the logits
    down.

    Arguments
    ---------
    classifier : torch.nn.Module

    Returns
    -------
    layers : list
        Of (name, module). A convolution with its batch norm is a `ModuleList` of both,
        under the convolution's name.

    Example
    -------
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv1d(1, 8, 3), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 2)
    ... )
    >>> [(name, type(module).__name__) for name, module in cascade_layers(model)]
    [('2', 'Linear'), ('0', 'ModuleList')]
    """
    norms = {}  # of each convolution that has one
    for module in classifier.modules():
        children = list(module.children())
        convolutions = [child for child in children if isinstance(child, _ConvNd)]
        own_norms = [child for child in children if isinstance(child, _BatchNorm)]
        if len(convolutions) == len(own_norms):
            norms.update(zip(convolutions, own_norms, strict=True))
    taken = set(norms.values())
    layers = []
    for name, module in classifier.named_modules():
        if module in norms:
            layers.append((name, torch.nn.ModuleList([module, norms[module]])))
        elif module not in taken and _has_weights(module):
            layers.append((name, module))
    if not layers:
        raise InputError(
            f"{type(classifier).__name__} has no layer with weights to randomise"
        )
    return layers[::-1]


def _has_weights(module) -> bool:
    """Whether a module has parameters or running statistics of its own."""
    own = next(module.parameters(recurse=False), None) is not None
    return own or isinstance(module, _BatchNorm)


def reinitialise(module, *key) -> None:
    """Give a module and all in it new weights, which the key decides.

    By each module's own `reset_parameters`, which for a batch norm resets the running
    statistics, too. Parameters of a module that has none are shuffled.
    """
    devices = {p.device.index for p in module.parameters() if p.is_cuda}
    with torch.random.fork_rng(devices=sorted(devices)), torch.no_grad():
        torch.manual_seed(seed_of(*key))
        for part in module.modules():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
                continue
            for parameter in part.parameters(recurse=False):
                order = torch.randperm(parameter.numel()).to(parameter.device)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))


@contextmanager
def cascade(classifier, seed: int = 1234) -> Iterator[None]:
    """Randomise a classifier layer by layer; afterwards it is what it was.

    Gives an iterator over the names of `cascade_layers`: when it yields a name, this
    layer and all before it are random. On leaving, also by an error, parameters and
    buffers have their old values again, bit for bit.

    Arguments
    ---------
    classifier : torch.nn.Module
    seed : int
        The weights of a layer depend on it and on the layer's name alone.

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


def _randomise(layers: list, seed: int) -> Iterator[str]:
    for name, module in layers:
        reinitialise(module, "cascade", seed, name)
        yield name


def randomisation_check(
    explainer,
    classifier,
    batches,
    seed: int = 1234,
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> pd.DataFrame:
    """How alike are the masks before and after the classifier's layers are randomised?

    The class that the trained classifier predicts is explained at every step, so that
    a mask does not change for the sake of another class. Only the classifier is
    randomised, not a trained interpreter: what is asked is whether its masks follow
    the classifier it was trained for.

    Arguments
    ---------
    explainer : Explainer
        Which holds this `classifier`, not a copy.
    classifier : torch.nn.Module
        Unchanged afterwards.
    batches : sequence
        Of ClipBatch; gone through once for each step. All masks are kept in memory.
    seed : int
        Of the random weights.
    device : str
        Where the clips are explained; models are there already.
    progress : bool
        Show a bar.

    Returns
    -------
    table : pandas.DataFrame
        One row per step and clip with the columns `id step layer Spearman SSIM`. Step
        0, "trained", compares the explanation with another one of the same
        classifier: 1, but for a method that draws at random. A mask that is constant
        before or after has NaN, which the summary counts; so has the SSIM of a clip
        whose recording is shorter than its window.

    Raises
    ------
    InputError
        Without clips, and when the explainer's logits stay the same although the
        classifier is random.
    """
    batches = list(batches)
    if not batches:
        raise InputError("nothing to check: no clip in the data")
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
    explainer, batches: list, before: list, step: int, layer: str
) -> pd.DataFrame:
    """The rows of one step."""
    rows, changed = [], False
    for batch, old in zip(batches, before, strict=True):
        # A new tensor: `Remembered` knows a batch by identity, and would answer with
        # what the trained classifier said.
        wav = batch.wav.to(old.mask.device, copy=True)
        new = explainer.explain(wav, old.target, lens_on(batch, wav.device))
        changed |= not torch.equal(new.logits, old.logits)
        masks = old.encoded.frames, old.mask.detach(), new.mask.detach()
        columns = {"id": list(batch.ids), "step": step, "layer": layer}
        columns[SPEARMAN.name] = score_recordings(spearman, *masks).cpu().numpy()
        columns[SSIM.name] = score_recordings(_ssim, *masks).cpu().numpy()
        rows.append(pd.DataFrame(columns))
    if step and not changed:
        raise InputError(
            f"the logits are the same with a random layer {layer}: the explainer does "
            "not use the classifier that is randomised. Build it with this very object"
        )
    return pd.concat(rows, ignore_index=True)


def _ssim(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """SSIM (B,); NaN where the maps have fewer frames than its window."""
    if first.shape[1] < WINDOW:
        return first.new_full((len(first),), math.nan, dtype=torch.float64)
    return ssim(first, second)
