"""Inputs of retrained classifiers: clips without their top-ranked cells."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from speechbrain_lmac.classifiers.padding import (
    lengths_of,
    masks_padding,
    on_recordings,
)
from speechbrain_lmac.data.dataset import ClipBatch
from speechbrain_lmac.dsp.pad_crop import join_recordings, recordings
from speechbrain_lmac.evidence import check_mask
from speechbrain_lmac.metrics.curves import ranking, top_cells
from speechbrain_lmac.types import Encoded, Explainer, MaskDomain
from speechbrain_lmac.utils.errors import InputError


@dataclass(frozen=True)
class Inputs:
    """The features and labels of a split."""

    features: torch.Tensor  # (n, T, n_mels)
    labels: torch.Tensor  # (n,) class indices
    # (n,) int64, lengths of the features without padding; None: nothing is padded.
    lengths: torch.Tensor | None = None

    def logits(self, model: torch.nn.Module, indices: torch.Tensor) -> torch.Tensor:
        """Return a classifier's logits (B, C) for the clips with indices (B,)."""
        lengths = None if self.lengths is None else self.lengths[indices]
        masks = lengths is not None and masks_padding(model)
        features = self.features[indices]
        return on_recordings(model, features, lengths if masks else None, masks).logits


def mean_of_bins(domain: MaskDomain, batches: Iterable[ClipBatch]) -> torch.Tensor:
    """Return the mean of the representation in each bin, excluding padding.

    Arguments
    ---------
    domain : MaskDomain
    batches : iterable of ClipBatch

    Returns
    -------
    means : torch.Tensor
        Shape (F,), float32.

    Raises
    ------
    InputError
        If there are no clips.
    """
    total, count = torch.zeros((), dtype=torch.float64), 0
    with torch.no_grad():
        for batch in batches:
            encoded = domain.encode(batch.wav, batch.lens)
            for rep in recordings(encoded.frames, encoded.rep.double()):
                total = total + rep.sum((0, 1))
                count += rep.shape[0] * rep.shape[1]
    if not count:
        raise InputError("the training data contain no clips")
    return (total / count).float()


def without_top(
    rep: torch.Tensor, cells: torch.Tensor, share: float, fill: torch.Tensor
) -> torch.Tensor:
    """Replace the top-ranked cells of a representation.

    Arguments
    ---------
    rep : torch.Tensor
        Shape (B, T, F).
    cells : torch.Tensor
        From `metrics.curves.ranking`, shape (B, T F).
    share : float
        Share of the cells, 0 to 1.
    fill : torch.Tensor
        Replacement value for each bin, shape (F,).

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


def whole_inputs(domain: MaskDomain, batches: Iterable[ClipBatch]) -> Inputs:
    """Return the `Inputs` of n labelled clips with nothing removed.

    Features (n, T, n_mels), labels and lengths (n,). The batches are iterated twice.
    """
    with torch.no_grad():
        whole = [domain.encode(batch.wav, batch.lens) for batch in batches]
        features = [domain.features(encoded) for encoded in whole]
    labels = torch.cat([labels_of(batch) for batch in batches])
    return Inputs(torch.cat(features), labels, joined_lengths(domain, whole, features))


def labels_of(batch: ClipBatch) -> torch.Tensor:
    """Return the class indices (B,) of a batch, or raise InputError without labels."""
    if batch.label is None:
        raise InputError("remove and retrain needs clips with class labels")
    return batch.label


def joined_lengths(
    domain: MaskDomain, whole: Sequence[Encoded], features: Sequence[torch.Tensor]
) -> torch.Tensor | None:
    """Return the feature lengths of the clips of all batches.

    Arguments
    ---------
    domain : MaskDomain
    whole : sequence of Encoded
        One per batch.
    features : sequence of torch.Tensor
        Features (B, T, n_mels) of each batch.

    Returns
    -------
    lengths : torch.Tensor or None
        Shape (n,), int64, for n clips in all; None where nothing is padded.
    """
    if all(encoded.lens is None for encoded in whole):
        return None
    lengths = []
    for encoded, own_features in zip(whole, features, strict=True):
        full = torch.full((len(own_features),), own_features.shape[1])
        own = lengths_of(domain, encoded)
        lengths.append(full if own is None else own)
    return torch.cat(lengths)


def remaining_inputs(
    explainer: Explainer,
    domain: MaskDomain,
    batches: Iterable[ClipBatch],
    shares: Sequence[float],
    fill: torch.Tensor,
) -> dict[float, Inputs]:
    """Return the features of the rest of each clip, for each removed share.

    The class predicted by the frozen classifier is explained. Ties, such as the zeros
    of a sparse mask, are broken at random.

    Arguments
    ---------
    explainer : Explainer
    domain : MaskDomain
    batches : iterable of ClipBatch
        With labels.
    shares : sequence
        Shares of removed cells, 0 to 1.
    fill : torch.Tensor
        From `mean_of_bins`, shape (F,).

    Returns
    -------
    inputs : dict
        Share to `Inputs`.

    Raises
    ------
    InputError
        For a clip whose mask has a NaN.
    """
    features: dict[float, list[torch.Tensor]] = {share: [] for share in shares}
    labels: list[torch.Tensor] = []
    whole: list[Encoded] = []
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
            raise InputError(f"NaN in the mask of clip {', '.join(broken)}")
        reps = recordings(encoded.frames, encoded.rep)
        cells = [ranking(part) for part in recordings(encoded.frames, mask)]
        with torch.no_grad():
            for share in shares:
                rest = [
                    without_top(rep, ranked, share, fill)
                    for rep, ranked in zip(reps, cells, strict=True)
                ]
                rep = join_recordings(rest, mask.shape[1])
                features[share].append(domain.features(encoded.with_rep(rep)))
        labels.append(labels_of(batch))
        whole.append(encoded)
    return {
        share: Inputs(
            torch.cat(parts), torch.cat(labels), joined_lengths(domain, whole, parts)
        )
        for share, parts in features.items()
    }
