"""What LMAC-ZS's interpreter is trained for: similarities of a CLAP, kept by the masks.

Terms of `audio_text_pairs.Pairs`, one value per clip, (B,); weighted by
`speechbrain_lmac.losses.lmac.WeightedObjective`. The published objective sums over all
pairs of prompt i and clip j; here a clip has the mean over its prompts, so that the
mean over the clips is the mean over all B x B pairs, which does not grow with the
batch. Clips of one prompt share it, and a prompt counts once for each of its clips.
"""

import torch
import torch.nn.functional as F


def match(pairs, scale: float | None = 1.0) -> torch.Tensor:
    """How far the masks are from keeping the similarities, (B,), >= 0.

    Of clip j: 1 / B sum_i s |t_i . f(X_j) - t_i . f(M(t_i, h_j) X_j)|, with the prompts
    t of all B clips and the audio tower f, embeddings of length 1. Also low
    similarities are kept: what is far from a sound shall stay as far.

    Arguments
    ---------
    pairs : Pairs
    scale : float or None
        s. 1: similarities are matched raw, as cosines. None: as the CLAP scales them
        for its logits. To scale is to weigh the other terms less, by 1 / s.
    """
    scale = pairs.scale if scale is None else scale
    return scale * over_prompts(pairs, (pairs.similarity - pairs.similarity_in).abs())


def keep(pairs, floor: float = 0.0, scale: float | None = 1.0) -> torch.Tensor:
    """How far the masks are from keeping what is there and making nothing up, (B,).

    Of clip j: 1 / B sum_i s d_ij, >= 0, with C_ij = t_i . f(X_j), S_ij = t_i . f(M(t_i,
    h_j) X_j) and

    d_ij = max(0, C_ij - S_ij)           where C_ij > c,
           max(0, S_ij - max(0, C_ij))   elsewhere.

    Ours, in place of `match`, which punishes a mask for what it does well: of two
    sounds at once the one that the prompt is about has, alone, a higher similarity than
    both. A prompt that is no nearer to a clip than c counts as not there; of it nothing
    has to be kept, and no part of the clip may be picked that is more like it.

    Arguments
    ---------
    pairs : Pairs
    floor : float
        c, a cosine: what the CLAP gives prompts of sounds that are not there.
    scale : float or None
        As `match`.
    """
    scale = pairs.scale if scale is None else scale
    before, after = pairs.similarity, pairs.similarity_in
    lost, made_up = (before - after).relu(), (after - before.relu()).relu()
    return scale * over_prompts(pairs, torch.where(before > floor, lost, made_up))


def mask_l1(pairs) -> torch.Tensor:
    """Mean size of the masks of all prompts, (B,), 0 to 1, without the padding.

    Of clip j: 1 / B sum_i ||M(t_i, h_j)||_1 / (T F).
    """
    return over_prompts(pairs, pairs.mask_size)


def diversity(pairs, floor: float | None = None) -> torch.Tensor:
    """How otherwise than the prompts the parts heard of a clip differ, (B,), >= 0.

    Of clip i: 1 / (B - 1) sum_{j != i} |t_i . t_j - f(M(t_i, h_i) X_i) . f(M(t_j, h_i)
    X_i)|. 0 for a clip alone.

    Arguments
    ---------
    pairs : Pairs
    floor : float or None
        Then the sum is over prompts with t_j . f(X_i) > floor only, as in `keep`: a
        prompt that is not there may have an empty mask. None: over all, as published.
    """
    own = F.one_hot(pairs.own, len(pairs.text))
    heard_own = (own[:, :, None] * pairs.embedding_in).sum(1)
    wanted = pairs.text[pairs.own] @ pairs.text.T
    heard = torch.einsum("bd,bpd->bp", heard_own, pairs.embedding_in)
    others = pairs.counts - own
    if floor is not None:
        others = others * (pairs.similarity > floor)
    return (others * (wanted - heard).abs()).sum(1) / max(len(own) - 1, 1)


def mask_out(pairs) -> torch.Tensor:
    """Minus the cross-entropy of the own prompt on the rest, (B,), <= 0.

    Among the prompts of the batch, by the CLAP's logits: L-MAC's term of that name.
    LMAC-ZS as published has none. Not bounded below; 0 with a single prompt.
    """
    logits = pairs.scale * pairs.embedding_out @ pairs.text.T
    return -F.cross_entropy(logits, pairs.own, reduction="none")


def over_prompts(pairs, values: torch.Tensor) -> torch.Tensor:
    """Mean over the prompts of all clips, (B,), of values (B, P).

    Example
    -------
    Two of three clips share the first prompt.

    >>> from types import SimpleNamespace
    >>> pairs = SimpleNamespace(counts=torch.tensor([2, 1]))
    >>> over_prompts(pairs, torch.tensor([[0.3, 0.9]]))
    tensor([0.5000])
    """
    return (pairs.counts * values).sum(1) / pairs.counts.sum()
