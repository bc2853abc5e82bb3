"""SI-SIR and SI-SAR of an explanation, for clips with known stems.

Interference is background that leaks into the explanation; artefacts are introduced by
the method and contained in neither stem.
"""

import torch

from speechbrain_lmac.metrics import Score
from speechbrain_lmac.metrics.faithfulness import check_same_shape

# Relative energy of the part of the background that is orthogonal to the foreground,
# below which the background counts as a scaled copy of the foreground.
SAME_SOURCE = 1e-10

SI_SIR = Score(
    name="SI-SIR",
    higher_is_better=True,
    unit="dB",
    description="scale-invariant signal-to-interference ratio of the explanation: its "
    "foreground relative to its background",
)
SI_SAR = Score(
    name="SI-SAR",
    higher_is_better=True,
    unit="dB",
    description="scale-invariant signal-to-artefacts ratio of the explanation: its "
    "foreground relative to content of neither stem; infinite for the clip itself",
)
ARTEFACT_SCORES = (SI_SIR, SI_SAR)


def si_sir_sar(
    estimate: torch.Tensor, foreground: torch.Tensor, background: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the SI-SIR and the SI-SAR of an estimate of the foreground, in dB.

    With s the foreground, b the background and e the estimate (Le Roux et al. 2019,
    arXiv 1811.02508):

        e_target = <e, s> / |s|^2 s
        e_interf = P e - e_target, with P the projection on the span of s and b
        e_artif  = e - P e
        SI-SIR = 10 log10(|e_target|^2 / |e_interf|^2), SI-SAR with |e_artif|^2

    The two errors are orthogonal: 10^(-SI-SDR/10) = 10^(-SI-SIR/10) + 10^(-SI-SAR/10).
    Anything other than a gain per stem counts as an artefact, including the effect of a
    filter or a mask: SI-SAR does not distinguish a change of timbre from added noise.

    Arguments
    ---------
    estimate, foreground, background : torch.Tensor
        Waveforms, shape (B, N).

    Returns
    -------
    sir, sar : torch.Tensor
        Shape (B,), dB, float64. Higher is better. Both are NaN where the estimate or
        the foreground is silent; SI-SIR also where the background is silent or a scaled
        copy of the foreground.

    Example
    -------
    >>> s, b = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.0, 1.0, 0.0]])
    >>> sir, sar = si_sir_sar(torch.tensor([[10.0, 1.0, 10.0]]), s, b)
    >>> sir.item(), sar.item()
    (20.0, 0.0)
    """
    check_same_shape("foreground", foreground, "estimate", estimate)
    check_same_shape("background", background, "estimate", estimate)
    e, s, b = (wav.double() for wav in (estimate, foreground, background))
    target = _share(e, s) * s
    orthogonal = b - _share(b, s) * s  # the part of b orthogonal to s
    is_distinct = _energy(orthogonal) > SAME_SOURCE * _energy(b)
    interference = torch.where(
        is_distinct[:, None], _share(e, orthogonal) * orthogonal, 0.0
    )
    artefact = e - target - interference
    energy = _energy(target)
    sir = 10 * torch.log10(energy / _energy(interference))
    sar = 10 * torch.log10(energy / _energy(artefact))
    return sir.where(is_distinct, torch.nan), sar


def _share(wav: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """Return the coefficient of the projection, (B, 1); NaN for a silent direction."""
    return ((wav * direction).sum(1) / _energy(direction))[:, None]


def _energy(wav: torch.Tensor) -> torch.Tensor:
    """Return the energy (B,) of waveforms (B, N)."""
    return wav.square().sum(1)
