"""LMAC-ZS's training objective: a CLAP's similarities, preserved by the masks.

Terms of `audio_text_pairs.Pairs`, one value per clip, (B,); weighted by
`speechbrain_lmac.losses.lmac.WeightedObjective`. The published objective sums over all
pairs of prompt i and clip j; here a clip has the mean over its prompts, so that the
mean over the clips is the mean over all B x B pairs, which does not grow with the
batch. Clips of one prompt share it, and a prompt counts once for each of its clips.
"""

import torch
import torch.nn.functional as F

from speechbrain_lmac.losses.audio_text_pairs import Pairs


def match(pairs: Pairs, scale: float | None = 1.0) -> torch.Tensor:
    """Return the mean change of the similarities by masking, (B,), >= 0.

    Of clip j: 1 / B sum_i s |t_i . f(X_j) - t_i . f(M(t_i, h_j) X_j)|, with the prompts
    t of all B clips and the audio tower f, embeddings of length 1. Low
    similarities are matched, too: a prompt far from the clip should stay as far.

    Arguments
    ---------
    pairs : Pairs
    scale : float or None
        s. 1: raw cosines. None: the CLAP's factor from similarities to logits, which
        weighs the other terms less, by 1 / s.
    """
    factor = pairs.scale if scale is None else scale
    change = (pairs.similarity - pairs.similarity_in).abs()
    return factor * over_prompts(pairs, change)


def keep(pairs: Pairs, floor: float = 0.0, scale: float | None = 1.0) -> torch.Tensor:
    """Return the similarity that masks lose or make up, per clip.

    Of clip j: 1 / B sum_i s d_ij, with C_ij = t_i . f(X_j), S_ij = t_i . f(M(t_i,
    h_j) X_j) and

    d_ij = max(0, C_ij - S_ij)           where C_ij > c,
           max(0, S_ij - max(0, C_ij))   elsewhere.

    Ours, in place of `match`, which penalises good masks: of two sounds at once, the
    one that the prompt describes has alone a higher similarity than both. A prompt with
    a similarity of at most c counts as absent: its mask need not keep anything, and
    should not select a part of the clip that is more like it.

    Arguments
    ---------
    pairs : Pairs
    floor : float
        c, a cosine: the CLAP's similarity of a clip and an absent sound.
    scale : float or None
        As `match`.

    Returns
    -------
    change : torch.Tensor
        Shape (B,), >= 0.
    """
    factor = pairs.scale if scale is None else scale
    before, after = pairs.similarity, pairs.similarity_in
    lost, made_up = (before - after).relu(), (after - before.relu()).relu()
    return factor * over_prompts(pairs, torch.where(before > floor, lost, made_up))


def mask_l1(pairs: Pairs) -> torch.Tensor:
    """Return the mean of the masks of all prompts, (B,), 0 to 1, without the padding.

    Of clip j: 1 / B sum_i ||M(t_i, h_j)||_1 / (T F).
    """
    return over_prompts(pairs, pairs.mask_size)


def diversity(pairs: Pairs, floor: float | None = None) -> torch.Tensor:
    """Return the L1 distance of text-text and audio-audio similarities, (B,), >= 0.

    Of clip i: 1 / (B - 1) sum_{j != i} |t_i . t_j - f(M(t_i, h_i) X_i) . f(M(t_j, h_i)
    X_i)|. 0 for a clip alone.

    Arguments
    ---------
    pairs : Pairs
    floor : float or None
        A cosine: sum over prompts with t_j . f(X_i) > floor only, as in `keep`, so that
        an absent prompt may have an empty mask. None: over all, as published.
    """
    own = F.one_hot(pairs.own, len(pairs.text))
    own_in = (own[:, :, None] * pairs.embedding_in).sum(1)
    text_similarity = pairs.text[pairs.own] @ pairs.text.T
    audio_similarity = torch.einsum("bd,bpd->bp", own_in, pairs.embedding_in)
    difference = (text_similarity - audio_similarity).abs()
    others = pairs.counts - own
    if floor is not None:
        others = others * (pairs.similarity > floor)
    return (others * difference).sum(1) / max(len(own) - 1, 1)


def mask_out(pairs: Pairs) -> torch.Tensor:
    """Return minus the cross-entropy of the own prompt on the rest, (B,), <= 0.

    Among the prompts of the batch, by the CLAP's logits: L-MAC's term of that name.
    LMAC-ZS as published has none. Not bounded below; 0 with a single prompt.
    """
    logits = pairs.scale * pairs.embedding_out @ pairs.text.T
    return -F.cross_entropy(logits, pairs.own, reduction="none")


def over_prompts(pairs: Pairs, values: torch.Tensor) -> torch.Tensor:
    """Return the mean of values (B, P) over the prompts of all clips, (B,).

    Example
    -------
    Two of three clips share the first prompt.

    >>> from types import SimpleNamespace
    >>> pairs = SimpleNamespace(counts=torch.tensor([2, 1]))
    >>> over_prompts(pairs, torch.tensor([[0.3, 0.9]]))
    tensor([0.5000])
    """
    return (pairs.counts * values).sum(1) / pairs.counts.sum()
