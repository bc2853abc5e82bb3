"""Scores against known sources: a clip's foreground and background."""

import torch

from speechbrain_lmac.domains.masked_audio import MaskedAudio
from speechbrain_lmac.dsp.ideal_masks import ideal_ratio_mask
from speechbrain_lmac.dsp.pad_crop import score_recordings
from speechbrain_lmac.metrics import Score
from speechbrain_lmac.metrics.bss_eval import ARTEFACT_SCORES, si_sir_sar
from speechbrain_lmac.metrics.faithfulness import check_same_shape
from speechbrain_lmac.types import Encoded, Explanation, MaskDomain

# Lower bound of magnitudes in denominators.
MIN_MAGNITUDE = 1e-7

FOREGROUND_SHARE = Score(
    name="foreground share",
    higher_is_better=True,
    unit="%",
    description="share of the explanation's energy that comes from the clip's "
    "foreground; for an all-ones mask, the share in the clip itself",
)
IRM_OVERLAP = Score(
    name="IRM overlap",
    higher_is_better=True,
    unit="",
    description="overlap of the mask with the ideal ratio mask of the clip's "
    "foreground, sum of minima over sum of maxima; 1 for identical masks",
)
SI_SDR = Score(
    name="SI-SDR",
    higher_is_better=True,
    unit="dB",
    description="scale-invariant signal-to-distortion ratio of the explanation "
    "against the foreground",
)
SI_SDR_IMPROVEMENT = Score(
    name="SI-SDRi",
    higher_is_better=True,
    unit="dB",
    description="SI-SDR of the explanation minus that of the clip itself",
)

IRM_OVERLAP_HEARD = Score(
    name="IRM overlap-heard",
    higher_is_better=True,
    unit="",
    description="IRM overlap of the masked audio, on the map of SPS-heard, which is "
    "comparable across domains",
)


SOURCE_SCORES = (FOREGROUND_SHARE, IRM_OVERLAP, SI_SDR, SI_SDR_IMPROVEMENT)


def foreground_share(
    gain: torch.Tensor, foreground: torch.Tensor, background: torch.Tensor
) -> torch.Tensor:
    """Return the foreground's share of the explanation's energy, in percent.

    100 * sum |g S_f|^2 / (sum |g S_f|^2 + sum |g S_b|^2), with the gain g = |X_in| /
    |X| of the explanation applied to the complex spectrum of each stem.

    Arguments
    ---------
    gain : torch.Tensor
        Shape (B, T, F), at least 0.
    foreground, background : torch.Tensor
        Magnitudes |S_f|, |S_b| of the stems, shape (B, T, F).

    Returns
    -------
    share : torch.Tensor
        Shape (B,), 0 to 100, float64; NaN for a silent explanation. Higher is better.

    Example
    -------
    >>> ones = torch.ones(1, 2, 2)
    >>> foreground_share(ones, 3 * ones, ones)
    tensor([90.], dtype=torch.float64)
    """
    of_foreground = (gain.double() * foreground.double()).square().sum((1, 2))
    of_background = (gain.double() * background.double()).square().sum((1, 2))
    return 100 * of_foreground / (of_foreground + of_background)


def si_sdr(estimate: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return the scale-invariant signal-to-distortion ratio in dB.

    Le Roux et al. 2019, arXiv 1811.02508.

    With a = <estimate, reference> / |reference|^2:
    10 log10(|a reference|^2 / |estimate - a reference|^2). No mean is removed.

    Arguments
    ---------
    estimate, reference : torch.Tensor
        Waveforms, shape (B, N).

    Returns
    -------
    ratio : torch.Tensor
        Shape (B,), dB, float64; NaN where either is silent. Higher is better.

    Example
    -------
    >>> si_sdr(torch.tensor([[2.0, 2.0]]), torch.tensor([[1.0, 0.0]]))
    tensor([0.], dtype=torch.float64)
    """
    estimate, reference = estimate.double(), reference.double()
    scale = (estimate * reference).sum(1) / reference.square().sum(1)
    projected = scale[:, None] * reference
    distortion = (estimate - projected).square().sum(1)
    return 10 * torch.log10(projected.square().sum(1) / distortion)


def soft_overlap(mask: torch.Tensor, ideal: torch.Tensor) -> torch.Tensor:
    """Return the intersection over union of two masks with values in 0..1.

    sum min(m, i) / sum max(m, i)   (Ruzicka's similarity; the Jaccard index where
    both are 0 or 1)

    Every cell has the same weight, regardless of its level. The overlap of an all-ones
    mask is the mean of the ideal mask.

    Arguments
    ---------
    mask, ideal : torch.Tensor
        Shape (B, T, F), in 0..1.

    Returns
    -------
    overlap : torch.Tensor
        Shape (B,), 0 to 1, float64; NaN where both are empty. Higher is better.

    Example
    -------
    >>> soft_overlap(torch.tensor([[[1.0, 0.5]]]), torch.tensor([[[0.5, 0.0]]]))
    tensor([0.3333], dtype=torch.float64)
    """
    check_same_shape("ideal", ideal, "mask", mask)
    mask, ideal = mask.double(), ideal.double()
    shared = torch.minimum(mask, ideal).sum((1, 2))
    return shared / torch.maximum(mask, ideal).sum((1, 2))


def scores_of(domain: MaskDomain) -> tuple[Score, ...]:
    """Return the scores that `source_scores` computes in a domain."""
    if not domain.listenable:
        return (FOREGROUND_SHARE, IRM_OVERLAP)
    return (*SOURCE_SCORES, IRM_OVERLAP_HEARD, *ARTEFACT_SCORES)


def source_scores(
    domain: MaskDomain,
    explanation: Explanation,
    foreground: torch.Tensor,
    background: torch.Tensor,
) -> dict[str, torch.Tensor]:
    """Score a batch of explanations against the two sources of each clip.

    Arguments
    ---------
    domain : MaskDomain
        Waveform scores such as SI-SDR require a `listenable` domain.
    explanation : Explanation
        Explanation of B clips of N samples.
    foreground, background : torch.Tensor
        Waveforms (B, N) whose sum is the explained clip up to a gain. Scores do not
        depend on the gain, except for cells near `ideal_masks.SILENT_POWER`.

    Returns
    -------
    scores : dict
        Name of each of `scores_of(domain)` to its values, (B,), float64. NaN where a
        score is undefined: a silent explanation, a silent foreground.

    Raises
    ------
    ValueError
        When a stem does not have the shape (B, N) of the clips.
    """
    encoded = explanation.encoded
    _check_stems(encoded, foreground=foreground, background=background)
    with torch.no_grad():
        masked_audio = MaskedAudio(domain, encoded, explanation.mask)
        whole = domain.magnitude(encoded).clamp(min=MIN_MAGNITUDE)
        spectra = [
            domain.magnitude(domain.encode(stem)) for stem in (foreground, background)
        ]
        ideal = ideal_ratio_mask(spectra[0], spectra[1])
        scores = {
            FOREGROUND_SHARE.name: foreground_share(
                domain.magnitude(masked_audio.masked_in) / whole, *spectra
            ),
            IRM_OVERLAP.name: score_recordings(
                soft_overlap,
                encoded.bin_frames,
                domain.on_bins(masked_audio),
                ideal,
            ),
        }
        if domain.listenable:
            part = masked_audio.explanation
            scores[SI_SDR.name] = si_sdr(part, foreground)
            scores[SI_SDR_IMPROVEMENT.name] = scores[SI_SDR.name] - si_sdr(
                foreground + background, foreground
            )
            scores[IRM_OVERLAP_HEARD.name] = score_recordings(
                soft_overlap, masked_audio.frames, masked_audio.map, ideal
            )
            ratios = si_sir_sar(part, foreground, background)
            scores |= {s.name: r for s, r in zip(ARTEFACT_SCORES, ratios, strict=True)}
        return scores


def _check_stems(encoded: Encoded, **stems: torch.Tensor) -> None:
    """Raise ValueError unless each stem has the clips' shape (B, N)."""
    expected = (len(encoded.rep), encoded.length)
    for name, stem in stems.items():
        if tuple(stem.shape) != expected:
            raise ValueError(
                f"{name} must have the shape of the clips {expected}, "
                f"got {tuple(stem.shape)}"
            )
