"""Front ends of the published CLAPs: window, mel spectrogram, dB.

A CLAP has a window of fixed length. A fill function maps positions in the window to
samples of the clip, so that maps on the clip's frames (masked mel spectrograms) fill
the window exactly as the waveform does.
"""

import functools
import logging
from collections.abc import Callable

import torch

from speechbrain_lmac.dsp.mel import decibels, slaney_mel_matrix

logger = logging.getLogger(__name__)

SILENCE = -1  # sample index of positions in the window after the clip

# A fill function maps positions (n,), N and L, all in samples, to sample indices (n,).
Fill = Callable[[torch.Tensor, int, int], torch.Tensor]


def repeated(positions: torch.Tensor, n_samples: int, length: int) -> torch.Tensor:
    """Repeat short clips until the window is full.

    As in Microsoft's CLAP. Longer clips are cut to their beginning (originally to a
    random part).

    Arguments
    ---------
    positions : torch.Tensor
        Positions in the window, in samples from 0, (n,) int64.
    n_samples : int
        Length of the clip, N.
    length : int
        Length of the window, in samples.

    Returns
    -------
    samples : torch.Tensor
        Index of the clip's sample at each position, or `SILENCE`, (n,) int64.

    Example
    -------
    >>> repeated(torch.arange(8), 3, 8)
    tensor([0, 1, 2, 0, 1, 2, 0, 1])
    """
    return positions % n_samples


def repeated_whole(
    positions: torch.Tensor, n_samples: int, length: int
) -> torch.Tensor:
    """Repeat short clips as often as they fit, followed by silence.

    Option "repeatpad" of transformers.

    Arguments
    ---------
    positions, n_samples, length
        As `repeated`; positions (n,).

    Returns
    -------
    samples : torch.Tensor
        As `repeated`, (n,).

    Example
    -------
    >>> repeated_whole(torch.arange(8), 3, 8)
    tensor([ 0,  1,  2,  0,  1,  2, -1, -1])
    """
    times = max(1, length // n_samples)
    return (positions % n_samples).masked_fill(positions >= times * n_samples, SILENCE)


def followed_by_silence(
    positions: torch.Tensor, n_samples: int, length: int
) -> torch.Tensor:
    """Pad short clips with silence.

    Arguments
    ---------
    positions, n_samples, length
        As `repeated`; positions (n,).

    Returns
    -------
    samples : torch.Tensor
        As `repeated`, (n,).

    Example
    -------
    >>> followed_by_silence(torch.arange(5), 3, 5)
    tensor([ 0,  1,  2, -1, -1])
    """
    return positions.masked_fill(positions >= n_samples, SILENCE)


class ClapSpectrogram(torch.nn.Module):
    """A CLAP's mel spectrogram in dB, for waveforms of any length.

    The window is filled (`fill`), then: STFT (Hann, centred, reflected at the edges),
    power, Slaney's mel filters of equal area, 10 log10(max(power, 1e-10)). Clips are
    independent, and nothing is random: clips that are longer than the window are cut to
    their beginning.

    Arguments
    ---------
    sample_rate : int
        Hz.
    n_fft, hop_length : int
        In samples; the length of the Hann window is n_fft.
    n_samples : int
        Length of the window, L, in samples.
    n_mels : int
        Number of mel bands.
    low_hz, high_hz : float
        Lower and upper edge of the mel bands, Hz.
    fill : callable
        `repeated`, `repeated_whole` or `followed_by_silence`.

    Shape
    -----
    (B, N) to (B, W, n_mels) with W = L // hop_length + 1 frames.

    Example
    -------
    >>> front_end = ClapSpectrogram(44100, 1024, 320, 220500, 64, 50.0, 14e3, repeated)
    >>> front_end(torch.rand(2, 8820)).shape
    torch.Size([2, 690, 64])
    """

    window: torch.Tensor
    mel_matrix: torch.Tensor

    def __init__(
        self,
        sample_rate: int,
        n_fft: int,
        hop_length: int,
        n_samples: int,
        n_mels: int,
        low_hz: float,
        high_hz: float,
        fill: Fill,
    ) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.n_samples = n_samples
        self.n_mels = n_mels
        self.low_hz = low_hz
        self.high_hz = high_hz
        self.fill = fill
        self.n_frames = n_samples // hop_length + 1
        window = torch.hann_window(n_fft, dtype=torch.float64)
        self.register_buffer("window", window, persistent=False)
        matrix = slaney_mel_matrix(sample_rate, n_fft, n_mels, low_hz, high_hz)
        self.register_buffer("mel_matrix", matrix, persistent=False)

    def forward(self, wav: torch.Tensor) -> torch.Tensor:
        if wav.dim() != 2:
            raise ValueError(
                "this CLAP needs waveforms (batch, samples), got the shape "
                f"{tuple(wav.shape)}: use ClapSTFTDomain, or MelClap around it for "
                "ClapMelDomain"
            )
        with torch.autocast(wav.device.type, enabled=False):
            return decibels(self.mel_power(self.filled(wav.float()))).float()

    def filled(self, wav: torch.Tensor) -> torch.Tensor:
        """Return the window (B, L) of waveforms (B, N)."""
        if wav.shape[1] > self.n_samples:
            warn_of_cut(self.n_samples / self.sample_rate)
        positions = torch.arange(self.n_samples, device=wav.device)
        return gather_or_zero(wav, self.fill(positions, wav.shape[1], self.n_samples))

    def mel_power(self, wav: torch.Tensor) -> torch.Tensor:
        """Return the mel power (B, N // hop + 1, n_mels) of waveforms (B, N).

        In float64: float32 would round off bands far below the loudest of their frame,
        and frames with signal only at the end of their window.
        """
        spectrum = torch.stft(
            wav.double(),
            self.n_fft,
            hop_length=self.hop_length,
            window=self.window,
            center=True,
            pad_mode="reflect",
            return_complex=True,
        ).transpose(1, 2)
        power = spectrum.real.square() + spectrum.imag.square()
        return power @ self.mel_matrix

    def folded(self, maps: torch.Tensor, n_samples: int) -> torch.Tensor:
        """Return maps on the frames of a clip as maps on the frames of the window.

        Frame j of the window is at its sample j hop; it gets the frame of the clip that
        is nearest to the clip's sample at that position.

        Arguments
        ---------
        maps : torch.Tensor
            Shape (B, T, F), T = N // hop_length + 1, 0 for silence.
        n_samples : int
            Length of the clip, N.

        Returns
        -------
        maps : torch.Tensor
            Shape (B, W, F).
        """
        positions = torch.arange(self.n_frames, device=maps.device) * self.hop_length
        positions = positions.clamp(max=self.n_samples - 1)
        samples = self.fill(positions, n_samples, self.n_samples)
        frames = (samples + self.hop_length // 2) // self.hop_length
        frames = frames.clamp(max=maps.shape[1] - 1)
        return gather_or_zero(maps, frames.masked_fill(samples == SILENCE, SILENCE))


def gather_or_zero(values: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Return values (B, N, ...) at indices (n,) of axis 1, (B, n, ...); 0 at `SILENCE`.

    Example
    -------
    >>> gather_or_zero(torch.tensor([[7.0, 8.0]]), torch.tensor([1, -1, 0]))
    tensor([[8., 0., 7.]])
    """
    valid = (indices != SILENCE).view(-1, *[1] * (values.dim() - 2))
    return values.index_select(1, indices.clamp(min=0)) * valid


@functools.cache  # warns once
def warn_of_cut(seconds: float) -> None:
    """Warn that clips are cut to the window."""
    logger.warning("this CLAP uses only the first %g s of a clip", seconds)
