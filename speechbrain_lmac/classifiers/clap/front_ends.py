"""What the big CLAPs do to a waveform before their network: fill, cut, mel, dB.

A CLAP hears a window of fixed length. Which sample of the clip is heard at which place
of the window is a function of its own, so that whatever lies on the clip's frames (a
masked mel spectrogram) is laid out exactly as the waveform is.
"""

import functools
import logging

import torch

from speechbrain_lmac.dsp.mel import decibels, slaney_mel_matrix

logger = logging.getLogger(__name__)

SILENCE = -1  # a place of the window at which no sample of the clip is heard


def repeated(places: torch.Tensor, n_samples: int, length: int) -> torch.Tensor:
    """Short clips are repeated until the window is full, and cut there.

    What Microsoft's CLAP does. Of a longer clip the beginning is heard (theirs: a
    random part).

    Arguments
    ---------
    places : torch.Tensor
        Samples of the window, from 0, int64.
    n_samples : int
        N, of the clip.
    length : int
        Of the window, in samples.

    Returns
    -------
    samples : torch.Tensor
        The sample of the clip that is heard at each place, or `SILENCE`.

    Example
    -------
    >>> repeated(torch.arange(8), 3, 8)
    tensor([0, 1, 2, 0, 1, 2, 0, 1])
    """
    return places % n_samples


def repeated_whole(places: torch.Tensor, n_samples: int, length: int) -> torch.Tensor:
    """Short clips are repeated as often as they fit; silence follows.

    What transformers calls "repeatpad". Arguments and returns are those of `repeated`.

    Example
    -------
    >>> repeated_whole(torch.arange(8), 3, 8)
    tensor([ 0,  1,  2,  0,  1,  2, -1, -1])
    """
    times = max(1, length // n_samples)
    return (places % n_samples).masked_fill(places >= times * n_samples, SILENCE)


def followed_by_silence(
    places: torch.Tensor, n_samples: int, length: int
) -> torch.Tensor:
    """Silence follows a short clip. Arguments and returns are those of `repeated`.

    Example
    -------
    >>> followed_by_silence(torch.arange(5), 3, 5)
    tensor([ 0,  1,  2, -1, -1])
    """
    return places.masked_fill(places >= n_samples, SILENCE)


class ClapSpectrogram(torch.nn.Module):
    """Waveforms of any length to the mel spectrogram in dB that a CLAP takes.

    The window is filled (`fill`), then: STFT (Hann, centred, reflected at the edges),
    power, Slaney's mel filters of equal area, 10 log10(max(power, 1e-10)). No other
    clip, no random number has a part in it; of clips that are longer than the window,
    the beginning is heard.

    Arguments
    ---------
    sample_rate : int
        Hz.
    n_fft, hop_length : int
        Samples; the Hann window has n_fft.
    n_samples : int
        Length of the window, L.
    n_mels : int
        Mel bands.
    low_hz, high_hz : float
        Where they begin and end.
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

    def __init__(
        self,
        sample_rate: int,
        n_fft: int,
        hop_length: int,
        n_samples: int,
        n_mels: int,
        low_hz: float,
        high_hz: float,
        fill,
    ):
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
                "this CLAP hears waveforms (batch, samples), got the shape "
                f"{tuple(wav.shape)}: it needs ClapSTFTDomain, or MelClap around it "
                "for ClapMelDomain"
            )
        with torch.autocast(wav.device.type, enabled=False):
            return decibels(self.mel_power(self.filled(wav.float()))).float()

    def filled(self, wav: torch.Tensor) -> torch.Tensor:
        """Waveforms (B, N) to the window (B, L) that is heard."""
        if wav.shape[1] > self.n_samples:
            warn_of_rest(self.n_samples / self.sample_rate)
        places = torch.arange(self.n_samples, device=wav.device)
        return taken(wav, self.fill(places, wav.shape[1], self.n_samples))

    def mel_power(self, wav: torch.Tensor) -> torch.Tensor:
        """Power in the mel bands, of waveforms (B, N) to (B, N // hop + 1, n_mels).

        In float64: a band far below the loudest of its frame, or a frame of which the
        window's very end is heard, would be lost in the rounding of float32.
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
        """Maps on the frames of a clip, laid out in the window as its samples are.

        Frame j of the window stands at its sample j hop; it has what the clip has at
        the frame that is nearest to the sample which is heard there.

        Arguments
        ---------
        maps : torch.Tensor
            Shape (B, T, F), T = N // hop_length + 1, 0 for silence.
        n_samples : int
            N.

        Returns
        -------
        maps : torch.Tensor
            Shape (B, W, F).
        """
        places = torch.arange(self.n_frames, device=maps.device) * self.hop_length
        places = places.clamp(max=self.n_samples - 1)
        samples = self.fill(places, n_samples, self.n_samples)
        frames = (samples + self.hop_length // 2) // self.hop_length
        frames = frames.clamp(max=maps.shape[1] - 1)
        return taken(maps, frames.masked_fill(samples == SILENCE, SILENCE))


def taken(values: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Values (B, N, ...) at some indices of their second axis; 0 at `SILENCE`.

    Example
    -------
    >>> taken(torch.tensor([[7.0, 8.0]]), torch.tensor([1, -1, 0]))
    tensor([[8., 0., 7.]])
    """
    heard = indices != SILENCE
    heard = heard.view(-1, *[1] * (values.dim() - 2))
    return values.index_select(1, indices.clamp(min=0)) * heard


@functools.cache  # once is enough
def warn_of_rest(seconds: float) -> None:
    """Say that clips are longer than what is heard."""
    logger.warning("this CLAP hears the first %g s of a clip, not the rest", seconds)
