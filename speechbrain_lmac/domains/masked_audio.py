"""Audio of the masked-in and masked-out parts, and its saliency map.

Masks of different domains, on the bins of an STFT or the channels of a learned codec,
cannot be compared. Their masked audio can.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import torch

from speechbrain_lmac.types import Encoded, MaskDomain

# Cells of the input below this magnitude are silent: the map is 0 there.
LEAST_MAGNITUDE = 1e-6


@dataclass(frozen=True)
class MaskedAudio:
    """Both parts of clips under a mask, each computed once, on first use.

    In a domain that is not `listenable`, their waveforms raise the error of `decode`.
    """

    domain: MaskDomain
    encoded: Encoded  # the input, from `domain.encode`
    mask: torch.Tensor  # (B, T, F), 0 to 1

    @property
    def wav(self) -> torch.Tensor:
        """The input itself, (B, N)."""
        if self.encoded.wav is None:
            raise ValueError("encoded must have the waveforms of the input, got None")
        return self.encoded.wav

    @property
    def frames(self) -> torch.Tensor | None:
        """Valid frames of `map`, (B,) int64; None: all."""
        return self.encoded.bin_frames

    @cached_property
    def masked_in(self) -> Encoded:
        """The representation times the mask."""
        return self._masked(self.mask)

    @cached_property
    def masked_out(self) -> Encoded:
        """The representation times (1 - mask)."""
        return self._masked(1 - self.mask)

    def _masked(self, mask: torch.Tensor) -> Encoded:
        part = self.domain.apply_mask(self.encoded, mask)
        if self.domain.features_from_waveform:  # decoded once for both uses
            part = replace(part, sound=self.domain.decode(part))
        return part

    @cached_property
    def explanation(self) -> torch.Tensor:
        """Waveforms of the masked-in part, (B, N)."""
        return self.domain.decode(self.masked_in)

    @cached_property
    def rest(self) -> torch.Tensor:
        """Waveforms of the masked-out part, (B, N)."""
        return self.domain.decode(self.masked_out)

    @cached_property
    def magnitude(self) -> torch.Tensor:
        """|STFT| of `explanation`, (B, T', F')."""
        return self.domain.magnitude(self.domain.encode(self.explanation))

    @cached_property
    def map(self) -> torch.Tensor:
        """Saliency map of the waveform, (B, T', F') on the STFT, 0 to 1.

        |STFT(explanation)| / |STFT(input)|, at most 1; 0 where the input is silent.
        """
        whole = self.domain.magnitude(self.domain.encode(self.wav))
        ratio = (self.magnitude / whole.clamp(min=LEAST_MAGNITUDE)).clamp(max=1)
        return torch.where(whole < LEAST_MAGNITUDE, 0.0, ratio)
