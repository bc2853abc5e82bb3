"""Where a mask lives: the representation it multiplies, and the ways out of it.

A domain is the only place that knows a logarithm, a mel filterbank or a phase.
"""

import torch
from speechbrain.processing.features import Filterbank

from speechbrain_lmac.errors import InputError
from speechbrain_lmac.interpreters.frequency import MelToBins
from speechbrain_lmac.types import Encoded

# Added to |X|^2 before the root, as SpeechBrain's `spectral_magnitude` does: the
# gradient of the magnitude stays finite at digital silence.
POWER_FLOOR = 1e-14


def check_wav(wav):
    """Raise ValueError unless waveforms have the shape (B, N), N >= 1."""
    if wav.dim() != 2 or wav.shape[1] == 0:
        raise ValueError(
            "wav must have the shape (batch, samples) with at least one sample, "
            f"got {tuple(wav.shape)}"
        )


class STFTDomain(torch.nn.Module):
    """The mask multiplies log(1 + |X|) of the STFT; mel comes after the mask.

    This is the listenable domain of L-MAC: a masked representation goes both to
    the classifier (expm1, mel filterbank, log1p) and back to a waveform (expm1,
    the input's phase, inverse STFT). With a mask M the magnitude becomes
    ``(1 + |X|)^M - 1`` as in the public code (docs/methods.md, front end).
    For masking the magnitude itself take `MagnitudeSTFTDomain`.

    Arguments
    ---------
    sample_rate : int
        Of the waveforms, in Hz.
    n_fft : int
        FFT size in samples; F = n_fft // 2 + 1 bins.
    hop_length_ms, win_length_ms : float
        In ms, rounded to samples as SpeechBrain does: the published values are
        186 and 372 samples at 16 kHz. The window is Hamming.
    n_mels : int
        Mel bins (triangular, 0 Hz to sample_rate / 2) that the classifier gets.

    Shape
    -----
    ``encode``: (B, N) to a representation (B, T, F), T = N // hop + 1.
    ``features``: (B, T, F) to (B, T, n_mels). ``decode``: (B, T, F) to (B, N),
    for any N >= 1.

    Example
    -------
    >>> domain = STFTDomain(sample_rate=16000)
    >>> encoded = domain.encode(torch.randn(2, 80000))
    >>> encoded.rep.shape, domain.features(encoded).shape
    (torch.Size([2, 431, 513]), torch.Size([2, 431, 80]))
    >>> domain.decode(encoded).shape
    torch.Size([2, 80000])
    """

    listenable = True

    def __init__(
        self,
        sample_rate,
        n_fft=1024,
        hop_length_ms=11.6099,
        win_length_ms=23.2199,
        n_mels=80,
    ):
        super().__init__()
        self.sample_rate = sample_rate
        self.n_fft = n_fft
        self.n_mels = n_mels
        self.hop_length = round(sample_rate / 1000 * hop_length_ms)
        self.win_length = round(sample_rate / 1000 * win_length_ms)
        if not 0 < self.hop_length <= self.win_length <= n_fft:
            raise ValueError(
                "hop, window and n_fft must be ordered 0 < hop <= window <= n_fft, "
                f"got {self.hop_length}, {self.win_length} and {n_fft} samples"
            )
        self.n_bins = n_fft // 2 + 1
        window = torch.hamming_window(self.win_length)
        self.register_buffer("window", window, persistent=False)
        filterbank = Filterbank(
            n_mels=n_mels,
            n_fft=n_fft,
            sample_rate=sample_rate,
            f_max=sample_rate / 2,
            log_mel=False,
        )
        # Without the logarithm the filterbank is linear: what it makes of the
        # identity is its matrix, (F, n_mels).
        mel_matrix = filterbank(torch.eye(self.n_bins)[None])[0].detach()
        self.register_buffer("mel_matrix", mel_matrix, persistent=False)
        self.from_bands = MelToBins(sample_rate, n_fft, n_mels)

    def compress(self, magnitude):
        """Magnitude to what the mask multiplies."""
        return magnitude.log1p()

    def expand(self, rep):
        """What the mask multiplied back to a magnitude."""
        return rep.expm1()

    def encode(self, wav):
        """Waveforms (B, N) to `Encoded` with rep (B, T, F)."""
        check_wav(wav)
        with torch.autocast(wav.device.type, enabled=False):
            spectrum = torch.stft(
                wav.float(),
                self.n_fft,
                hop_length=self.hop_length,
                win_length=self.win_length,
                window=self.window,
                center=True,
                pad_mode="constant",
                return_complex=True,
            ).transpose(1, 2)
            power = spectrum.real.square() + spectrum.imag.square()
            magnitude = (power + POWER_FLOOR).sqrt()
            return Encoded(
                rep=self.compress(magnitude),
                phasor=spectrum / magnitude,
                length=wav.shape[1],
                wav=wav,
            )

    def apply(self, encoded, mask):
        """Multiply the representation by a mask of its shape."""
        return encoded.with_rep(encoded.rep * mask)

    def on_bins(self, encoded, mask):
        """The mask as a map over time and bins, (B, T, F): the mask itself."""
        return mask

    def magnitude(self, encoded):
        """The magnitude |X| that the representation stands for, (B, T, F)."""
        # A representation below 0 is no magnitude: gradient methods that add
        # noise to rep would turn expm1 and log1p into NaN.
        return self.expand(encoded.rep.float().clamp(min=0))

    def features(self, encoded):
        """The classifier's input: log1p of the mel spectrogram, (B, T, n_mels)."""
        with torch.autocast(encoded.rep.device.type, enabled=False):
            return (self.magnitude(encoded) @ self.mel_matrix).log1p()

    def decode(self, encoded):
        """Back to waveforms (B, N), with the phase of the input."""
        with torch.autocast(encoded.rep.device.type, enabled=False):
            spectrum = self.magnitude(encoded) * encoded.phasor
            return torch.istft(
                spectrum.transpose(1, 2),
                self.n_fft,
                hop_length=self.hop_length,
                win_length=self.win_length,
                window=self.window,
                center=True,
                length=encoded.length,
            )


class MagnitudeSTFTDomain(STFTDomain):
    """The mask multiplies the magnitude |X| itself, as the slides' formula says.

    An interpreter trained with `STFTDomain` is not valid here (docs/methods.md, two
    ways to mask).
    """

    def compress(self, magnitude):
        """The magnitude as it is."""
        return magnitude

    def expand(self, rep):
        """The magnitude as it is."""
        return rep


class MelDomain(STFTDomain):
    """The mask multiplies the classifier's own input, log(1 + mel |X|).

    The "Mel" rows of L-MAC's tables. Nothing brings a masked mel spectrogram back to
    a waveform: this domain is not listenable, and `decode` refuses.

    Arguments are those of `STFTDomain`.

    Shape
    -----
    ``encode``: (B, N) to a representation (B, T, n_mels), T = N // hop + 1.
    ``features``: the representation itself.

    Example
    -------
    >>> domain = MelDomain(sample_rate=16000)
    >>> encoded = domain.encode(torch.randn(2, 80000))
    >>> encoded.rep.shape
    torch.Size([2, 431, 80])
    """

    listenable = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.from_bands = torch.nn.Identity()

    def encode(self, wav):
        """Waveforms (B, N) to `Encoded` with rep (B, T, n_mels)."""
        encoded = super().encode(wav)
        return Encoded(super().features(encoded), None, encoded.length)

    def features(self, encoded):
        """The classifier's input is what the mask multiplied, (B, T, n_mels)."""
        # Below 0 no log1p of a magnitude lies; see `STFTDomain.magnitude`.
        return encoded.rep.clamp(min=0)

    def decode(self, encoded):
        """Refuse.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(
            "a mask on the mel spectrogram cannot be listened to: there is no way "
            "back to a waveform. Take a YAML whose domain is STFTDomain"
        )
