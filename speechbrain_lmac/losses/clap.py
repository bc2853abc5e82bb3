"""Contrastive loss of a CLAP for clips with several matching captions."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import torch

from speechbrain_lmac.utils.errors import InputError


def truth(
    facts: Sequence[AbstractSet[str]], captions: Sequence[AbstractSet[str]]
) -> torch.Tensor:
    """Return which caption is true of which clip.

    A caption is true of a clip if the clip has all the facts that the caption states:
    "a tone" is true of a clip with a high tone, but "a high tone" is not true of every
    tone. Paraphrases are therefore not negatives of each other.

    Arguments
    ---------
    facts : sequence of frozenset
        B sets: all facts of each clip.
    captions : sequence of frozenset
        B sets: the facts that the caption of each clip states.

    Returns
    -------
    true : torch.Tensor
        Shape (B, B), bool; [i, j]: caption j is true of clip i.

    Example
    -------
    >>> truth([{"dog"}, {"dog", "rain"}], [{"dog"}, {"dog", "rain"}])
    tensor([[ True, False],
            [ True,  True]])
    """
    return torch.tensor([[stated <= known for stated in captions] for known in facts])


def symmetric_contrastive(logits: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Return the symmetric contrastive loss of each clip and its caption.

    The mean of two cross-entropies, of each clip over the captions and of each caption
    over the clips, as published for CLIP (Radford et al. 2021) and CLAP (Elizalde et
    al. 2023). The targets are spread evenly over all true pairs, not only the diagonal:

    L_i = -1/2 sum_j T_ij log softmax_j(s)_ij - 1/2 sum_j U_ji log softmax_j(s)_ji

    with T the rows and U the columns of `true`, each divided by its sum. Its minimum is
    the mean of the two entropies of these distributions, not 0.

    Arguments
    ---------
    logits : torch.Tensor
        Scaled similarities of clips and captions, shape (B, B).
    true : torch.Tensor
        See `truth`, shape (B, B), bool.

    Returns
    -------
    loss : torch.Tensor
        Shape (B,), in nats: the loss of clip i and caption i.

    Raises
    ------
    InputError
        When a caption is not true of its own clip.

    Example
    -------
    >>> symmetric_contrastive(torch.zeros(2, 2), torch.eye(2).bool())  # log 2
    tensor([0.6931, 0.6931])
    >>> symmetric_contrastive(torch.tensor([[9.0, 9], [9, 9]]), torch.ones(2, 2).bool())
    tensor([0.6931, 0.6931])
    """
    diagonal = true.diagonal()
    if not diagonal.all():
        raise InputError(
            "each caption must be true of its own clip, got false for the clips "
            f"{(~diagonal).nonzero().flatten().tolist()}"
        )
    true = true.to(logits)
    of_clips = true / true.sum(1, keepdim=True)
    of_captions = true / true.sum(0, keepdim=True)
    by_clip = -(of_clips * logits.log_softmax(1)).sum(1)
    by_caption = -(of_captions * logits.log_softmax(0)).sum(0)
    return (by_clip + by_caption) / 2


def silence(similarity: torch.Tensor) -> torch.Tensor:
    """Return the mean squared cosine of nearly silent clips and all captions.

    0 if a clip is orthogonal to all captions. Published CLAPs have no such term: their
    similarity of silence, or of a clip under an empty mask, to a prompt is arbitrary.

    Arguments
    ---------
    similarity : torch.Tensor
        Cosines of B nearly silent clips and P captions, shape (B, P).

    Returns
    -------
    loss : torch.Tensor
        Shape (B,), 0 to 1.

    Example
    -------
    >>> silence(torch.tensor([[0.6, -0.8], [0.0, 0.0]]))
    tensor([0.5000, 0.0000])
    """
    return similarity.square().mean(1)
