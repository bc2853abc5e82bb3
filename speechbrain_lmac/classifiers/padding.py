"""Classifiers on padded batches: each clip gets the logits that it has alone.

A batch whose clips differ in length has relative lengths, `Encoded.lens`. A domain
tells how long each clip is at the classifier's input (`feature_lengths`). A model whose
`masks_padding` is True takes these lengths and sets to 0 what lies behind them; any
other hears the clips of each length by themselves, cut to it.
"""

import functools
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
import torch.nn.functional as F

from speechbrain_lmac.dsp.pad_crop import zero_behind

logger = logging.getLogger(__name__)


def classify(domain, classifier, encoded):
    """Return what a classifier says of `Encoded` clips, whatever they are padded by.

    Arguments
    ---------
    domain : MaskDomain
    classifier : Classifier
    encoded : Encoded
        Of B clips.

    Returns
    -------
    output : ClassifierOutput
        Its hidden maps are 0 behind the end of each clip.
    """
    lengths = lengths_of(domain, encoded)
    masks = masks_padding(classifier)
    return on_recordings(classifier, domain.features(encoded), lengths, masks)


def embed(domain, classifier, encoded):
    """Return the `AudioEmbedding` of `Encoded` clips by a `ClapClassifier`."""
    features = domain.features(encoded)
    return classifier.audio(features, lengths_of(domain, encoded))


def lengths_of(domain, encoded):
    """Return the steps (B,) of the features that hold recording, or None for all."""
    return None if encoded.lens is None else domain.feature_lengths(encoded)


def masks_padding(model) -> bool:
    """Return whether a model, wrapped by DDP or not, takes lengths."""
    return getattr(getattr(model, "module", model), "masks_padding", False)


def on_recordings(function, features: torch.Tensor, lengths, masks: bool):
    """Apply a model to a padded batch, so that no clip depends on its padding.

    Arguments
    ---------
    function : callable
        Features (B, T, ...) to a dataclass of a result (B, ...) and of `hidden` maps
        (B, C', T', F'): a classifier, or the audio tower of a CLAP.
    features : torch.Tensor
        Shape (B, T, ...).
    lengths : torch.Tensor or None
        Steps of each item that hold recording, (B,) int64, 1 to T; (1,) for all items
        alike. None: nothing is padded.
    masks : bool
        Whether the function takes the lengths.
    """
    if lengths is None:
        return function(features)
    lengths = lengths.expand(len(features))
    return (
        function(features, lengths)
        if masks
        else one_by_one(function, features, lengths)
    )


def by_length(lengths: torch.Tensor) -> Iterator[tuple[torch.Tensor, int]]:
    """Yield the items of each length, the shortest first.

    Arguments
    ---------
    lengths : torch.Tensor
        Shape (B,), int64.

    Yields
    ------
    places : torch.Tensor
        Of the items of one length, (B',) int64.
    length : int

    Example
    -------
    >>> [(places.tolist(), n) for places, n in by_length(torch.tensor([4, 2, 4]))]
    [([1], 2), ([0, 2], 4)]
    """
    for length in lengths.unique().tolist():
        yield (lengths == length).nonzero().flatten(), length


def one_by_one(function, features: torch.Tensor, lengths: torch.Tensor):
    """Apply a function to the items of each length by themselves, cut to the length.

    Hidden maps are followed by zeros. Where the longest item has T' steps over n of N
    steps, there are round(T' N / n) of them: maps that lie evenly over the input still
    do.

    Arguments and returns are those of `on_recordings`.

    Example
    -------
    The mean over time of an item of two steps, and of one of four:

    >>> from speechbrain_lmac.types import ClassifierOutput
    >>> def mean(features):
    ...     return ClassifierOutput(features.mean(1), (features[:, None],))
    >>> features = torch.tensor([[1.0, 3.0, 9.0, 9.0], [2.0, 2.0, 2.0, 2.0]])[..., None]
    >>> output = one_by_one(mean, features, torch.tensor([2, 4]))
    >>> output.logits.flatten(), output.hidden[0][0].flatten()
    (tensor([2., 2.]), tensor([1., 3., 0., 0.]))
    """
    groups = list(by_length(lengths))
    outputs = [function(features[places, :length]) for places, length in groups]
    scale = features.shape[1] / groups[-1][1]
    back = torch.cat([places for places, _ in groups]).argsort()
    results, hidden = zip(*(vars(output).values() for output in outputs), strict=True)
    joined = []
    for maps in zip(*hidden, strict=True):
        steps = max(round(scale * maps[-1].shape[2]), *(m.shape[2] for m in maps))
        maps = [F.pad(m, (0, 0, 0, steps - m.shape[2])) for m in maps]
        joined.append(torch.cat(maps)[back])
    return type(outputs[0])(torch.cat(results)[back], tuple(joined))


@contextmanager
def zeros_behind(inputs: list, outputs: list) -> Iterator[None]:
    """Let layers take and give zeros behind the end of each item, while entered.

    Arguments
    ---------
    inputs, outputs : list
        Pairs of a module and of lengths (B,): how many steps of the maps (B, C', T',
        F') that it takes, or gives, hold recording.
    """

    def of_input(
        module, given: tuple[torch.Tensor], lengths: torch.Tensor
    ) -> tuple[torch.Tensor]:
        return (zero_behind(given[0], lengths, dim=2), *given[1:])

    def of_output(
        module, given: tuple[torch.Tensor], output: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
        return zero_behind(output, lengths, dim=2)

    with ExitStack() as hooks:
        for module, lengths in inputs:
            hook = functools.partial(of_input, lengths=lengths)
            hooks.callback(module.register_forward_pre_hook(hook).remove)
        for module, lengths in outputs:
            hook = functools.partial(of_output, lengths=lengths)
            # Before other hooks: class activation maps look at what is left.
            handle = module.register_forward_hook(hook, prepend=True)
            hooks.callback(handle.remove)
        yield


def pool_over_time(maps: torch.Tensor, lengths=None) -> torch.Tensor:
    """Return maximum plus mean over the steps that hold recording, (B, C').

    Arguments
    ---------
    maps : torch.Tensor
        Shape (B, C', T'), not negative, 0 from the lengths on.
    lengths : torch.Tensor or None
        Shape (B,). None: all steps.

    Example
    -------
    >>> maps = torch.tensor([[[1.0, 3.0, 0.0, 0.0]]])
    >>> pool_over_time(maps), pool_over_time(maps, torch.tensor([2]))
    (tensor([[4.]]), tensor([[5.]]))
    """
    if lengths is None:
        return maps.amax(2) + maps.mean(2)
    return maps.amax(2) + maps.sum(2) / lengths[:, None]


@functools.cache  # once is enough
def warn_of_padding(name: str) -> None:
    """Log that a model hears the padding of the clips that it is trained on."""
    logger.warning(
        "%s cannot mask padding: in its training, clips that are shorter than the "
        "batch are heard with the silence behind them",
        name,
    )
