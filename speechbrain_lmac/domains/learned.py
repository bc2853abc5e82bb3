"""The mask domain of LMAC-TD: a learned codec of the waveform."""

from typing import TYPE_CHECKING, NoReturn

import torch

from speechbrain_lmac.domains.codec import Codec
from speechbrain_lmac.domains.stft import (
    STFTDomain,
    check_wav,
    recorded_samples,
    zero_padding,
)
from speechbrain_lmac.types import Encoded
from speechbrain_lmac.utils.errors import InputError

if TYPE_CHECKING:
    from speechbrain_lmac.domains.masked_audio import MaskedAudio


class LearnedDomain(torch.nn.Module):
    """Mask domain on the channels of a codec; the input's phase is not used.

    The features of a masked part are those of its decoded waveform. The features of
    the whole input (`encode`) are those of the waveform itself, so p(X) does not
    depend on the codec; a mask of ones shows its reconstruction error. LMAC-TD (arXiv
    2409.08655).

    Arguments
    ---------
    stft : STFTDomain
        The classifier's front end.
    codec : Codec
        Its channels are the F bins of rep (B, T, F).

    Shape
    -----
    ``encode``: (B, N) to a representation (B, T, F), T = ceil(N / stride) + 1.
    ``features``: to (B, N // hop + 1, n_mels). ``decode``: to (B, N), for any N >= 1.

    Example
    -------
    >>> from speechbrain_lmac.domains.codec import Codec
    >>> from speechbrain_lmac.domains.stft import STFTDomain
    >>> codec = Codec(sample_rate=16000, kernel_size=32, n_channels=64)
    >>> domain = LearnedDomain(STFTDomain(sample_rate=16000), codec)
    >>> encoded = domain.encode(torch.randn(2, 80000))
    >>> encoded.rep.shape, domain.features(encoded).shape
    (torch.Size([2, 5001, 64]), torch.Size([2, 431, 80]))
    """

    listenable = True
    features_from_waveform = True

    def __init__(self, stft: STFTDomain, codec: Codec) -> None:
        super().__init__()
        if stft.sample_rate != codec.sample_rate:
            raise InputError(
                "codec and STFT must have one sample rate, got "
                f"{codec.sample_rate} Hz and {stft.sample_rate} Hz"
            )
        self.sample_rate = stft.sample_rate
        self.n_mels = stft.n_mels
        self.stft = stft
        self.codec = codec

    @property
    def hop_length(self) -> int:
        """Hop of the STFT, and of maps on its bins, in samples."""
        return self.stft.hop_length

    @property
    def rep_step(self) -> int:
        """Step of the frames of the representation, in samples: the codec's stride."""
        return self.codec.stride

    def frames_of(self, lens: torch.Tensor, n_samples: int) -> torch.Tensor:
        """Return the number of valid frames of each clip.

        Frame t covers the samples from (t - 1) stride to (t + 1) stride; valid frames
        overlap the clip without its padding. A clip of n = round(lens N) samples has
        ceil(n / stride) + 1 of them.

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
        >>> from speechbrain_lmac.domains.codec import Codec
        >>> from speechbrain_lmac.domains.stft import STFTDomain
        >>> codec = Codec(sample_rate=16000, kernel_size=32, n_channels=64)
        >>> domain = LearnedDomain(STFTDomain(sample_rate=16000), codec)
        >>> domain.frames_of(torch.tensor([0.1, 1.0]), 16000)
        tensor([ 101, 1001])
        """
        return -(-recorded_samples(lens, n_samples) // self.codec.stride) + 1

    def encode(self, wav: torch.Tensor, lens: torch.Tensor | None = None) -> Encoded:
        """Encode waveforms (B, N), with rep (B, T, F).

        `lens` (B,) are relative lengths, see `frames_of`; the padding is replaced by
        zeros. `bin_frames` counts frames of the STFT, for maps of `on_bins`.
        """
        check_wav(wav)
        frames = bin_frames = None
        if lens is not None:
            wav = zero_padding(wav, lens)
            frames = self.frames_of(lens, wav.shape[1])
            bin_frames = self.stft.frames_of(lens, wav.shape[1])
        with torch.autocast(wav.device.type, enabled=False):
            rep = self.codec.encode(wav.float())
        return Encoded(
            rep=rep,
            phasor=None,
            length=wav.shape[1],
            frames=frames,
            bin_frames=bin_frames,
            wav=wav.float(),
            lens=lens,
        )

    def apply_mask(self, encoded: Encoded, mask: torch.Tensor) -> Encoded:
        """Multiply the representation by a mask of its shape."""
        return encoded.with_rep(encoded.rep * mask)

    def spectrum(self, encoded: Encoded) -> Encoded:
        """Return the STFT, rep (B, T', F'), of the input or of a decoded part."""
        wav = self.decode(encoded) if encoded.wav is None else encoded.wav
        if encoded.lens is not None:  # the last kernel extends into the padding
            wav = zero_padding(wav, encoded.lens.expand(len(wav)))
        return self.stft.encode(wav)

    def magnitude(self, encoded: Encoded) -> torch.Tensor:
        """Return the magnitude of `spectrum`, (B, T', n_fft // 2 + 1)."""
        return self.stft.magnitude(self.spectrum(encoded))

    def features(self, encoded: Encoded) -> torch.Tensor:
        """Return the classifier's input: the STFT domain's, (B, T', n_mels)."""
        return self.stft.features(self.spectrum(encoded))

    def feature_lengths(self, encoded: Encoded) -> torch.Tensor | None:
        """Return the frames of the STFT, (B,), of each unpadded clip."""
        return self.stft.feature_lengths(encoded)

    def decode(self, encoded: Encoded) -> torch.Tensor:
        """Return waveforms (B, N)."""
        if encoded.sound is not None:
            return encoded.sound
        with torch.autocast(encoded.rep.device.type, enabled=False):
            # Gradient methods add noise to rep, which the encoder's ReLU keeps >= 0.
            rep = encoded.rep.float().clamp(min=0)
            return self.codec.decode(rep, encoded.length)

    def on_bins(self, masked_audio: "MaskedAudio") -> torch.Tensor:
        """Return the saliency map of the masked waveform, (B, T', F')."""
        return masked_audio.map

    def from_bands(self, maps: torch.Tensor) -> NoReturn:
        """Raise: mel-band maps (..., n_mels) do not fit the codec's channels.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(
            "a map over mel bands (Grad-CAM) cannot be applied to the channels of a "
            "learned codec; use a YAML whose domain is STFTDomain"
        )
