"""The domain of LMAC-TD: the mask multiplies a learned code of the waveform."""

import torch

from speechbrain_lmac.domains.stft import check_wav, recorded_samples, silent_behind
from speechbrain_lmac.types import Encoded
from speechbrain_lmac.utils.errors import InputError


class LearnedDomain(torch.nn.Module):
    """The mask multiplies the encoder's output; no phase is borrowed from the input.

    What the classifier hears of a part is the STFT and mel spectrogram of its decoded
    waveform. Of the input as it is (`encode`), the classifier hears the waveform
    itself, so that p(X) is not the codec's; a mask of ones shows what the codec costs.

    Arguments
    ---------
    stft : STFTDomain
        The classifier's front end.
    codec : Codec
        Where the mask lives: rep (B, T, F) with as many F as it has channels.

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

    def __init__(self, stft: torch.nn.Module, codec: torch.nn.Module):
        super().__init__()
        if stft.sample_rate != codec.sample_rate:
            raise InputError(
                f"the codec is for {codec.sample_rate} Hz, the STFT for "
                f"{stft.sample_rate} Hz"
            )
        self.sample_rate = stft.sample_rate
        self.n_mels = stft.n_mels
        self.stft = stft
        self.codec = codec

    @property
    def hop_length(self) -> int:
        """Samples from one frame of the STFT to the next; maps on the bins have it."""
        return self.stft.hop_length

    def frames_of(self, lens: torch.Tensor, n_samples: int) -> torch.Tensor:
        """How many frames of each clip hold recording.

        Those whose kernel touches it: frame t takes the samples from (t - 1) stride to
        (t + 1) stride, so that of n = round(lens N) samples of recording there are
        ceil(n / stride) + 1.

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
        >>> from speechbrain_lmac.domains.codec import Codec
        >>> from speechbrain_lmac.domains.stft import STFTDomain
        >>> codec = Codec(sample_rate=16000, kernel_size=32, n_channels=64)
        >>> domain = LearnedDomain(STFTDomain(sample_rate=16000), codec)
        >>> domain.frames_of(torch.tensor([0.1, 1.0]), 16000)
        tensor([ 101, 1001])
        """
        return -(-recorded_samples(lens, n_samples) // self.codec.stride) + 1

    def encode(
        self, wav: torch.Tensor, lens: torch.Tensor | None = None
    ) -> Encoded | None:
        """Waveforms (B, N) to `Encoded` with rep (B, T, F).

        `lens` (B,), where it is known: the share of each clip that is recording, see
        `frames_of`. What comes after it is taken for silence. On the bins of `on_bins`
        the frames are the STFT's.
        """
        check_wav(wav)
        frames = bin_frames = None
        if lens is not None:
            wav = silent_behind(wav, lens)
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
        """The STFT of how it sounds: of the input itself, or of a decoded part."""
        wav = self.decode(encoded) if encoded.wav is None else encoded.wav
        if encoded.lens is not None:  # a kernel reaches beyond the end of a recording
            wav = silent_behind(wav, encoded.lens.expand(len(wav)))
        return self.stft.encode(wav)

    def magnitude(self, encoded: Encoded) -> torch.Tensor:
        """Its magnitude, (B, T', n_fft // 2 + 1)."""
        return self.stft.magnitude(self.spectrum(encoded))

    def features(self, encoded: Encoded) -> torch.Tensor:
        """The classifier's input: log1p of its mel spectrogram, (B, T', n_mels)."""
        return self.stft.features(self.spectrum(encoded))

    def feature_lengths(self, encoded: Encoded) -> torch.Tensor:
        """Frames of the STFT that each padded clip has alone, (B,)."""
        return self.stft.feature_lengths(encoded)

    def decode(self, encoded: Encoded) -> torch.Tensor:
        """Back to waveforms (B, N)."""
        if encoded.sound is not None:
            return encoded.sound
        with torch.autocast(encoded.rep.device.type, enabled=False):
            # Below 0 no ReLU answers; gradient methods add noise to rep.
            rep = encoded.rep.float().clamp(min=0)
            return self.codec.decode(rep, encoded.length)

    def on_bins(self, masked_audio) -> torch.Tensor:
        """The mask of a `MaskedAudio` as its waveform shows it, (B, T', F')."""
        return masked_audio.map

    def from_bands(self, maps: torch.Tensor) -> None:
        """Refuse.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(
            "a map over mel bands (Grad-CAM) has no place among the channels of a "
            "learned codec: take a YAML whose domain is STFTDomain"
        )
