"""Interpolation from mel bands of the classifier to FFT bins of the mask."""

import torch

from speechbrain_lmac.dsp.mel import hz_to_mel, slaney_mel
from speechbrain_lmac.utils.errors import check_counts


def interpolation_matrix(position: torch.Tensor, n_bands: int) -> torch.Tensor:
    """Return the matrix that interpolates bands at fractional positions.

    Linear between neighbouring centres; constant beyond the first and the last.

    Arguments
    ---------
    position : torch.Tensor
        Shape (K,), float64, in bands: 0 is the centre of the first band.
    n_bands : int
        Number of bands.

    Returns
    -------
    matrix : torch.Tensor
        Shape (n_bands, K), float32; its columns sum to 1.

    Example
    -------
    >>> interpolation_matrix(torch.tensor([-1.0, 0.25], dtype=torch.float64), 2)
    tensor([[1.0000, 0.7500],
            [0.0000, 0.2500]])
    """
    position = position.clamp(0, n_bands - 1)
    below = position.floor().clamp(max=n_bands - 2).long()
    weight = position - below
    matrix = torch.zeros(n_bands, len(position), dtype=torch.float64)
    columns = torch.arange(len(position))
    matrix[below, columns] = 1 - weight
    matrix[below + 1, columns] += weight
    return matrix.float()


class MelToBins(torch.nn.Module):
    """Interpolate a map over mel bands at the frequencies of the FFT bins.

    Each bin gets the linear interpolation (on the mel scale) of the two bands whose
    centres enclose it; bins beyond the first or last centre get that band. A constant
    map stays constant. No weights are learned.

    Arguments
    ---------
    sample_rate : int
        Hz.
    n_fft : int
        FFT size; n_fft // 2 + 1 bins.
    n_mels : int
        Number of bands, from 0 Hz to sample_rate / 2.

    Shape
    -----
    (..., n_mels) to (..., n_fft // 2 + 1).

    Example
    -------
    >>> MelToBins(16000, 1024, 80)(torch.ones(1, 431, 80)).shape
    torch.Size([1, 431, 513])
    """

    matrix: torch.Tensor  # (n_mels, n_fft // 2 + 1)

    def __init__(self, sample_rate: int, n_fft: int, n_mels: int) -> None:
        super().__init__()
        check_counts(sample_rate=sample_rate, n_fft=n_fft, n_mels=n_mels)
        bins = hz_to_mel(torch.linspace(0, sample_rate / 2, n_fft // 2 + 1))
        centres = torch.linspace(0, float(hz_to_mel(sample_rate / 2)), n_mels + 2)
        matrix = interpolation_matrix(bins / float(centres[1]) - 1, n_mels)
        self.register_buffer("matrix", matrix, persistent=False)

    def forward(self, bands: torch.Tensor) -> torch.Tensor:
        # In float32 also under autocast: bfloat16 rounds a mask of 0.999 to 1.
        with torch.autocast(bands.device.type, enabled=False):
            return bands.float() @ self.matrix


class SlaneyToBins(MelToBins):
    """`MelToBins` for bands on Slaney's mel scale, between two frequencies.

    Arguments
    ---------
    sample_rate, n_fft, n_mels : int
        As `MelToBins`.
    low_hz, high_hz : float
        Lower edge of the first band and upper edge of the last, Hz.
    """

    def __init__(
        self, sample_rate: int, n_fft: int, n_mels: int, low_hz: float, high_hz: float
    ) -> None:
        super().__init__(sample_rate, n_fft, n_mels)
        bins = slaney_mel(torch.linspace(0, sample_rate / 2, n_fft // 2 + 1))
        low, high = slaney_mel(torch.tensor([low_hz, high_hz])).tolist()
        step = (high - low) / (n_mels + 1)
        self.matrix = interpolation_matrix((bins - low) / step - 1, n_mels)


class SameBins(torch.nn.Module):
    """Identity, for masks on the classifier's own frequency axis."""

    def forward(self, bands: torch.Tensor) -> torch.Tensor:
        """Return the map (..., n_mels) unchanged."""
        return bands
