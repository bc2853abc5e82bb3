"""Audio of the masked-in and masked-out parts, and the map that it shows.

Masks of different domains cannot be compared: one lies on the bins of an STFT, another
on the channels of a learned codec. What they let through can: it is a sound.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import torch

from speechbrain_lmac.types import Encoded

# Below this magnitude a cell of the input is silent, and nothing of it is kept.
LEAST_MAGNITUDE = 1e-6


@dataclass(frozen=True)
class MaskedAudio:
    """Both parts of clips under a mask, each made once, when one asks for it.

    In a domain that is not `listenable` they cannot be had: `decode` raises.
    """

    domain: object
    encoded: Encoded  # of the input, as `domain.encode` gave it
    mask: torch.Tensor  # (B, T, F), in 0..1

    @property
    def wav(self) -> torch.Tensor:
        """The input itself, (B, N)."""
        return self.encoded.wav

    @property
    def frames(self) -> torch.Tensor:
        """How many frames of `map` hold recording, (B,) int64 or None."""
        return self.encoded.bin_frames

    @cached_property
    def masked_in(self) -> Encoded:
        """What the mask lets through, an `Encoded`."""
        return self._masked(self.mask)

    @cached_property
    def masked_out(self) -> Encoded:
        """What it does not, an `Encoded`."""
        return self._masked(1 - self.mask)

    def _masked(self, mask: torch.Tensor) -> Encoded:
        part = self.domain.apply_mask(self.encoded, mask)
        if (
            self.domain.features_from_waveform
        ):  # the classifier and the listener hear one
            part = replace(part, sound=self.domain.decode(part))
        return part

    @cached_property
    def explanation(self) -> torch.Tensor:
        """The waveforms of the masked-in part, (B, N)."""
        return self.domain.decode(self.masked_in)

    @cached_property
    def rest(self) -> torch.Tensor:
        """Those of the masked-out part, (B, N)."""
        return self.domain.decode(self.masked_out)

    @cached_property
    def magnitude(self) -> torch.Tensor:
        """|STFT| of the explanation, (B, T', F')."""
        return self.domain.magnitude(self.domain.encode(self.explanation))

    @cached_property
    def map(self) -> torch.Tensor:
        """The saliency that the waveform shows, (B, T', F') on the STFT, in 0..1.

        |STFT(explanation)| / |STFT(input)|, at most 1; 0 where the input is silent.
        """
        whole = self.domain.magnitude(self.domain.encode(self.wav))
        kept = (self.magnitude / whole.clamp(min=LEAST_MAGNITUDE)).clamp(max=1)
        return torch.where(whole < LEAST_MAGNITUDE, 0.0, kept)
