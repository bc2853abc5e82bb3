"""Classification of padded batches, with the logits of each clip alone.

A batch of clips of different lengths has relative lengths, `Encoded.lens`. A domain
converts them to lengths of the classifier's input (`feature_lengths`). A model whose
`masks_padding` is True gets these lengths and sets the padding to 0; any other is
applied to the clips of each length separately, cut to that length.
"""

import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
import torch.nn.functional as F

from speechbrain_lmac.dsp.audio import at_model_level
from speechbrain_lmac.dsp.pad_crop import zero_after
from speechbrain_lmac.types import Classifier, ClassifierOutput, Encoded, MaskDomain

if TYPE_CHECKING:
    from speechbrain_lmac.classifiers.clap.classifier import AudioEmbedding

logger = logging.getLogger(__name__)

Output = TypeVar("Output")


class AudioEmbedder(Protocol):
    """Maps features to an `AudioEmbedding`: a `ClapClassifier`."""

    def audio(
        self, features: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> "AudioEmbedding":
        """Return embeddings (B, D) and hidden maps of features (B, ...)."""


def classify(
    domain: MaskDomain, classifier: Classifier, encoded: Encoded
) -> ClassifierOutput:
    """Return a classifier's output for clips, independent of their padding.

    Arguments
    ---------
    domain : MaskDomain
    classifier : Classifier
    encoded : Encoded
        B clips.

    Returns
    -------
    output : ClassifierOutput
        Logits (B, C); hidden maps (B, C', T', F'), 0 in the padding.
    """
    lengths = lengths_of(domain, encoded)
    masks = masks_padding(classifier)
    return on_recordings(classifier, domain.features(encoded), lengths, masks)


@torch.no_grad()
def classify_waveforms(
    domain: MaskDomain,
    classifier: Classifier,
    wavs: torch.Tensor,
    lens: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the logits of waveforms, each scaled to a peak of 1.

    Arguments
    ---------
    domain : MaskDomain
    classifier : Classifier
    wavs : torch.Tensor
        Shape (B, N), at the model's rate, of any level.
    lens : torch.Tensor, optional
        Shape (B,): relative length of each recording.

    Returns
    -------
    logits : torch.Tensor
        Shape (B, C).
    """
    return classify(
        domain, classifier, domain.encode(at_model_level(wavs), lens)
    ).logits


def embed(
    domain: MaskDomain, classifier: AudioEmbedder, encoded: Encoded
) -> "AudioEmbedding":
    """Return the audio embeddings of clips, independent of their padding.

    Arguments
    ---------
    domain : MaskDomain
    classifier : ClapClassifier
    encoded : Encoded
        B clips.

    Returns
    -------
    output : AudioEmbedding
        Embeddings (B, D) and hidden maps (B, C', T', F').
    """
    features = domain.features(encoded)
    return classifier.audio(features, lengths_of(domain, encoded))


def lengths_of(domain: MaskDomain, encoded: Encoded) -> torch.Tensor | None:
    """Return the lengths (B,) of features without padding; None: nothing is padded."""
    return None if encoded.lens is None else domain.feature_lengths(encoded)


def masks_padding(model: Any) -> bool:
    """Return whether a model, also if wrapped by DDP, accepts lengths."""
    return getattr(getattr(model, "module", model), "masks_padding", False)


def on_recordings(
    function: Callable[..., Output],
    features: torch.Tensor,
    lengths: torch.Tensor | None,
    masks: bool,
) -> Output:
    """Apply a model to a padded batch, so that no clip depends on its padding.

    Arguments
    ---------
    function : callable
        Maps features (B, T, ...) to a dataclass of a result (B, ...) and `hidden` maps
        (B, C', T', F'): a classifier, or the audio tower of a CLAP.
    features : torch.Tensor
        Shape (B, T, ...).
    lengths : torch.Tensor or None
        Steps of each item without its padding, (B,) int64, 1 to T; (1,) if equal for
        all items. None: nothing is padded.
    masks : bool
        Whether the function accepts the lengths.

    Returns
    -------
    output
        The function's dataclass.
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
    """Yield the indices of the items of each length, the shortest first.

    Arguments
    ---------
    lengths : torch.Tensor
        Shape (B,), int64.

    Yields
    ------
    indices : torch.Tensor
        Items of one length, (B',) int64.
    length : int

    Example
    -------
    >>> [(indices.tolist(), n) for indices, n in by_length(torch.tensor([4, 2, 4]))]
    [([1], 2), ([0, 2], 4)]
    """
    for length in lengths.unique().tolist():
        yield (lengths == length).nonzero().flatten(), length


def one_by_one(
    function: Callable[[torch.Tensor], Output],
    features: torch.Tensor,
    lengths: torch.Tensor,
) -> Output:
    """Apply a function to the items of each length separately, cut to that length.

    Hidden maps are zero-padded. If the longest item has T' steps for n of N input
    steps, all have round(T' N / n) steps, so evenly spaced maps stay evenly spaced.

    Arguments
    ---------
    function, features
        As `on_recordings`; features (B, T, ...).
    lengths : torch.Tensor
        Shape (B,), int64.

    Returns
    -------
    output
        The function's dataclass.

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
    outputs = [function(features[indices, :length]) for indices, length in groups]
    scale = features.shape[1] / groups[-1][1]
    back = torch.cat([indices for indices, _ in groups]).argsort()
    results, hidden = zip(*(vars(output).values() for output in outputs), strict=True)
    joined = []
    for maps in zip(*hidden, strict=True):
        steps = max(round(scale * maps[-1].shape[2]), *(m.shape[2] for m in maps))
        padded = [F.pad(m, (0, 0, 0, steps - m.shape[2])) for m in maps]
        joined.append(torch.cat(padded)[back])
    kind: Callable[..., Output] = type(outputs[0])
    return kind(torch.cat(results)[back], tuple(joined))


@contextmanager
def zero_layer_padding(
    inputs: Sequence[tuple[torch.nn.Module, torch.Tensor]],
    outputs: Sequence[tuple[torch.nn.Module, torch.Tensor]],
) -> Iterator[None]:
    """Set the padding of layers' inputs and outputs to 0, within the context.

    Arguments
    ---------
    inputs, outputs : sequence of tuple
        Pairs of a module and lengths (B,), int64: the steps of its input or output maps
        (B, C', T', F') without padding.
    """

    def of_input(
        module: torch.nn.Module, args: tuple[torch.Tensor, ...], lengths: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        return (zero_after(args[0], lengths, dim=2), *args[1:])

    def of_output(
        module: torch.nn.Module,
        args: tuple[torch.Tensor, ...],
        output: torch.Tensor,
        lengths: torch.Tensor,
    ) -> torch.Tensor:
        return zero_after(output, lengths, dim=2)

    with ExitStack() as hooks:
        for module, lengths in inputs:
            pre_hook = functools.partial(of_input, lengths=lengths)
            hooks.callback(module.register_forward_pre_hook(pre_hook).remove)
        for module, lengths in outputs:
            hook = functools.partial(of_output, lengths=lengths)
            # Before other hooks, so that class activation maps use the zeroed output.
            handle = module.register_forward_hook(hook, prepend=True)
            hooks.callback(handle.remove)
        yield


def pool_over_time(
    maps: torch.Tensor, lengths: torch.Tensor | None = None
) -> torch.Tensor:
    """Return maximum plus mean over the steps without padding, (B, C').

    Arguments
    ---------
    maps : torch.Tensor
        Shape (B, C', T'), not negative, 0 in the padding.
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


@functools.cache  # warns once per model
def warn_of_padding(name: str) -> None:
    """Warn that padding influences the training of a model."""
    logger.warning(
        "%s cannot mask padding: shorter clips of a batch are trained with the silence "
        "after them",
        name,
    )
