"""LMAC-ZS's training objective: masks should preserve the similarities of a CLAP.

Terms are functions of `audio_text_pairs.Pairs` that return one value per clip, (B,);
weighted by `speechbrain_lmac.losses.lmac.WeightedObjective`. The published objective
sums over all pairs of prompt i and clip j. Here a clip's value is the mean over
prompts, so the mean over clips is the mean over all B x B pairs and does not grow with
the batch size. Equal prompts are computed once, and weighted by their number of clips.
"""

import torch
import torch.nn.functional as F

from speechbrain_lmac.losses.audio_text_pairs import Pairs


def match(pairs: Pairs, scale: float | None = 1.0) -> torch.Tensor:
    """Return the mean absolute change of the similarities by masking, (B,), >= 0.

    For clip j: 1 / B sum_i s |t_i . f(X_j) - t_i . f(M(t_i, h_j) X_j)|, with the prompt
    embeddings t of all B clips and the audio tower f, both of unit norm. Low
    similarities are preserved as well.

    Arguments
    ---------
    pairs : Pairs
    scale : float or None
        Factor s of the similarities. 1: cosines. None: the CLAP's logit scale, which
        raises the weight of this term relative to the others.
    """
    factor = pairs.scale if scale is None else scale
    change = (pairs.similarity - pairs.similarity_in).abs()
    return factor * over_prompts(pairs, change)


def keep(pairs: Pairs, floor: float = 0.0, scale: float | None = 1.0) -> torch.Tensor:
    """Return the drop of similarity for present prompts, and the rise for absent ones.

    For clip j: 1 / B sum_i s d_ij, with C_ij = t_i . f(X_j), S_ij = t_i . f(M(t_i,
    h_j) X_j) and

    d_ij = max(0, C_ij - S_ij)           where C_ij > c,
           max(0, S_ij - max(0, C_ij))   elsewhere.

    Ours, as an alternative to `match`, which penalises good masks: in a mixture, the
    source that the prompt describes is more similar to the prompt than the mixture is.
    Prompts with a similarity of at most c count as absent: their masks need not keep
    anything, and should not increase the similarity.

    Arguments
    ---------
    pairs : Pairs
    floor : float
        Cosine c: the typical similarity of a clip and a prompt that is absent from it.
    scale : float or None
        As `match`.

    Returns
    -------
    change : torch.Tensor
        Shape (B,), >= 0.
    """
    factor = pairs.scale if scale is None else scale
    before, after = pairs.similarity, pairs.similarity_in
    lost, gained = (before - after).relu(), (after - before.relu()).relu()
    return factor * over_prompts(pairs, torch.where(before > floor, lost, gained))


def mask_l1(pairs: Pairs) -> torch.Tensor:
    """Return the mean of the masks of all prompts, (B,), 0 to 1, without the padding.

    For clip j: 1 / B sum_i ||M(t_i, h_j)||_1 / (T F).
    """
    return over_prompts(pairs, pairs.mask_size)


def diversity(pairs: Pairs, floor: float | None = None) -> torch.Tensor:
    """Return the L1 distance of text-text and audio-audio similarities, (B,), >= 0.

    For clip i: 1 / (B - 1) sum_{j != i} |t_i . t_j - f(M(t_i, h_i) X_i) . f(M(t_j, h_i)
    X_i)|. 0 for a batch of one clip.

    Arguments
    ---------
    pairs : Pairs
    floor : float or None
        If set, the sum is only over prompts with t_j . f(X_i) > floor, as in `keep`:
        absent prompts may have empty masks. None: all prompts, as published.
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
    """Return the negative cross-entropy of the prompt for the masked-out part, (B,).

    Over the prompts of the batch, with the CLAP's logits, as `mask_out` of L-MAC; the
    published LMAC-ZS has no such term. At most 0, unbounded below; 0 for a single
    prompt.
    """
    logits = pairs.scale * pairs.embedding_out @ pairs.text.T
    return -F.cross_entropy(logits, pairs.own, reduction="none")


def over_prompts(pairs: Pairs, values: torch.Tensor) -> torch.Tensor:
    """Return the mean (B,) of values (B, P) over prompts, weighted by `counts`.

    Example
    -------
    Two of three clips share the first prompt.

    >>> from types import SimpleNamespace
    >>> pairs = SimpleNamespace(counts=torch.tensor([2, 1]))
    >>> over_prompts(pairs, torch.tensor([[0.3, 0.9]]))
    tensor([0.5000])
    """
    return (pairs.counts * values).sum(1) / pairs.counts.sum()
