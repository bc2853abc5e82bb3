"""Mask domains on the frames and mel bands of a CLAP's front end."""

from typing import TYPE_CHECKING, Any, Protocol

import torch

from speechbrain_lmac.domains.stft import (
    POWER_FLOOR,
    MelDomain,
    WaveformSTFTDomain,
    check_lens,
    check_wav,
    recorded_samples,
)
from speechbrain_lmac.dsp.mel import decibels
from speechbrain_lmac.dsp.mel_to_bins import SlaneyToBins
from speechbrain_lmac.dsp.pad_crop import join_recordings
from speechbrain_lmac.types import Encoded

if TYPE_CHECKING:
    from speechbrain_lmac.classifiers.clap.front_ends import ClapSpectrogram


class HasFrontEnd(Protocol):
    """A CLAP on waveforms: `HuggingFaceClap` or `MicrosoftClap`."""

    @property
    def front_end(self) -> "ClapSpectrogram":
        """The mel spectrogram of the CLAP."""


def stft_of(clap: HasFrontEnd) -> dict[str, Any]:
    """Return the sizes of a CLAP's front end, as arguments of `STFTDomain`."""
    front_end = clap.front_end
    to_ms = 1000 / front_end.sample_rate
    return {
        "sample_rate": front_end.sample_rate,
        "n_fft": front_end.n_fft,
        "hop_length_ms": front_end.hop_length * to_ms,
        "win_length_ms": front_end.n_fft * to_ms,
        "n_mels": front_end.n_mels,
    }


class ClapSTFTDomain(WaveformSTFTDomain):
    """Mask domain on log(1 + |X|) for a CLAP, whose input is the decoded waveform.

    The frames are those of the CLAP's front end, and `from_bands` interpolates its mel
    bands at the bins; bins outside of them, which its features ignore, get the nearest
    band. A clip that is shorter than the CLAP's window is repeated after masking, so
    the mask is repeated, too.

    Arguments
    ---------
    clap : HuggingFaceClap or MicrosoftClap
        Only the sizes of its front end are used.

    Shape
    -----
    ``encode``: (B, N) to a representation (B, T, F), T = N // hop + 1.
    ``features``: (B, T, F) to (B, N).
    """

    def __init__(self, clap: HasFrontEnd) -> None:
        super().__init__(**stft_of(clap))
        front_end = clap.front_end
        self.from_bands = SlaneyToBins(
            front_end.sample_rate,
            front_end.n_fft,
            front_end.n_mels,
            front_end.low_hz,
            front_end.high_hz,
        )


class ClapMelDomain(MelDomain):
    """Mask domain on log(1 + |mel|) on the frames of the clip; not listenable.

    |mel| is the root of the power in the CLAP's mel bands, as its front end computes
    it. The masked spectrogram fills the CLAP's window as the audio would (repeated,
    cut) and is converted to dB. A mask of zeros gives silence, -100 dB; a mask of ones
    the CLAP's own input, except for seams and some repetitions. At a seam, where a
    repetition begins or a long clip is cut, frames of audio overlap both sides. A
    repetition consists of frames of the clip; if the clip's length is not a multiple of
    the hop, they are up to half a hop away from those of the repeated audio.

    Arguments
    ---------
    clap : HuggingFaceClap or MicrosoftClap
        Its front end is used; the classifier wraps it in `MelClap`.

    Shape
    -----
    ``encode``: (B, N) to a representation (B, T, n_mels), T = N // hop + 1.
    ``features``: to (B, W, n_mels), dB, with the W frames of the CLAP's window.
    """

    def __init__(self, clap: HasFrontEnd) -> None:
        super().__init__(**stft_of(clap))
        self.front_end = clap.front_end

    def encode(self, wav: torch.Tensor, lens: torch.Tensor | None = None) -> Encoded:
        """Encode waveforms (B, N), with rep (B, T, n_mels).

        `lens` (B,) are relative lengths: a padded clip has the rep of the unpadded
        clip, followed by zeros.
        """
        check_wav(wav)
        n_samples = wav.shape[1]
        if lens is not None:
            check_lens(lens, len(wav))
            frames = self.frames_of(lens, n_samples)
            lengths = recorded_samples(lens, n_samples).clamp(min=1).tolist()
            parts = [
                self.encode(w[None, :n]).rep for w, n in zip(wav, lengths, strict=True)
            ]
            rep = join_recordings(parts, n_samples // self.hop_length + 1)
            return Encoded(rep, None, n_samples, frames, frames, wav=wav, lens=lens)
        with torch.autocast(wav.device.type, enabled=False):
            window = wav.float()
            if n_samples < self.front_end.n_samples:
                window = self.front_end.filled(window)
            power = self.front_end.mel_power(window)
            power = power[:, : n_samples // self.hop_length + 1]
            rep = self.compress((power + POWER_FLOOR).sqrt()).float()
        return Encoded(rep, None, n_samples, wav=wav)

    def features(self, encoded: Encoded) -> torch.Tensor:
        """Return the CLAP's input (B, W, n_mels), dB, one window for each clip."""
        with torch.autocast(encoded.rep.device.type, enabled=False):
            magnitude = self.magnitude(encoded)
            if encoded.lens is None:
                window = self.front_end.folded(magnitude, encoded.length)
            else:
                lengths = recorded_samples(encoded.lens, encoded.length).clamp(min=1)
                lengths = lengths.expand(len(magnitude))
                window = torch.cat(
                    [
                        self.front_end.folded(part[None, : n // self.hop_length + 1], n)
                        for part, n in zip(magnitude, lengths.tolist(), strict=True)
                    ]
                )
            return decibels(window.square())

    def feature_lengths(self, encoded: Encoded) -> None:
        """Return None, not lengths (B,): the window has no padding."""
        return None
