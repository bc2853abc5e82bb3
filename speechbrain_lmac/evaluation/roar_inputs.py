"""Clips without the cells that a method ranks highest, as a classifier gets them."""

from dataclasses import dataclass

import torch

from speechbrain_lmac.classifiers.padding import (
    lengths_of,
    masks_padding,
    on_recordings,
)
from speechbrain_lmac.dsp.pad_crop import join_recordings, recordings
from speechbrain_lmac.evidence import check_mask
from speechbrain_lmac.metrics.curves import ranking, top_cells
from speechbrain_lmac.utils.errors import InputError


@dataclass(frozen=True)
class Inputs:
    """What a classifier is retrained on: one split."""

    features: torch.Tensor  # (n, T, n_mels)
    labels: torch.Tensor  # (n,) class indices
    # (n,) int64, steps of the features that hold recording; None: nothing is padded.
    lengths: torch.Tensor | None = None

    def logits(self, model, places: torch.Tensor) -> torch.Tensor:
        """Logits of a classifier for some clips, (len(places), C)."""
        masks = self.lengths is not None and masks_padding(model)
        lengths = self.lengths[places] if masks else None
        return on_recordings(model, self.features[places], lengths, masks).logits


def mean_of_bins(domain, batches: list) -> torch.Tensor:
    """The mean of the representation in each bin, over clips and recorded frames.

    Returns
    -------
    means : torch.Tensor
        Shape (F,), float32.
    """
    total, count = 0.0, 0
    with torch.no_grad():
        for batch in batches:
            encoded = domain.encode(batch.wav, batch.lens)
            for rep in recordings(encoded.frames, encoded.rep.double()):
                total = total + rep.sum((0, 1))
                count += rep.shape[0] * rep.shape[1]
    if not count:
        raise InputError("nothing to retrain on: no clip in the training data")
    return (total / count).float()


def without_top(
    rep: torch.Tensor, cells: torch.Tensor, share: float, fill: torch.Tensor
) -> torch.Tensor:
    """A representation whose highest cells say nothing any more.

    Arguments
    ---------
    rep : torch.Tensor
        Shape (B, T, F).
    cells : torch.Tensor
        From `metrics.curves.ranking`, shape (B, T F).
    share : float
        Of the cells, 0 to 1.
    fill : torch.Tensor
        What stands for a removed cell in each bin, shape (F,).

    Returns
    -------
    rep : torch.Tensor
        Shape (B, T, F).

    Example
    -------
    >>> rep = torch.tensor([[[5.0, 6.0], [7.0, 8.0]]])
    >>> without_top(rep, torch.tensor([[3, 0, 1, 2]]), 0.5, torch.tensor([1.0, 2.0]))
    tensor([[[1., 6.],
             [7., 2.]]])
    """
    removed = top_cells(cells, share, rep.shape[1:]).bool()
    return torch.where(removed, fill.expand_as(rep), rep)


def whole_inputs(domain, batches: list) -> Inputs:
    """The features of the clips as they are: `Inputs`."""
    with torch.no_grad():
        whole = [domain.encode(batch.wav, batch.lens) for batch in batches]
        features = [domain.features(encoded) for encoded in whole]
    labels = torch.cat([batch.label for batch in batches])
    return Inputs(torch.cat(features), labels, joined_lengths(domain, whole, features))


def joined_lengths(
    domain, whole: list, features: list[torch.Tensor]
) -> torch.Tensor | None:
    """Lengths (n,) of the clips of some batches, or None where nothing is padded.

    Arguments
    ---------
    domain : MaskDomain
    whole : list
        Of Encoded.
    features : list
        What the classifier hears of each, (B, T, n_mels).
    """
    if all(encoded.lens is None for encoded in whole):
        return None
    lengths = []
    for encoded, heard in zip(whole, features, strict=True):
        full = torch.full((len(heard),), heard.shape[1])
        own = lengths_of(domain, encoded)
        lengths.append(full if own is None else own)
    return torch.cat(lengths)


def remaining_inputs(
    explainer, domain, batches: list, shares: list[float], fill: torch.Tensor
) -> dict[float, Inputs]:
    """The features of what is left of each clip, for each removed share.

    The explained class is the one that the frozen classifier predicts. A cell without
    a rank of its own, as in the zeros of a sparse mask, is drawn at random.

    Arguments
    ---------
    explainer : Explainer
    domain : MaskDomain
    batches : iterable
        Of ClipBatch, with labels.
    shares : sequence
        Removed shares of the cells.
    fill : torch.Tensor
        From `mean_of_bins`, shape (F,).

    Returns
    -------
    inputs : dict
        Share to `Inputs`.
    """
    features, labels, whole = {share: [] for share in shares}, [], []
    for batch in batches:
        explanation = explainer.explain(batch.wav, lens=batch.lens)
        encoded, mask = explanation.encoded, explanation.mask.detach()
        check_mask(mask, encoded.rep)
        broken = [
            clip
            for clip, m in zip(batch.ids, mask, strict=True)
            if not m.isfinite().all()
        ]
        if broken:
            raise InputError(f"the mask of clip {', '.join(broken)} holds NaN")
        reps = recordings(encoded.frames, encoded.rep)
        cells = [ranking(part) for part in recordings(encoded.frames, mask)]
        with torch.no_grad():
            for share in shares:
                left = [
                    without_top(rep, ranked, share, fill)
                    for rep, ranked in zip(reps, cells, strict=True)
                ]
                rep = join_recordings(left, mask.shape[1])
                features[share].append(domain.features(encoded.with_rep(rep)))
        labels.append(batch.label)
        whole.append(encoded)
    return {
        share: Inputs(
            torch.cat(parts), torch.cat(labels), joined_lengths(domain, whole, parts)
        )
        for share, parts in features.items()
    }
