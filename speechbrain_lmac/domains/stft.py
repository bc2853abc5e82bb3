"""Where a mask lives: the representation it multiplies, and the ways out of it.

A domain is the only place that knows a logarithm, a mel filterbank or a phase.
"""

from dataclasses import replace

import torch
from speechbrain.processing.features import Filterbank

from speechbrain_lmac.dsp.mel_to_bins import MelToBins
from speechbrain_lmac.dsp.pad_crop import zero_behind
from speechbrain_lmac.types import Encoded
from speechbrain_lmac.utils.errors import InputError, check_counts, check_numbers

# Added to |X|^2 before the root, as SpeechBrain's `spectral_magnitude` does: the
# gradient of the magnitude stays finite at digital silence.
POWER_FLOOR = 1e-14


def check_wav(wav: torch.Tensor) -> None:
    """Raise ValueError unless waveforms have the shape (B, N), N >= 1."""
    if wav.dim() != 2 or wav.shape[1] == 0:
        raise ValueError(
            "wav must have the shape (batch, samples) with at least one sample, "
            f"got {tuple(wav.shape)}"
        )


def check_lens(lens: torch.Tensor, n_clips: int) -> None:
    """Raise ValueError unless there is a share above 0 and at most 1 of each clip.

    Example
    -------
    >>> check_lens(torch.tensor([1.5]), 1)
    Traceback (most recent call last):
    ValueError: lens must be above 0 and at most 1, got 1.5 to 1.5
    """
    if lens.shape != (n_clips,):
        raise ValueError(
            f"lens must have one share for each of {n_clips} clips, "
            f"got the shape {tuple(lens.shape)}"
        )
    if not ((lens > 0) & (lens <= 1)).all():
        raise ValueError(
            "lens must be above 0 and at most 1, "
            f"got {lens.min().item():.6g} to {lens.max().item():.6g}"
        )


def recorded_samples(lens: torch.Tensor, n_samples: int) -> torch.Tensor:
    """How many of N samples are recording, by their share `lens` (B,): int64.

    Example
    -------
    >>> recorded_samples(torch.tensor([0.1, 1.0]), 16000)
    tensor([ 1600, 16000])
    """
    return (lens.double() * n_samples).round().long()


def silent_behind(wavs: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
    """Waveforms (B, N) with silence behind the recording, a share `lens` (B,) of each.

    Example
    -------
    >>> silent_behind(torch.ones(1, 4), torch.tensor([0.5]))
    tensor([[1., 1., 0., 0.]])
    """
    check_lens(lens, len(wavs))
    return zero_behind(wavs, recorded_samples(lens, wavs.shape[1]))


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
    features_from_waveform = False

    def __init__(
        self,
        sample_rate: int,
        n_fft: int = 1024,
        hop_length_ms: float = 11.6099,
        win_length_ms: float = 23.2199,
        n_mels: int = 80,
    ):
        super().__init__()
        check_counts(sample_rate=sample_rate, n_fft=n_fft, n_mels=n_mels)
        check_numbers(hop_length_ms=hop_length_ms, win_length_ms=win_length_ms)
        self.sample_rate = sample_rate
        self.n_fft = n_fft
        self.n_mels = n_mels
        self.hop_length = round(sample_rate / 1000 * hop_length_ms)
        self.win_length = round(sample_rate / 1000 * win_length_ms)
        if not 0 < self.hop_length <= self.win_length <= n_fft:
            raise InputError(
                "hop, window and n_fft must be ordered 0 < hop <= window <= n_fft, "
                f"got {self.hop_length}, {self.win_length} and {n_fft} samples"
            )
        self.n_bins = n_fft // 2 + 1
        # Frame t looks at the samples from t hop - reach on: `torch.stft` centres the
        # frames, and the window in them.
        self.reach = n_fft // 2 - (n_fft - self.win_length) // 2
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

    def compress(self, magnitude: torch.Tensor) -> torch.Tensor:
        """Magnitude to what the mask multiplies."""
        return magnitude.log1p()

    def expand(self, rep: torch.Tensor) -> torch.Tensor:
        """What the mask multiplied back to a magnitude."""
        return rep.expm1()

    def frames_of(self, lens: torch.Tensor, n_samples: int) -> torch.Tensor:
        """How many frames of each clip hold recording.

        Those whose window touches it: with n = round(lens N) samples of recording,
        ceil((n + reach) / hop) frames and at most all T. The reach is half a window,
        which is a hop for the published sizes: ceil(n / hop) + 1.

        Arguments
        ---------
        lens : torch.Tensor
            Share of the samples that is recording, shape (B,), above 0, at most 1.
        n_samples : int
            N.

        Returns
        -------
        frames : torch.Tensor
            Shape (B,), int64, from 1 to T.

        Example
        -------
        The tenth of a second has 1600 samples, 8.6 hops of 186.

        >>> STFTDomain(16000).frames_of(torch.tensor([0.1, 1.0]), 16000)
        tensor([10, 87])
        """
        frames = -(-(recorded_samples(lens, n_samples) + self.reach) // self.hop_length)
        return frames.clamp(max=n_samples // self.hop_length + 1)

    def encode(self, wav: torch.Tensor, lens: torch.Tensor | None = None) -> Encoded:
        """Waveforms (B, N) to `Encoded` with rep (B, T, F).

        `lens` (B,), where it is known: the share of each clip that is recording, see
        `frames_of`. What comes after it is taken for silence.
        """
        check_wav(wav)
        frames = None
        if lens is not None:
            wav = silent_behind(wav, lens)
            frames = self.frames_of(lens, wav.shape[1])
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
                frames=frames,
                bin_frames=frames,
                wav=wav,
                lens=lens,
            )

    def apply_mask(self, encoded: Encoded, mask: torch.Tensor) -> Encoded:
        """Multiply the representation by a mask of its shape."""
        return encoded.with_rep(encoded.rep * mask)

    def on_bins(self, masked_audio) -> torch.Tensor:
        """The mask of a `MaskedAudio` as a map over time and bins, (B, T, F)."""
        return masked_audio.mask

    def magnitude(self, encoded: Encoded) -> torch.Tensor:
        """The magnitude |X| that the representation stands for, (B, T, F)."""
        # A representation below 0 is no magnitude: gradient methods that add
        # noise to rep would turn expm1 and log1p into NaN.
        return self.expand(encoded.rep.float().clamp(min=0))

    def features(self, encoded: Encoded) -> torch.Tensor:
        """The classifier's input: log1p of the mel spectrogram, (B, T, n_mels)."""
        with torch.autocast(encoded.rep.device.type, enabled=False):
            return (self.magnitude(encoded) @ self.mel_matrix).log1p()

    def feature_lengths(self, encoded: Encoded) -> torch.Tensor:
        """Frames that each padded clip has alone, n // hop + 1 of n samples, (B,)."""
        return recorded_samples(encoded.lens, encoded.length) // self.hop_length + 1

    def decode(self, encoded: Encoded) -> torch.Tensor:
        """Back to waveforms (B, N), with the phase of the input."""
        if encoded.sound is not None:
            return encoded.sound
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

    def compress(self, magnitude: torch.Tensor) -> torch.Tensor:
        """The magnitude as it is."""
        return magnitude

    def expand(self, rep: torch.Tensor) -> torch.Tensor:
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

    def __init__(
        self,
        sample_rate: int,
        n_fft: int = 1024,
        hop_length_ms: float = 11.6099,
        win_length_ms: float = 23.2199,
        n_mels: int = 80,
    ):
        super().__init__(sample_rate, n_fft, hop_length_ms, win_length_ms, n_mels)
        self.from_bands = torch.nn.Identity()

    def encode(self, wav: torch.Tensor, lens=None) -> Encoded:
        """Waveforms (B, N) to `Encoded` with rep (B, T, n_mels)."""
        encoded = super().encode(wav, lens)
        rep = super().features(encoded)
        return replace(encoded, rep=rep, phasor=None, wav=None)

    def features(self, encoded: Encoded) -> torch.Tensor:
        """The classifier's input is what the mask multiplied, (B, T, n_mels)."""
        # Below 0 no log1p of a magnitude lies; see `STFTDomain.magnitude`.
        return encoded.rep.clamp(min=0)

    def decode(self, encoded: Encoded) -> None:
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


class WaveformSTFTDomain(STFTDomain):
    """The mask multiplies log(1 + |X|); the classifier hears the decoded waveform.

    For classifiers whose input is the waveform: the masked representation goes
    through expm1, the input's phase and the inverse STFT to the classifier, which
    hears exactly what a listener hears. The whole input takes the same way, so that a
    mask of ones changes nothing; against the waveform itself that is within -60 dB.

    Arguments are those of `STFTDomain`. `n_mels` are the bands that a decoder works
    on, which `from_bands` reads at the bins; the classifier has its own front end.

    Shape
    -----
    ``encode``: (B, N) to a representation (B, T, F), T = N // hop + 1.
    ``features``: (B, T, F) to (B, N).

    Example
    -------
    >>> domain = WaveformSTFTDomain(sample_rate=16000)
    >>> encoded = domain.encode(torch.randn(2, 80000))
    >>> encoded.rep.shape, domain.features(encoded).shape
    (torch.Size([2, 431, 513]), torch.Size([2, 80000]))
    """

    features_from_waveform = True

    def features(self, encoded: Encoded) -> torch.Tensor:
        """The classifier's input: the waveforms, (B, N)."""
        return self.decode(encoded)

    def feature_lengths(self, encoded: Encoded) -> torch.Tensor:
        """Samples of recording of each padded clip, (B,)."""
        return recorded_samples(encoded.lens, encoded.length).clamp(min=1)
