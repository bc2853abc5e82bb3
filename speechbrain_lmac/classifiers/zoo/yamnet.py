"""YAMNet: scores of 521 sound tags of AudioSet, several of which may be true at once.

MobileNet v1 (Howard et al. 2017, arXiv 1704.04861) on log mel patches of 0.96 s, as in
models/research/audioset/yamnet of TensorFlow (Plakal and Ellis). The weights are
Google's (Apache-2.0) and have to be there: a file of safetensors with the batch norms
folded into the convolutions.
"""

import csv
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F

from speechbrain_lmac.classifiers.front_ends import kaldi_mel_matrix
from speechbrain_lmac.dsp.audio import resample
from speechbrain_lmac.hub.weights import fetch, load_weights
from speechbrain_lmac.utils.errors import InputError, check_counts

SAMPLE_RATE = 16000  # Hz
FRAME_LENGTH, HOP_LENGTH, N_FFT = 400, 160, 512  # samples: 25 and 10 ms
N_MELS, LOW_HZ, HIGH_HZ = 64, 125.0, 7500.0
LOG_OFFSET = 0.001  # added to the bands before the logarithm
PATCH_FRAMES, PATCH_HOP = 96, 48  # frames: 0.96 and 0.48 s
# Samples of the frames of one patch, and from one patch to the next.
PATCH_LENGTH = (PATCH_FRAMES - 1) * HOP_LENGTH + FRAME_LENGTH
PATCH_HOP_LENGTH = PATCH_HOP * HOP_LENGTH
# Channels of MobileNet v1 before and after each depthwise separable layer, and the
# layers that halve time and frequency, counted from 0.
CHANNELS = (32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)
HALVING = (1, 3, 5, 11)

WEIGHTS_FILE, TAGS_FILE = "yamnet.safetensors", "yamnet_class_map.csv"
ADVICE = f"""\
  A folder with Google's YAMNet is needed: {WEIGHTS_FILE} (float32, batch norms folded)
  and {TAGS_FILE} of models/research/audioset/yamnet (docs/metrics.md, second
  listener)."""


class YAMNet(torch.nn.Module):
    """The network and its features, with random weights.

    Arguments
    ---------
    tags : sequence of str
        Names of the K outputs.
    width : float
        Multiplier of all channels (MobileNet's alpha); 1 is the published network.

    Shape
    -----
    Waveforms (B, N) at 16 kHz to scores (B, P, K) of P patches, 0 to 1. A waveform is
    padded with silence to whole patches, see `patch_count`.

    Example
    -------
    >>> model = YAMNet(["Dog", "Rain"], width=0.25)
    >>> model(torch.rand(3, 80000)).shape
    torch.Size([3, 10, 2])
    """

    sample_rate = SAMPLE_RATE
    mel: torch.Tensor

    def __init__(self, tags: Sequence[str], width: float = 1.0) -> None:
        super().__init__()
        check_counts(n_tags=len(tags))
        self.tags = [str(tag) for tag in tags]
        channels = [max(1, round(width * size)) for size in CHANNELS]
        mel = kaldi_mel_matrix(SAMPLE_RATE, N_FFT, N_MELS, LOW_HZ, HIGH_HZ)
        self.register_buffer("mel", mel.T.contiguous())
        self.net = torch.nn.Sequential(*_layers(channels))
        self.fc = torch.nn.Linear(channels[-1], len(self.tags))

    def forward(self, wav: torch.Tensor) -> torch.Tensor:
        patches = log_mel_patches(wav, self.mel)
        maps = self.net(patches.flatten(0, 1)[:, None])
        return self.fc(maps.mean((2, 3))).sigmoid().unflatten(0, patches.shape[:2])

    @torch.no_grad()
    def scores(self, wav: torch.Tensor, sample_rate: int) -> torch.Tensor:
        """Return the score of each tag: its mean over the patches.

        Arguments
        ---------
        wav : torch.Tensor
            Shape (B, N), of any level, without padding.
        sample_rate : int
            Hz; waveforms of another rate than 16 kHz are resampled.

        Returns
        -------
        scores : torch.Tensor
            Shape (B, K), 0 to 1, float32.
        """
        return self(resample(wav, sample_rate, SAMPLE_RATE)).mean(1)


class TrainedYAMNet(YAMNet):
    """YAMNet with the weights and tags of a folder, in eval mode.

    Arguments
    ---------
    source : str or Path
        A folder, or a hub id ("user/name"), with `yamnet.safetensors` and
        `yamnet_class_map.csv`.

    Raises
    ------
    InputError
        When a file is missing or does not fit the network.
    """

    def __init__(self, source: Path | str) -> None:
        super().__init__(read_tags(fetch(source, TAGS_FILE, ADVICE)))
        load_weights(self, fetch(source, WEIGHTS_FILE, ADVICE))
        self.requires_grad_(False)
        self.eval()


class SameConv2d(torch.nn.Module):
    """A 2-D convolution that is padded as TensorFlow's "same".

    A side of n becomes ceil(n / stride); an odd number of zeros has one more at the
    end.

    Arguments
    ---------
    c_in, c_out : int
        Channels C and C'.
    kernel, stride : int
        Both the same for time and frequency.
    groups : int
        Number of channel groups, as in `torch.nn.Conv2d`: `c_in` for a depthwise
        convolution.

    Shape
    -----
    (B, C, T, F) to (B, C', ceil(T / stride), ceil(F / stride)).

    Example
    -------
    >>> SameConv2d(1, 4, kernel=3, stride=2)(torch.rand(1, 1, 96, 63)).shape
    torch.Size([1, 4, 48, 32])
    """

    def __init__(
        self, c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.c = torch.nn.Conv2d(c_in, c_out, kernel, stride, groups=groups)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        pads: list[int] = []
        for side in (3, 2):  # F.pad has the last axis first
            size = maps.shape[side]
            kernel, stride = self.c.kernel_size[side - 2], self.c.stride[side - 2]
            zeros = max(0, (-(-size // stride) - 1) * stride + kernel - size)
            pads += [zeros // 2, zeros - zeros // 2]
        return self.c(F.pad(maps, pads))


def _layers(channels: Sequence[int]) -> Iterator[torch.nn.Module]:
    """Yield the convolutions, each followed by a ReLU."""
    yield from (SameConv2d(1, channels[0], kernel=3, stride=2), torch.nn.ReLU())
    for index, (c_in, c_out) in enumerate(pairwise(channels)):
        stride = 2 if index in HALVING else 1
        yield SameConv2d(c_in, c_in, kernel=3, stride=stride, groups=c_in)
        yield torch.nn.ReLU()
        yield SameConv2d(c_in, c_out, kernel=1)
        yield torch.nn.ReLU()


def patch_count(n_samples: int) -> int:
    """Return how many patches cover a waveform: one, or as many as begin in it.

    Example
    -------
    >>> [patch_count(n) for n in (1, 15600, 15601, 80000)]
    [1, 1, 2, 10]
    """
    return 1 + max(0, -(-(n_samples - PATCH_LENGTH) // PATCH_HOP_LENGTH))


def log_mel_patches(wav: torch.Tensor, mel: torch.Tensor) -> torch.Tensor:
    """Return YAMNet's input: log mel spectrograms of 0.96 s, one every 0.48 s.

    log(mel |X| + 0.001) of frames of 25 ms every 10 ms with a periodic Hann window.

    Arguments
    ---------
    wav : torch.Tensor
        Shape (B, N) at 16 kHz; padded with silence to whole patches.
    mel : torch.Tensor
        Triangles (64, 257) over the bins of an FFT of 512.

    Returns
    -------
    patches : torch.Tensor
        Shape (B, P, 96, 64), P = `patch_count(N)`.
    """
    n_patches = patch_count(wav.shape[1])
    whole = PATCH_LENGTH + (n_patches - 1) * PATCH_HOP_LENGTH
    frames = F.pad(wav, (0, whole - wav.shape[1])).unfold(1, FRAME_LENGTH, HOP_LENGTH)
    window = torch.hann_window(FRAME_LENGTH, dtype=wav.dtype, device=wav.device)
    magnitude = torch.fft.rfft(frames * window, N_FFT).abs()
    log_mel = (magnitude @ mel.T + LOG_OFFSET).log()
    return log_mel.unfold(1, PATCH_FRAMES, PATCH_HOP).transpose(2, 3)


def read_tags(path: Path | str) -> list[str]:
    """Return the tags of `yamnet_class_map.csv`, in the order of the outputs.

    Raises
    ------
    InputError
        When the file is unreadable or has no column `display_name`.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return [row["display_name"] for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, KeyError, csv.Error) as error:
        raise InputError(
            f"cannot read tags from {path} ({type(error).__name__}): a table with the "
            "column display_name is needed"
        ) from error
