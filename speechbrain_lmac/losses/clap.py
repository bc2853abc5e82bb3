"""The contrastive loss of a CLAP, where several captions may be true of a sound."""

import torch

from speechbrain_lmac.utils.errors import InputError


def truth(facts: list, captions: list) -> torch.Tensor:
    """Which caption is true of which clip.

    A caption is true of a clip that has all the facts it states: "a tone" is true of a
    clip with a high tone, "a high tone" is not true of every tone. Captions that say
    the same in other words are thus no negatives of each other.

    Arguments
    ---------
    facts : list
        B frozensets: what could be said of each clip.
    captions : list
        B frozensets: what the caption of each clip states, all of it among its facts.

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
    return torch.tensor([[said <= fact for said in captions] for fact in facts])


def symmetric_contrastive(logits: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """How badly sounds and captions find each other.

    The mean of two cross-entropies, of each sound over the captions and of each caption
    over the sounds, as published for CLIP (Radford et al. 2021) and CLAP (Elizalde et
    al. 2023). The targets are shared out evenly among what is true, and not only
    the pair itself:

    L_i = -1/2 sum_j T_ij log softmax_j(s)_ij - 1/2 sum_j U_ji log softmax_j(s)_ji

    with T the rows and U the columns of `true`, each divided by its sum. Its least
    value is the mean of half their entropies, not 0.

    Arguments
    ---------
    logits : torch.Tensor
        Scaled similarities of sounds and captions, (B, B).
    true : torch.Tensor
        See `truth`, (B, B).

    Returns
    -------
    loss : torch.Tensor
        Shape (B,), in nats: of sound i and of caption i.

    Example
    -------
    >>> symmetric_contrastive(torch.zeros(2, 2), torch.eye(2).bool())  # log 2
    tensor([0.6931, 0.6931])
    >>> symmetric_contrastive(torch.tensor([[9.0, 9], [9, 9]]), torch.ones(2, 2).bool())
    tensor([0.6931, 0.6931])
    """
    if not true.diagonal().all():
        raise InputError("the caption of a clip must be true of it")
    true = true.to(logits)
    of_sounds = true / true.sum(1, keepdim=True)
    of_captions = true / true.sum(0, keepdim=True)
    by_sound = -(of_sounds * logits.log_softmax(1)).sum(1)
    by_caption = -(of_captions * logits.log_softmax(0)).sum(0)
    return (by_sound + by_caption) / 2


def silence(similarity: torch.Tensor) -> torch.Tensor:
    """How much nearly silent clips are like any caption, (B,), 0 to 1.

    The mean of the squared cosines of a clip: 0 where it is at a right angle to all
    captions. No published CLAP has this term: their silence is as near to a prompt as
    it happens to be, and a mask that keeps nothing says so.

    Arguments
    ---------
    similarity : torch.Tensor
        Cosines of B nearly silent clips and P captions, (B, P).

    Example
    -------
    >>> silence(torch.tensor([[0.6, -0.8], [0.0, 0.0]]))
    tensor([0.5000, 0.0000])
    """
    return similarity.square().mean(1)
