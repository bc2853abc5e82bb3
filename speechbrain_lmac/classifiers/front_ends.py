"""Feature extraction of public models, in torch: batched, and open to gradients."""

import torch
from torchaudio.compliance.kaldi import get_mel_banks

# Kaldi's: below it the logarithm of a band's energy is cut (FLT_EPSILON).
ENERGY_FLOOR = torch.finfo(torch.float32).eps
# What Wav2Vec2FeatureExtractor adds to the variance.
VARIANCE_FLOOR = 1e-7


class KaldiFbank(torch.nn.Module):
    """Log mel spectrogram as Kaldi makes it, at a length that the model wants.

    Frames of 25 ms every 10 ms; each without its mean, pre-emphasised by 0.97 and
    under a Hann window; power at the bins of the next power of two; triangles that are
    even on the mel scale 1127 ln(1 + f / 700) from 20 Hz to sample_rate / 2; natural
    logarithm. Followed by frames of 0, or cut, to `n_frames`; then (x - mean) / (2
    std). This is what transformers' ASTFeatureExtractor does in NumPy.

    Arguments
    ---------
    sample_rate : int
        In Hz.
    n_mels : int
        Mel bands.
    n_frames : int
        Frames of the answer.
    mean, std : float
        Of the log mel spectrograms of the training set; 0 and 0.5 change nothing.

    Shape
    -----
    (B, N), N of 25 ms at least, to (B, n_frames, n_mels).

    Example
    -------
    >>> KaldiFbank(16000, 128, 1024, -4.27, 4.57)(torch.rand(2, 80000)).shape
    torch.Size([2, 1024, 128])
    """

    def __init__(
        self, sample_rate: int, n_mels: int, n_frames: int, mean: float, std: float
    ):
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
        # The rest would be cut anyway.
        frames = frames[:, : self.n_frames]
        frames = frames - frames.mean(2, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], dim=2)
        frames = (frames - 0.97 * before) * self.window
        spectrum = torch.fft.rfft(frames, self.n_fft)
        power = spectrum.real.square() + spectrum.imag.square()
        features = (power @ self.mel_matrix).clamp(min=ENERGY_FLOOR).log()
        missing = self.n_frames - features.shape[1]
        features = torch.nn.functional.pad(features, (0, 0, 0, missing))
        return (features - self.mean) / (2 * self.std)


def kaldi_mel_matrix(
    sample_rate: int, n_fft: int, n_mels: int, low_hz: float = 20.0
) -> torch.Tensor:
    """Return Kaldi's triangles, (n_fft // 2 + 1, n_mels), up to sample_rate / 2.

    They are torchaudio's, with its rounding, as `ASTFeatureExtractor` uses them;
    torchaudio leaves out the last bin, which has the weight 0.
    """
    # 0 stands for half the rate; the rest would warp the scale to a speaker's voice.
    half_rate, *unwarped = 0.0, 100.0, -500.0, 1.0
    triangles, _ = get_mel_banks(
        n_mels, n_fft, float(sample_rate), low_hz, half_rate, *unwarped
    )
    return torch.nn.functional.pad(triangles, (0, 1)).T.contiguous()


class ZeroMeanUnitVariance(torch.nn.Module):
    """Each clip without its mean, over its deviation, as wav2vec 2.0 wants it.

    (x - mean x) / sqrt(var x + 1e-7), the variance over N. This is what transformers'
    Wav2Vec2FeatureExtractor does in NumPy.

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
