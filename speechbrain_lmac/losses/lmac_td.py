"""LMAC-TD's objective: terms added to L-MAC's, and terms for training its codec.

Terms that take an `Evidence` use the waveforms of its `masked_audio`. One value per
clip, (B,); weighted by `speechbrain_lmac.losses.lmac.WeightedObjective`.
"""

import torch

from speechbrain_lmac.domains.masked_audio import MaskedAudio
from speechbrain_lmac.dsp.pad_crop import score_recordings
from speechbrain_lmac.types import Evidence

# Added to both energies of a ratio, so the gradient is finite for silence, as in
# SpeechBrain.
ENERGY_FLOOR = 1e-8

# In dB. Better reconstructions get no gradient: at 80 dB the error equals 16-bit
# rounding at a level of -20 dB, and further steps of Adam would only add noise.
CEILING = 80.0


def si_snr(estimate: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return the scale-invariant signal-to-noise ratio in dB, for training.

    With mean-free e and r, and a = <e, r> / |r|^2:
    10 log10(|a r|^2 / |e - a r|^2), with `ENERGY_FLOOR` added to each energy.

    Arguments
    ---------
    estimate, reference : torch.Tensor
        Waveforms, shape (B, N).

    Returns
    -------
    ratio : torch.Tensor
        Shape (B,), dB; 0 if both are silent. Higher is better.

    Example
    -------
    >>> estimate = torch.tensor([[2.0, -2.0, 2.0, -2.0]])
    >>> reference = torch.tensor([[1.0, -1.0, 0.0, 0.0]])
    >>> si_snr(estimate, reference).round(decimals=3)
    tensor([0.])
    """
    estimate, reference = (
        wav.float() - wav.float().mean(1, keepdim=True) for wav in (estimate, reference)
    )
    energy = reference.square().sum(1) + ENERGY_FLOOR
    scale = (estimate * reference).sum(1) / energy
    projected = scale[:, None] * reference
    distortion = (estimate - projected).square().sum(1) + ENERGY_FLOOR
    return 10 * torch.log10((projected.square().sum(1) + ENERGY_FLOOR) / distortion)


def reconstruction(estimate: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return the negative SI-SNR (B,) of waveforms (B, N), in dB, >= -`CEILING`."""
    return -si_snr(estimate, reference).clamp(max=CEILING)


def spectrogram_l1(evidence: Evidence) -> torch.Tensor:
    """Return the mean of log1p |STFT(explanation)| over time and frequency, (B,), >= 0.

    LMAC-TD's counterpart of L-MAC's `mask_l1`, excluding padding. As in the public code
    it is a plain mean.
    """
    audio = _masked_audio(evidence)
    return score_recordings(_mean_level, audio.frames, audio.magnitude)


def sum_to_input(evidence: Evidence) -> torch.Tensor:
    """Return the negative SI-SNR of explanation + rest against the input, (B,), in dB.

    The decoder is linear, so the sum is the decoded input for any mask: the term trains
    the codec if that is trainable, and is constant for a frozen one.
    """
    audio = _masked_audio(evidence)
    return -si_snr(audio.explanation + audio.rest, audio.wav)


def _masked_audio(evidence: Evidence) -> MaskedAudio:
    if evidence.masked_audio is None:
        raise ValueError("this term requires Evidence.masked_audio, got None")
    return evidence.masked_audio


def _mean_level(magnitude: torch.Tensor) -> torch.Tensor:
    return magnitude.log1p().mean((1, 2))
