"""From the classifier's frequency axis to the mask's."""

import torch


def hz_to_mel(hz):
    """O'Shaughnessy's mel scale, the one of SpeechBrain's filterbank."""
    return 2595 * torch.log10(1 + torch.as_tensor(hz, dtype=torch.float64) / 700)


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

    def __init__(self, sample_rate, n_fft, n_mels):
        super().__init__()
        bins = hz_to_mel(torch.linspace(0, sample_rate / 2, n_fft // 2 + 1))
        centres = torch.linspace(0, float(hz_to_mel(sample_rate / 2)), n_mels + 2)
        step = float(centres[1])
        # Position of each bin among the bands, in bands.
        position = (bins / step - 1).clamp(0, n_mels - 1)
        below = position.floor().clamp(max=n_mels - 2).long()
        weight = position - below
        matrix = torch.zeros(n_mels, len(bins), dtype=torch.float64)
        columns = torch.arange(len(bins))
        matrix[below, columns] = 1 - weight
        matrix[below + 1, columns] += weight
        self.register_buffer("matrix", matrix.float(), persistent=False)

    def forward(self, bands):
        # In float32 whatever autocast says: a mask of 0.999 is 1 in bfloat16.
        with torch.autocast(bands.device.type, enabled=False):
            return bands.float() @ self.matrix


class SameBins(torch.nn.Module):
    """The mask lies on the classifier's own frequency axis: nothing to do."""

    def forward(self, bands):
        return bands
