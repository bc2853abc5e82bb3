"""Batched, differentiable feature extraction of public models, in torch."""

import torch
from torchaudio.compliance.kaldi import get_mel_banks

# Kaldi's floor of the energy of a band, before the logarithm (FLT_EPSILON).
ENERGY_FLOOR = torch.finfo(torch.float32).eps
# Added to the variance by Wav2Vec2FeatureExtractor.
VARIANCE_FLOOR = 1e-7


class KaldiFbank(torch.nn.Module):
    """Kaldi's log mel spectrogram with a fixed number of frames.

    Frames of 25 ms every 10 ms, minus their mean, pre-emphasised by 0.97, with a Hann
    window; power spectrum (FFT size: the next power of two); triangular filters evenly
    spaced on the mel scale 1127 ln(1 + f / 700) from 20 Hz to sample_rate / 2; natural
    logarithm. Zero-padded or cut to `n_frames`; then (x - mean) / (2 std). Equal to
    transformers' ASTFeatureExtractor, which uses NumPy.

    Arguments
    ---------
    sample_rate : int
        In Hz.
    n_mels : int
        Number of mel bands.
    n_frames : int
        Number of frames of the output.
    mean, std : float
        Statistics of the log mel spectrograms of the training set; 0 and 0.5 change
        nothing.

    Shape
    -----
    (B, N), at least 25 ms, to (B, n_frames, n_mels).

    Example
    -------
    >>> KaldiFbank(16000, 128, 1024, -4.27, 4.57)(torch.rand(2, 80000)).shape
    torch.Size([2, 1024, 128])
    """

    window: torch.Tensor
    mel_matrix: torch.Tensor

    def __init__(
        self, sample_rate: int, n_mels: int, n_frames: int, mean: float, std: float
    ) -> None:
        super().__init__()
        self.frame_length = sample_rate * 25 // 1000
        self.hop_length = sample_rate * 10 // 1000
        self.n_fft = 2 ** (self.frame_length - 1).bit_length()
        self.n_frames = n_frames
        self.mean = mean
        self.std = std
        window = torch.hann_window(self.frame_length, periodic=False)
        self.register_buffer("window", window, persistent=False)
        mel_matrix = kaldi_mel_matrix(sample_rate, self.n_fft, n_mels)
        self.register_buffer("mel_matrix", mel_matrix, persistent=False)

    def forward(self, wav: torch.Tensor) -> torch.Tensor:
        frames = wav.unfold(1, self.frame_length, self.hop_length)
        frames = frames[:, : self.n_frames]
        frames = frames - frames.mean(2, keepdim=True)
        previous = torch.cat([frames[..., :1], frames[..., :-1]], dim=2)
        frames = (frames - 0.97 * previous) * self.window
        spectrum = torch.fft.rfft(frames, self.n_fft)
        power = spectrum.real.square() + spectrum.imag.square()
        features = (power @ self.mel_matrix).clamp(min=ENERGY_FLOOR).log()
        missing = self.n_frames - features.shape[1]
        features = torch.nn.functional.pad(features, (0, 0, 0, missing))
        return (features - self.mean) / (2 * self.std)


def kaldi_mel_matrix(
    sample_rate: int,
    n_fft: int,
    n_mels: int,
    low_hz: float = 20.0,
    high_hz: float = 0.0,
) -> torch.Tensor:
    """Return Kaldi's mel filters.

    Computed by torchaudio, with its rounding, as in `ASTFeatureExtractor`. torchaudio
    omits the last bin, whose weight is 0.

    Arguments
    ---------
    sample_rate : int
        Hz.
    n_fft : int
        FFT size; n_fft // 2 + 1 bins.
    n_mels : int
        Number of filters.
    low_hz : float
        Lower edge of the first filter, Hz.
    high_hz : float
        Upper edge of the last filter, Hz; 0: half the rate.

    Returns
    -------
    matrix : torch.Tensor
        Shape (n_fft // 2 + 1, n_mels).
    """
    unwarped = 100.0, -500.0, 1.0  # no vocal tract length warping
    triangles, _ = get_mel_banks(
        n_mels, n_fft, float(sample_rate), low_hz, high_hz, *unwarped
    )
    return torch.nn.functional.pad(triangles, (0, 1)).T.contiguous()


class ZeroMeanUnitVariance(torch.nn.Module):
    """Standardisation of each clip, as in wav2vec 2.0.

    (x - mean x) / sqrt(var x + 1e-7), with the variance over N samples (not N - 1).
    Equal to transformers' Wav2Vec2FeatureExtractor, which uses NumPy.

    Shape
    -----
    (B, N) to (B, N).

    Example
    -------
    >>> ZeroMeanUnitVariance()(torch.tensor([[1.0, 3.0]]))
    tensor([[-1.,  1.]])
    """

    def forward(self, wav: torch.Tensor) -> torch.Tensor:
        centred = wav - wav.mean(1, keepdim=True)
        variance = centred.square().mean(1, keepdim=True)
        return centred / (variance + VARIANCE_FLOOR).sqrt()
