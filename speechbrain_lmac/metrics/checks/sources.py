"""Known sources: does the mask keep the explained source and remove the other one?

The explained source is the foreground; in mixtures of two known classes it is the stem
of the explained class.
"""

import torch

from speechbrain_lmac.data.conditions import GroundTruth, explained_source
from speechbrain_lmac.dsp.ideal_masks import SILENT_POWER
from speechbrain_lmac.dsp.pad_crop import score_recordings
from speechbrain_lmac.metrics import Score
from speechbrain_lmac.metrics.checks import ExplainedBatch
from speechbrain_lmac.metrics.separation import si_sdr
from speechbrain_lmac.types import MaskDomain

ENERGY_KEPT = Score(
    name="energy kept",
    higher_is_better=True,
    unit="dB",
    description="energy that the mask keeps of the explained source over that of the "
    "other source",
)
SOURCE_AUC = Score(
    name="source AUC",
    higher_is_better=True,
    unit="",
    description="area under the ROC curve of the mask's values for the cells where the "
    "explained source is louder, weighted by magnitude; 0.5 for a constant mask",
)
TARGET_SI_SDR = Score(
    name="target SI-SDRi",
    higher_is_better=True,
    unit="dB",
    description="SI-SDR of the explanation minus that of the clip, against the source "
    "of the explained class; undefined for a class of neither source",
)


def energy_kept(
    mask: torch.Tensor, target: torch.Tensor, other: torch.Tensor
) -> torch.Tensor:
    """Return the energy that a mask keeps of one source over another, in dB.

    10 log10(sum (M A)^2 / sum (M O)^2)

    Arguments
    ---------
    mask : torch.Tensor
        M, shape (B, T, F), in 0..1.
    target, other : torch.Tensor
        Magnitudes A, O of the stems, shape (B, T, F), 0 where a stem is silent.

    Returns
    -------
    ratio : torch.Tensor
        Shape (B,), dB, float64. NaN for a silent stem and for an empty mask; infinite
        for a mask that removes all of one stem.

    Example
    -------
    >>> mask = torch.tensor([[[1.0, 0.1]]])
    >>> one, other = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]])
    >>> energy_kept(mask, one, other).round(decimals=4)
    tensor([20.], dtype=torch.float64)
    """
    mask, target, other = mask.double(), target.double(), other.double()
    of_target = (mask * target).square().sum((1, 2))
    of_other = (mask * other).square().sum((1, 2))
    silent = (target.amax((1, 2)) == 0) | (other.amax((1, 2)) == 0)
    return (10 * (of_target / of_other).log10()).masked_fill(silent, torch.nan)


def source_auc(
    mask: torch.Tensor, target: torch.Tensor, other: torch.Tensor
) -> torch.Tensor:
    """Return how well a mask ranks the cells of one source before those of another.

    The area under the ROC curve of the mask's values for the label A > O, each cell
    with the weight A + O: the weighted share of the pairs of a cell with A > O and one
    without whose mask is larger at the first, ties as half a pair.

    Arguments
    ---------
    mask : torch.Tensor
        Shape (B, T, F).
    target, other : torch.Tensor
        Magnitudes A, O of the stems, shape (B, T, F), at least 0.

    Returns
    -------
    auc : torch.Tensor
        Shape (B,), 0 to 1, float64. NaN where one stem is louder in all cells, and for
        a mask with a NaN.

    Example
    -------
    Of the cells with A > O one has the weight 3 and a larger mask, the other the weight
    1 and the same mask as the only cell with A < O: (3 + 0.5) / 4.

    >>> mask = torch.tensor([[[0.9, 0.2, 0.2]]])
    >>> one = torch.tensor([[[3.0, 1.0, 0.0]]])
    >>> other = torch.tensor([[[0.0, 0.0, 2.0]]])
    >>> source_auc(mask, one, other)
    tensor([0.8750], dtype=torch.float64)
    """
    target, other = target.double().flatten(1), other.double().flatten(1)
    values, order = mask.flatten(1).sort(1)
    weight = (target + other).gather(1, order)
    louder = (target > other).gather(1, order)
    positive, negative = weight * louder, weight * ~louder
    rank = torch.zeros_like(order)  # equal values have the same
    rank[:, 1:] = (values[:, 1:] != values[:, :-1]).cumsum(1)
    nothing = torch.zeros_like(weight)
    of_ranks = nothing.scatter_add(1, rank, positive)
    others = nothing.scatter_add(1, rank, negative)
    below = others.cumsum(1) - others / 2
    auc = (of_ranks * below).sum(1) / (positive.sum(1) * negative.sum(1))
    return auc.masked_fill(mask.isnan().flatten(1).any(1), torch.nan)


class SourceCheck:
    """How well masks separate the explained source from the other one.

    A check of `evaluation.evaluate` for conditions with stems. The mask is
    `MaskDomain.on_bins`: in a learned domain, the saliency map of the masked audio.
    """

    def scores(self, domain: MaskDomain, truth: GroundTruth) -> tuple[Score, ...]:
        """Return the columns.

        Without stems there is no column. With classes, and in a domain that is
        `listenable`, also `TARGET_SI_SDR`; else it would be SI-SDRi.
        Arguments and returns are those of `Check.scores`.
        """
        if truth.stems is None:
            return ()
        improves = domain.listenable and truth.classes is not None
        return (ENERGY_KEPT, SOURCE_AUC, *((TARGET_SI_SDR,) if improves else ()))

    @torch.no_grad()
    def __call__(self, batch: ExplainedBatch) -> dict[str, torch.Tensor]:
        """Return the scores of a batch of explanations.

        Arguments
        ---------
        batch : ExplainedBatch
            Of B clips.

        Returns
        -------
        scores : dict
            Name of each of `scores` to its values, (B,), float64. NaN where the
            explained class is that of neither source, or of both, and for silent stems.
        """
        if batch.stems is None:
            return {}
        domain, encoded = batch.domain, batch.explanation.encoded
        audio = batch.masked_audio
        target = batch.evidence.target
        own, other, known = explained_source(target, batch.stems, batch.classes)
        # Each stem has the padding of its clip, which is silent.
        spectra = [_audible(domain.magnitude(domain.encode(s))) for s in (own, other)]
        frames, maps = encoded.bin_frames, (domain.on_bins(audio), *spectra)
        scores = {
            ENERGY_KEPT.name: score_recordings(energy_kept, frames, *maps),
            SOURCE_AUC.name: score_recordings(source_auc, frames, *maps),
        }
        if domain.listenable and batch.classes is not None:
            gain = si_sdr(audio.explanation, own) - si_sdr(own + other, own)
            scores[TARGET_SI_SDR.name] = gain
        return {n: s.masked_fill(~known, torch.nan) for n, s in scores.items()}


def _audible(magnitude: torch.Tensor) -> torch.Tensor:
    """Return magnitudes (B, T, F) with zeros where the power is `SILENT_POWER`."""
    return magnitude.masked_fill(magnitude.square() < SILENT_POWER, 0.0)
