"""From the classifier's frequency axis to the mask's."""

import torch

from speechbrain_lmac.dsp.mel import hz_to_mel, slaney_mel
from speechbrain_lmac.utils.errors import check_counts


def reading(position: torch.Tensor, n_bands: int) -> torch.Tensor:
    """The matrix that reads bands at fractional positions among them.

    Linear between the two bands around; the first and the last band beyond.

    Arguments
    ---------
    position : torch.Tensor
        Of each of K places, in bands: 0 is the centre of the first. Float64.
    n_bands : int

    Returns
    -------
    matrix : torch.Tensor
        Shape (n_bands, K), float32; its columns have the sum 1.

    Example
    -------
    >>> reading(torch.tensor([-1.0, 0.25], dtype=torch.float64), 2)
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
    """Read a map over mel bands at the frequencies of the FFT bins.

    Each bin takes the linear interpolation (on the mel scale) of the two bands
    whose centres enclose it; beyond the first and the last centre the band
    itself. A constant map stays constant. Nothing is learned: a decoder that
    works on bands needs no weights to find the bins.

    Arguments
    ---------
    sample_rate : int
        In Hz.
    n_fft : int
        FFT size; n_fft // 2 + 1 bins.
    n_mels : int
        Bands, from 0 Hz to sample_rate / 2.

    Shape
    -----
    (..., n_mels) to (..., n_fft // 2 + 1).

    Example
    -------
    >>> MelToBins(16000, 1024, 80)(torch.ones(1, 431, 80)).shape
    torch.Size([1, 431, 513])
    """

    def __init__(self, sample_rate: int, n_fft: int, n_mels: int):
        super().__init__()
        check_counts(sample_rate=sample_rate, n_fft=n_fft, n_mels=n_mels)
        bins = hz_to_mel(torch.linspace(0, sample_rate / 2, n_fft // 2 + 1))
        centres = torch.linspace(0, float(hz_to_mel(sample_rate / 2)), n_mels + 2)
        matrix = reading(bins / float(centres[1]) - 1, n_mels)
        self.register_buffer("matrix", matrix, persistent=False)

    def forward(self, bands: torch.Tensor) -> torch.Tensor:
        # In float32 whatever autocast says: a mask of 0.999 is 1 in bfloat16.
        with torch.autocast(bands.device.type, enabled=False):
            return bands.float() @ self.matrix


class SlaneyToBins(MelToBins):
    """`MelToBins` for bands on Slaney's mel scale, between two frequencies.

    Arguments
    ---------
    sample_rate, n_fft, n_mels : int
        As `MelToBins`.
    low_hz, high_hz : float
        Where the first band begins and the last one ends.
    """

    def __init__(
        self, sample_rate: int, n_fft: int, n_mels: int, low_hz: float, high_hz: float
    ):
        super().__init__(sample_rate, n_fft, n_mels)
        bins = slaney_mel(torch.linspace(0, sample_rate / 2, n_fft // 2 + 1))
        low, high = slaney_mel(torch.tensor([low_hz, high_hz])).tolist()
        step = (high - low) / (n_mels + 1)
        self.matrix = reading((bins - low) / step - 1, n_mels)


class SameBins(torch.nn.Module):
    """The mask lies on the classifier's own frequency axis: nothing to do."""

    def forward(self, bands: torch.Tensor) -> torch.Tensor:
        return bands
