"""Detection of dead masks: all 0, all 1, or the same for every clip."""

import torch

from speechbrain_lmac.dsp.pad_crop import score_recordings

# A mask of a validation counts as equal to another where the mean absolute difference
# of their cells is below this. A tone in one of 513 bins for a tenth of the clip, the
# least that can be heard of one, has a mean of 2e-4.
EQUAL = 1e-4

ALL_ZERO = "all 0"
ALL_ONE = "all 1"
THE_SAME = "the same for every clip"


class DeadMaskDetector:
    """Tell whether the masks of a set of clips say nothing about any of them.

    Give it the masks batch by batch, then ask for the `cause`.

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

    def __init__(self):
        self._first = None  # the mask of the first clip, (1, T, F)
        self._n_clips = 0
        self._largest = {ALL_ZERO: 0.0, ALL_ONE: 0.0, THE_SAME: 0.0}

    def update(self, mask: torch.Tensor, frames: torch.Tensor | None = None) -> None:
        """Look at the masks of a batch.

        Arguments
        ---------
        mask : torch.Tensor
            Shape (B, T, F), in 0..1. A NaN belongs to no dead mask.
        frames : torch.Tensor or None
            The frames of each clip that hold recording, (B,); see `types.Encoded`.
            Masks are compared with each other over all T.
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
        """Which kind of dead they are, `ALL_ZERO`, `ALL_ONE` or `THE_SAME`; or None.

        One clip alone has no other to be the same as.
        """
        for cause, largest in self._largest.items():
            comparable = self._n_clips > (1 if cause == THE_SAME else 0)
            if comparable and largest < EQUAL:
                return cause
        return None


def _mean(mask: torch.Tensor) -> torch.Tensor:
    """Mean of masks (B, T, F) over time and frequency, (B,)."""
    return mask.mean((1, 2))
