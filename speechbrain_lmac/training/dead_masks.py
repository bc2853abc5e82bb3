"""Detection of dead masks: all 0, all 1, or the same for every clip."""

import torch

from speechbrain_lmac.dsp.pad_crop import score_recordings

# Masks with a mean absolute difference below this are equal. The smallest audible mask,
# one of 513 bins for a tenth of the clip, has a mean of 2e-4.
TOLERANCE = 1e-4

ALL_ZERO = "all 0"
ALL_ONE = "all 1"
THE_SAME = "the same for every clip"


class DeadMaskDetector:
    """Detects masks that are all 0, all 1 or the same for every clip.

    Call `update` with the masks of each batch, then read `cause`.

    Example
    -------
    >>> import torch
    >>> detector = DeadMaskDetector()
    >>> detector.update(torch.full((2, 3, 4), 1e-16))
    >>> detector.cause
    'all 0'
    >>> detector.update(torch.rand(2, 3, 4))
    >>> detector.cause is None
    True
    """

    def __init__(self) -> None:
        self._first: torch.Tensor | None = None  # mask of the first clip, (1, T, F)
        self._n_clips = 0
        self._largest = {ALL_ZERO: 0.0, ALL_ONE: 0.0, THE_SAME: 0.0}

    def update(self, mask: torch.Tensor, frames: torch.Tensor | None = None) -> None:
        """Update with the masks of a batch.

        Arguments
        ---------
        mask : torch.Tensor
            Shape (B, T, F), in 0..1. A mask with a NaN is not dead.
        frames : torch.Tensor or None
            Frames of each clip without padding, (B,); see `types.Encoded`. Masks are
            compared with each other over all T frames.
        """
        mask = mask.detach().float()
        if self._first is None:
            self._first = mask[:1].clone()
        self._n_clips += len(mask)
        for cause, distances in (
            (ALL_ZERO, score_recordings(_mean, frames, mask)),
            (ALL_ONE, score_recordings(_mean, frames, 1 - mask)),
            (THE_SAME, _mean((mask - self._first).abs())),
        ):
            largest = distances.nan_to_num(nan=1.0).max().item()
            self._largest[cause] = max(self._largest[cause], largest)

    @property
    def cause(self) -> str | None:
        """`ALL_ZERO`, `ALL_ONE` or `THE_SAME` if the masks are dead, else None.

        A single clip is never `THE_SAME`.
        """
        for cause, largest in self._largest.items():
            comparable = self._n_clips > (1 if cause == THE_SAME else 0)
            if comparable and largest < TOLERANCE:
                return cause
        return None


def _mean(mask: torch.Tensor) -> torch.Tensor:
    """Return the mean of masks (B, T, F) over time and frequency, (B,)."""
    return mask.mean((1, 2))
