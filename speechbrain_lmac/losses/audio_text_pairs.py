"""All clip-prompt pairs of a batch, in chunks.

P prompts and B clips give P B masks, and the audio tower embeds each masked clip.
Storing all activations for the backward pass would exceed memory. Pairs are therefore
computed in chunks that store only their results, an embedding and a mask size; the
backward pass recomputes each chunk (`recomputed`). Results do not depend on the chunk
size, as pairs are independent.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch

from speechbrain_lmac.classifiers.clap.classifier import ClapClassifier
from speechbrain_lmac.classifiers.padding import embed
from speechbrain_lmac.dsp.pad_crop import score_recordings
from speechbrain_lmac.evidence import check_mask
from speechbrain_lmac.losses.gradient_checkpointing import recomputed
from speechbrain_lmac.types import Encoded, MaskDomain


class BatchPrompts(Protocol):
    """The distinct prompts of a batch of B clips."""

    @property
    def text(self) -> torch.Tensor:
        """Embeddings (P, D) of unit norm."""

    @property
    def counts(self) -> torch.Tensor:
        """Number of clips that have each prompt, (P,); their sum is B."""

    @property
    def own(self) -> torch.Tensor:
        """Index of each clip's prompt, (B,) int64."""


@dataclass(frozen=True)
class Pairs:
    """Embeddings and mask sizes of B clips, masked for each of P prompts.

    All embeddings have dimension D and unit norm.
    """

    text: torch.Tensor  # (P, D)
    counts: torch.Tensor  # (P,), how many clips have each prompt; their sum is B
    own: torch.Tensor  # (B,) int64, the prompt of each clip
    embedding: torch.Tensor  # (B, D), of the unmasked clips
    embedding_in: torch.Tensor  # (B, P, D), of the masked-in part for each prompt
    embedding_out: torch.Tensor  # (B, D), of the masked-out part for the clip's prompt
    mask_size: torch.Tensor  # (B, P), mean of each mask, 0 to 1, without the padding
    scale: torch.Tensor  # (), logit scale of the CLAP

    @property
    def similarity(self) -> torch.Tensor:
        """Cosine similarity of each clip and prompt, (B, P)."""
        return self.embedding @ self.text.T

    @property
    def similarity_in(self) -> torch.Tensor:
        """Cosine similarity of each masked-in part and its prompt, (B, P)."""
        return (self.embedding_in * self.text).sum(2)

    @property
    def own_size(self) -> torch.Tensor:
        """Mean of the mask for the clip's own prompt, (B,)."""
        return self.mask_size.gather(1, self.own[:, None])[:, 0]

    @property
    def other_size(self) -> torch.Tensor:
        """Mean of the masks for the other prompts, (B,); NaN if there are none."""
        others = self.mask_size.shape[1] - 1
        return (self.mask_size.sum(1) - self.own_size) / others


def gather_pairs(
    domain: MaskDomain,
    classifier: ClapClassifier,
    interpreter: torch.nn.Module,
    wav: torch.Tensor,
    prompts: BatchPrompts,
    lens: torch.Tensor | None = None,
    at_once: int = 16,
) -> Pairs:
    """Mask every clip for every prompt, and embed the masked clips.

    Arguments
    ---------
    domain : MaskDomain
    classifier : ClapClassifier
    interpreter : torch.nn.Module
        An `Interpreter` whose condition is the embedding of a prompt.
    wav : torch.Tensor
        Waveforms, shape (B, N).
    prompts : BatchPrompts
        The P distinct prompts of the batch.
    lens : torch.Tensor or None
        Relative lengths (B,), see `MaskDomain.encode`.
    at_once : int
        Number of pairs per chunk. Affects memory, not the result.

    Returns
    -------
    pairs : Pairs
        With gradients if gradients are enabled.
    """
    encoded = domain.encode(wav, lens)
    with torch.no_grad():
        whole = embed(domain, classifier, encoded)

    def masked(
        clips: torch.Tensor, indices: torch.Tensor
    ) -> tuple[Encoded, torch.Tensor, torch.Tensor]:
        """Return clips (n,), encoded, their masks for prompts (n,), and mask sizes."""
        some = items(encoded, clips)
        hidden = tuple(maps[clips] for maps in whole.hidden)
        mask = interpreter(hidden, some, prompts.text[indices])
        check_mask(mask, some.rep)
        return some, mask, score_recordings(mean_size, some.frames, mask)

    def embedded(some: Encoded, mask: torch.Tensor) -> torch.Tensor:
        part = domain.apply_mask(some, mask)
        return embed(domain, classifier, part).embedding.float()

    def masked_in(
        clips: torch.Tensor, indices: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        some, mask, size = masked(clips, indices)
        return embedded(some, mask), size

    def both_parts(
        clips: torch.Tensor, indices: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        some, mask, size = masked(clips, indices)
        return embedded(some, mask), size, embedded(some, 1 - mask)

    parameters = tuple(interpreter.parameters())

    n_clips, n_prompts = len(wav), len(prompts.text)
    every = torch.arange(n_clips, device=wav.device)
    clips = every.repeat_interleave(n_prompts)
    indices = torch.arange(n_prompts, device=wav.device).repeat(n_clips)
    other = prompts.own[clips] != indices
    clips, indices = clips[other], indices[other]
    own_in, own_size, own_out = in_chunks(
        both_parts, parameters, at_once, every, prompts.own
    )
    embedding_in = own_in.new_zeros(n_clips, n_prompts, own_in.shape[1])
    embedding_in = embedding_in.index_put((every, prompts.own), own_in)
    size = own_size.new_zeros(n_clips, n_prompts)
    size = size.index_put((every, prompts.own), own_size)
    if len(clips):
        other_in, other_size = in_chunks(masked_in, parameters, at_once, clips, indices)
        embedding_in = embedding_in.index_put((clips, indices), other_in)
        size = size.index_put((clips, indices), other_size)
    return Pairs(
        text=prompts.text,
        counts=prompts.counts,
        own=prompts.own,
        embedding=whole.embedding.float(),
        embedding_in=embedding_in,
        embedding_out=own_out,
        mask_size=size,
        scale=classifier.clap.scale.detach(),
    )


def in_chunks(
    function: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, ...]],
    parameters: Sequence[torch.Tensor],
    at_once: int,
    clips: torch.Tensor,
    prompts: torch.Tensor,
) -> tuple[torch.Tensor, ...]:
    """Apply a function to pairs in chunks, and concatenate the results.

    Arguments
    ---------
    function : callable
        Maps indices of clips and prompts, (n,) each, to a tuple of tensors (n, ...).
    parameters : sequence of torch.Tensor
        The function's parameters; nothing else gets a gradient.
    at_once : int
        Maximum n.
    clips, prompts : torch.Tensor
        Indices, shape (N,) each.

    Returns
    -------
    results : tuple of torch.Tensor
        Shape (N, ...) each.

    Example
    -------
    >>> in_chunks(lambda c, p: (10 * c + p,), (), 2, torch.arange(3), torch.arange(3))
    (tensor([ 0, 11, 22]),)
    """
    results = [
        recomputed(function, parameters, *chunk)
        for chunk in zip(clips.split(at_once), prompts.split(at_once), strict=True)
    ]
    return tuple(torch.cat(parts) for parts in zip(*results, strict=True))


def items(encoded: Encoded, index: torch.Tensor) -> Encoded:
    """Return the clips of an `Encoded` at indices (n,), which may repeat."""
    tensors: dict[str, Any] = {
        name: value[index]
        for name, value in vars(encoded).items()
        if torch.is_tensor(value)
    }
    return replace(encoded, **tensors)


def mean_size(mask: torch.Tensor) -> torch.Tensor:
    """Return the mean of masks (B, T, F) over time and frequency, (B,)."""
    return mask.float().mean((1, 2))
