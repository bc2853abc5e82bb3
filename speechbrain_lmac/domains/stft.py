"""Mask domains on the short-time Fourier transform.

Logarithm, mel filterbank and phase are computed only in the domains.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import torch
from speechbrain.processing.features import Filterbank

from speechbrain_lmac.dsp.mel_to_bins import MelToBins
from speechbrain_lmac.dsp.pad_crop import zero_after
from speechbrain_lmac.types import Encoded
from speechbrain_lmac.utils.errors import InputError, check_counts, check_numbers

if TYPE_CHECKING:
    from speechbrain_lmac.domains.masked_audio import MaskedAudio

# Added to |X|^2 before the root, as SpeechBrain's `spectral_magnitude` does: the
# gradient of the magnitude stays finite at digital silence.
POWER_FLOOR = 1e-14


def check_wav(wav: torch.Tensor) -> None:
    """Raise ValueError unless waveforms have the shape (B, N), N >= 1."""
    if wav.dim() != 2 or wav.shape[1] == 0:
        raise ValueError(
            "wav must have shape (batch, samples) with at least one sample, "
            f"got {tuple(wav.shape)}"
        )


def check_lens(lens: torch.Tensor, n_clips: int) -> None:
    """Raise ValueError unless `lens` (B,) has a value in (0, 1] for each clip.

    Example
    -------
    >>> check_lens(torch.tensor([1.5]), 1)
    Traceback (most recent call last):
    ValueError: lens must be above 0 and at most 1, got 1.5 to 1.5
    """
    if lens.shape != (n_clips,):
        raise ValueError(
            f"lens must have shape ({n_clips},), one for each clip, "
            f"got {tuple(lens.shape)}"
        )
    if not ((lens > 0) & (lens <= 1)).all():
        raise ValueError(
            "lens must be above 0 and at most 1, "
            f"got {lens.min().item():.6g} to {lens.max().item():.6g}"
        )


def recorded_samples(lens: torch.Tensor, n_samples: int) -> torch.Tensor:
    """Convert relative lengths (B,) of clips padded to N samples to samples, int64.

    Example
    -------
    >>> recorded_samples(torch.tensor([0.1, 1.0]), 16000)
    tensor([ 1600, 16000])
    """
    return (lens.double() * n_samples).round().long()


def zero_padding(wavs: torch.Tensor, lens: torch.Tensor) -> torch.Tensor:
    """Return waveforms (B, N) with zeros after the relative lengths `lens` (B,).

    Example
    -------
    >>> zero_padding(torch.ones(1, 4), torch.tensor([0.5]))
    tensor([[1., 1., 0., 0.]])
    """
    check_lens(lens, len(wavs))
    return zero_after(wavs, recorded_samples(lens, wavs.shape[1]))


class STFTDomain(torch.nn.Module):
    """Mask domain on log(1 + |X|) of the STFT, before the mel filterbank.

    This is the listenable domain of L-MAC (arXiv 2403.13086): a masked representation
    goes both to the classifier (expm1, mel filterbank, log1p) and back to a waveform
    (expm1, the input's phase, inverse STFT). With a mask M the magnitude becomes
    ``(1 + |X|)^M - 1`` as in the public code (docs/methods.md, front end).
    `MagnitudeSTFTDomain` masks the magnitude itself.

    Arguments
    ---------
    sample_rate : int
        Sample rate of the waveforms, Hz.
    n_fft : int
        FFT size in samples; F = n_fft // 2 + 1 bins.
    hop_length_ms, win_length_ms : float
        In ms, rounded to samples as SpeechBrain does: the published values are
        186 and 372 samples at 16 kHz. The window is Hamming.
    n_mels : int
        Mel bands of the classifier's input (triangular, 0 Hz to sample_rate / 2).

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
    window: torch.Tensor  # (win_length,)
    mel_matrix: torch.Tensor  # (F, n_mels)
    from_bands: torch.nn.Module  # maps (..., n_mels) to (..., F)

    def __init__(
        self,
        sample_rate: int,
        n_fft: int = 1024,
        hop_length_ms: float = 11.6099,
        win_length_ms: float = 23.2199,
        n_mels: int = 80,
    ) -> None:
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
        # Frame t begins at sample t * hop - reach: `torch.stft` centres the frames, and
        # the window in them.
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
        # SpeechBrain's triangles are symmetric in Hz, those of other libraries are not.
        # Without the logarithm the filterbank is linear: for the identity it returns
        # its matrix, (F, n_mels).
        mel_matrix = filterbank(torch.eye(self.n_bins)[None])[0].detach()
        self.register_buffer("mel_matrix", mel_matrix, persistent=False)
        self.from_bands = MelToBins(sample_rate, n_fft, n_mels)

    @property
    def rep_step(self) -> int:
        """Step of the frames of the representation, in samples: the hop."""
        return self.hop_length

    def compress(self, magnitude: torch.Tensor) -> torch.Tensor:
        """Return the representation of a magnitude, both (B, T, F)."""
        return magnitude.log1p()

    def expand(self, rep: torch.Tensor) -> torch.Tensor:
        """Return the magnitude of a representation, both (B, T, F)."""
        return rep.expm1()

    def frames_of(self, lens: torch.Tensor, n_samples: int) -> torch.Tensor:
        """Return the number of valid frames of each clip.

        The window of a valid frame overlaps the clip without its padding. A clip of n =
        round(lens N) samples has ceil((n + reach) / hop) of them, at most T. The reach
        is half a window, which is a hop for the published sizes: ceil(n / hop) + 1.

        Arguments
        ---------
        lens : torch.Tensor
            Relative lengths of the clips, shape (B,), in (0, 1].
        n_samples : int
            Samples N of the padded clips.

        Returns
        -------
        frames : torch.Tensor
            Shape (B,), int64, from 1 to T.

        Example
        -------
        A tenth of a second has 1600 samples, 8.6 hops of 186.

        >>> STFTDomain(16000).frames_of(torch.tensor([0.1, 1.0]), 16000)
        tensor([10, 87])
        """
        frames = -(-(recorded_samples(lens, n_samples) + self.reach) // self.hop_length)
        return frames.clamp(max=n_samples // self.hop_length + 1)

    def encode(self, wav: torch.Tensor, lens: torch.Tensor | None = None) -> Encoded:
        """Encode waveforms (B, N), with rep (B, T, F).

        `lens` (B,) are relative lengths, see `frames_of`; the padding is replaced by
        zeros.
        """
        check_wav(wav)
        frames = None
        if lens is not None:
            wav = zero_padding(wav, lens)
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

    def on_bins(self, masked_audio: "MaskedAudio") -> torch.Tensor:
        """Return the mask as a map over time and bins, (B, T, F)."""
        return masked_audio.mask

    def magnitude(self, encoded: Encoded) -> torch.Tensor:
        """Return the magnitude |X| of the representation, (B, T, F)."""
        # Gradient methods add noise to rep: below 0, expm1 and log1p could return NaN.
        return self.expand(encoded.rep.float().clamp(min=0))

    def features(self, encoded: Encoded) -> torch.Tensor:
        """Return the classifier's input: log1p mel spectrograms (B, T, n_mels)."""
        with torch.autocast(encoded.rep.device.type, enabled=False):
            return (self.magnitude(encoded) @ self.mel_matrix).log1p()

    def feature_lengths(self, encoded: Encoded) -> torch.Tensor | None:
        """Return the number of frames (B,) of unpadded clips; None: no `lens`.

        A clip of n samples has n // hop + 1 frames.
        """
        if encoded.lens is None:
            return None
        return recorded_samples(encoded.lens, encoded.length) // self.hop_length + 1

    def decode(self, encoded: Encoded) -> torch.Tensor:
        """Return waveforms (B, N), with the input's phase; `encoded.sound`, if set."""
        if encoded.sound is not None:
            return encoded.sound
        if encoded.phasor is None:
            raise ValueError("encoded must have the phase of its waveforms, got None")
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
    """Mask domain on the magnitude |X|, as in the formula of the authors' slides.

    An interpreter trained with `STFTDomain` is not valid here (docs/methods.md, two
    ways to mask).
    """

    def compress(self, magnitude: torch.Tensor) -> torch.Tensor:
        """Return the magnitude (B, T, F) unchanged."""
        return magnitude

    def expand(self, rep: torch.Tensor) -> torch.Tensor:
        """Return the magnitude (B, T, F) unchanged."""
        return rep


class MelDomain(STFTDomain):
    """Mask domain on the classifier's input, log(1 + mel |X|).

    The "Mel" rows of L-MAC's tables. A masked mel spectrogram cannot be decoded: this
    domain is not listenable, and `decode` raises.

    Arguments
    ---------
    sample_rate, n_fft, hop_length_ms, win_length_ms, n_mels
        As `STFTDomain`.

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
    ) -> None:
        super().__init__(sample_rate, n_fft, hop_length_ms, win_length_ms, n_mels)
        self.from_bands = torch.nn.Identity()

    def encode(self, wav: torch.Tensor, lens: torch.Tensor | None = None) -> Encoded:
        """Encode waveforms (B, N), with rep (B, T, n_mels)."""
        encoded = super().encode(wav, lens)
        rep = super().features(encoded)
        return replace(encoded, rep=rep, phasor=None)

    def features(self, encoded: Encoded) -> torch.Tensor:
        """Return the representation itself, (B, T, n_mels)."""
        # Not below 0, as log1p of a magnitude; see `STFTDomain.magnitude`.
        return encoded.rep.clamp(min=0)

    def decode(self, encoded: Encoded) -> NoReturn:
        """Raise: mel spectrograms cannot be decoded to waveforms (B, N).

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(
            "a masked mel spectrogram cannot be decoded to a waveform; use a YAML "
            "whose domain is STFTDomain"
        )


class WaveformSTFTDomain(STFTDomain):
    """Mask domain on log(1 + |X|) for classifiers of waveforms.

    The masked representation is decoded (expm1, the input's phase, inverse STFT), and
    the classifier's input is exactly the audio of the explanation. The whole input is
    decoded in the same way, so a mask of ones changes nothing; the error of decoding is
    below -60 dB.

    Arguments are those of `STFTDomain`. `n_mels` are the bands of a decoder's output,
    which `from_bands` interpolates at the bins; the classifier has its own front end.

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
        """Return the classifier's input: the decoded waveforms, (B, N)."""
        return self.decode(encoded)

    def feature_lengths(self, encoded: Encoded) -> torch.Tensor | None:
        """Return the number of samples (B,) of unpadded clips; None: no `lens`."""
        if encoded.lens is None:
            return None
        return recorded_samples(encoded.lens, encoded.length).clamp(min=1)
