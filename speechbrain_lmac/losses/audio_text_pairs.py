"""Every prompt of a batch asked of every clip of it, in bounded memory.

A pair is a clip and a prompt. P prompts and B clips make P B masks, each of which the
audio tower hears again; kept for their gradient they would fill the memory. So pairs
are gone through in pieces, of which only the outcome is kept, an embedding and the
size of a mask; the gradient computes a piece once more when it comes to it
(`recomputed`). Pieces do not change the result: nothing in a pair depends on another.
"""

from dataclasses import dataclass, replace

import torch

from speechbrain_lmac.classifiers.padding import embed
from speechbrain_lmac.dsp.pad_crop import score_recordings
from speechbrain_lmac.evidence import check_mask
from speechbrain_lmac.losses.gradient_checkpointing import recomputed


@dataclass(frozen=True)
class Pairs:
    """What is heard of B clips under the masks of P prompts.

    All embeddings, of D values, have length 1.
    """

    text: torch.Tensor  # (P, D)
    counts: torch.Tensor  # (P,), how many clips have each prompt; their sum is B
    own: torch.Tensor  # (B,) int64, the prompt of each clip
    embedding: torch.Tensor  # (B, D), of the clips as they are
    embedding_in: torch.Tensor  # (B, P, D), of what the mask of a prompt keeps
    embedding_out: torch.Tensor  # (B, D), of what that of the own prompt leaves
    mask_size: torch.Tensor  # (B, P), mean of each mask, 0 to 1, without the padding
    scale: torch.Tensor  # () what the CLAP multiplies similarities by

    @property
    def similarity(self) -> torch.Tensor:
        """Cosine of each clip and prompt, (B, P)."""
        return self.embedding @ self.text.T

    @property
    def similarity_in(self) -> torch.Tensor:
        """The same of what the mask of the prompt keeps, (B, P)."""
        return (self.embedding_in * self.text).sum(2)

    @property
    def own_size(self) -> torch.Tensor:
        """Mean of the mask of the own prompt, (B,)."""
        return self.mask_size.gather(1, self.own[:, None])[:, 0]

    @property
    def other_size(self) -> torch.Tensor:
        """Mean of the masks of the other prompts, (B,); NaN where there are none."""
        others = self.mask_size.shape[1] - 1
        return (self.mask_size.sum(1) - self.own_size) / others


def gather_pairs(
    domain,
    classifier,
    interpreter,
    wav: torch.Tensor,
    asked,
    lens: torch.Tensor | None = None,
    at_once: int = 16,
) -> Pairs:
    """Ask every prompt of every clip.

    Arguments
    ---------
    domain : MaskDomain
    classifier : ClapClassifier
    interpreter : Interpreter
        Whose condition is an embedding of a prompt.
    wav : torch.Tensor
        Shape (B, N).
    asked : prompts.UniquePrompts
        P prompts.
    lens : torch.Tensor or None
        See `MaskDomain.encode`.
    at_once : int
        Pairs in a piece. The memory grows with it, the result does not depend on it.

    Returns
    -------
    pairs : Pairs
        With gradient where gradients are on.
    """
    encoded = domain.encode(wav, lens)
    with torch.no_grad():
        whole = embed(domain, classifier, encoded)

    def masked(clips: torch.Tensor, prompts: torch.Tensor) -> tuple:
        """Clips (n,) as representations, and their masks for prompts (n,)."""
        some = items(encoded, clips)
        hidden = tuple(maps[clips] for maps in whole.hidden)
        mask = interpreter(hidden, some, asked.text[prompts])
        check_mask(mask, some.rep)
        return some, mask

    def heard(some, mask: torch.Tensor) -> torch.Tensor:
        part = domain.apply_mask(some, mask)
        return embed(domain, classifier, part).embedding.float()

    def kept(
        clips: torch.Tensor, prompts: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        some, mask = masked(clips, prompts)
        return heard(some, mask), score_recordings(mean_size, some.frames, mask)

    def kept_and_left(
        clips: torch.Tensor, prompts: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        some, mask = masked(clips, prompts)
        size = score_recordings(mean_size, some.frames, mask)
        return heard(some, mask), size, heard(some, 1 - mask)

    learned = tuple(interpreter.parameters())

    n_clips, n_prompts = len(wav), len(asked.text)
    every = torch.arange(n_clips, device=wav.device)
    clips = every.repeat_interleave(n_prompts)
    prompts = torch.arange(n_prompts, device=wav.device).repeat(n_clips)
    other = asked.own[clips] != prompts
    clips, prompts = clips[other], prompts[other]
    own_in, own_size, own_out = in_pieces(
        kept_and_left, learned, at_once, every, asked.own
    )
    embedding_in = own_in.new_zeros(n_clips, n_prompts, own_in.shape[1])
    embedding_in = embedding_in.index_put((every, asked.own), own_in)
    size = own_size.new_zeros(n_clips, n_prompts)
    size = size.index_put((every, asked.own), own_size)
    if len(clips):
        other_in, other_size = in_pieces(kept, learned, at_once, clips, prompts)
        embedding_in = embedding_in.index_put((clips, prompts), other_in)
        size = size.index_put((clips, prompts), other_size)
    return Pairs(
        text=asked.text,
        counts=asked.counts,
        own=asked.own,
        embedding=whole.embedding.float(),
        embedding_in=embedding_in,
        embedding_out=own_out,
        mask_size=size,
        scale=classifier.clap.scale.detach(),
    )


def in_pieces(
    function,
    learned: tuple[torch.Tensor, ...],
    at_once: int,
    clips: torch.Tensor,
    prompts: torch.Tensor,
) -> tuple[torch.Tensor, ...]:
    """A function of pairs, piece by piece, its outcomes put together.

    Arguments
    ---------
    function : callable
        Indices of clips and of prompts, (n,) each, to a tuple of tensors (n, ...).
    learned : tuple
        The parameters that it depends on.
    at_once : int
        The largest n.
    clips, prompts : torch.Tensor
        Shape (N,) each.

    Example
    -------
    >>> in_pieces(lambda c, p: (10 * c + p,), (), 2, torch.arange(3), torch.arange(3))
    (tensor([ 0, 11, 22]),)
    """
    outcomes = [
        recomputed(function, learned, *piece)
        for piece in zip(clips.split(at_once), prompts.split(at_once), strict=True)
    ]
    return tuple(torch.cat(parts) for parts in zip(*outcomes, strict=True))


def items(encoded, index: torch.Tensor):
    """Some clips of an `Encoded`, any of them more than once."""
    tensors = {n: v[index] for n, v in vars(encoded).items() if torch.is_tensor(v)}
    return replace(encoded, **tensors)


def mean_size(mask: torch.Tensor) -> torch.Tensor:
    """Mean of masks (B, T, F) over time and frequency, (B,)."""
    return mask.float().mean((1, 2))
