"""Mask domains: the representation that a mask multiplies, and its decoding."""

from speechbrain_lmac.domains.clap import ClapMelDomain, ClapSTFTDomain
from speechbrain_lmac.domains.learned import LearnedDomain
from speechbrain_lmac.domains.stft import (
    MagnitudeSTFTDomain,
    MelDomain,
    STFTDomain,
    WaveformSTFTDomain,
)

__all__ = [
    "ClapMelDomain",
    "ClapSTFTDomain",
    "LearnedDomain",
    "MagnitudeSTFTDomain",
    "MelDomain",
    "STFTDomain",
    "WaveformSTFTDomain",
]
