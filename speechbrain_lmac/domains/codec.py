"""A learned codec: waveforms to channels over time, and back.

The encoder and the decoder of SepFormer (Subakan et al. 2021, arXiv 2010.13154), as in
LMAC-TD (arXiv 2409.08655). They are initialised as inverses of each other, exact up to
rounding with at least 2 * kernel_size channels; with fewer, `train_codec.py` trains
them to approximate that.
"""

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from speechbrain.lobes.models.dual_path import Decoder, Encoder

from speechbrain_lmac.hub.weights import fetch, load_weights, save_weights
from speechbrain_lmac.utils.distributed import one_process_only
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import write_text
from speechbrain_lmac.utils.seeding import generator

WEIGHTS_FILE = "codec.ckpt"
SETTING_FILE = "codec.json"
ADVICE = """\
  Train a codec (python recipes/train_codec.py hparams/NAME_codec.yaml) and set
  --codec_source to its output (results/NAME_codec/SEED/codec), or set it to a folder
  with {filename} or to a hub id."""


class Codec(torch.nn.Module):
    """SepFormer's encoder and decoder, for waveforms of any length.

    Encoder: Conv1d from 1 to C channels, no bias, ReLU; the stride is half the kernel.
    Decoder: the transposed convolution back. The clip is padded with one stride of
    zeros before and at least one after, so every sample is in two frames, and frame t
    is centred on sample t * stride. (Without padding, as published, the first and last
    stride of samples are in only one frame, and the end is lost if the length does not
    fit; 5 s at 16 kHz have 9,999 frames of 16 samples there and 10,001 here.)

    The filters are initialised as pairs w and -w, so that relu(w . x) - relu(-w . x) =
    w . x. The first kernel_size of the w are cosines, the others random, under a sine
    window; the decoder is their least-squares inverse under the same window, whose
    squares sum to 1 over two frames. With at least 2 * kernel_size channels decoding is
    exact up to rounding.

    Arguments
    ---------
    sample_rate : int
        Sample rate of the waveforms, Hz.
    kernel_size : int
        Samples per frame, even. Published: 16.
    n_channels : int
        Number of channels C, even. Published: 256.

    Shape
    -----
    ``encode``: (B, N) to (B, T, C), not negative, T = ceil(N / stride) + 1.
    ``decode``: (B, T, C) and N to (B, N), for any N >= 1.

    Example
    -------
    >>> codec = Codec(sample_rate=16000, kernel_size=16, n_channels=256)
    >>> wav = torch.randn(2, 1001)
    >>> codec.encode(wav).shape
    torch.Size([2, 127, 256])
    >>> (codec.decode(codec.encode(wav), 1001) - wav).abs().max().item() < 1e-5
    True
    """

    def __init__(
        self, sample_rate: int, kernel_size: int = 16, n_channels: int = 256
    ) -> None:
        super().__init__()
        if kernel_size < 2 or kernel_size % 2 or n_channels < 2 or n_channels % 2:
            raise InputError(
                "kernel_size and n_channels of a codec must be even and at least 2, "
                f"got {kernel_size} and {n_channels}"
            )
        self.sample_rate = sample_rate
        self.kernel_size = kernel_size
        self.stride = kernel_size // 2
        self.n_channels = n_channels
        self.encoder = Encoder(kernel_size, n_channels)
        self.decoder = Decoder(
            in_channels=n_channels,
            out_channels=1,
            kernel_size=kernel_size,
            stride=self.stride,
            bias=False,
        )
        encoding, decoding = inverse_pairs(kernel_size, n_channels)
        with torch.no_grad():
            self.encoder.conv1d.weight.copy_(encoding[:, None])
            self.decoder.weight.copy_(decoding[:, None])

    @property
    def setting(self) -> dict[str, int]:
        """Settings that the weights depend on."""
        return {
            "sample_rate": self.sample_rate,
            "kernel_size": self.kernel_size,
            "stride": self.stride,
            "n_channels": self.n_channels,
        }

    def encode(self, wav: torch.Tensor) -> torch.Tensor:
        """Return the channels (B, T, C) of waveforms (B, N)."""
        frames = -(-wav.shape[1] // self.stride) + 1
        after = frames * self.stride - wav.shape[1]
        return self.encoder(F.pad(wav, (self.stride, after))).transpose(1, 2)

    def decode(self, rep: torch.Tensor, length: int) -> torch.Tensor:
        """Return the waveforms (B, length) of channels (B, T, C)."""
        wav = self.decoder(rep.transpose(1, 2))
        return wav[:, self.stride : self.stride + length]


def inverse_pairs(
    kernel_size: int, n_channels: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return filters in pairs w, -w, and their inverse at 50 % overlap.

    Arguments
    ---------
    kernel_size, n_channels : int
        K and C, both even.

    Returns
    -------
    encoding, decoding : torch.Tensor
        Shape (C, K). w and -w are adjacent.

    Example
    -------
    >>> encoding, decoding = inverse_pairs(4, 8)
    >>> x = torch.tensor([0.3, -0.1, 0.2, 0.5])
    >>> window = torch.sin(torch.pi * (torch.arange(4) + 0.5) / 4) ** 2
    >>> torch.allclose((encoding @ x).relu() @ decoding, window * x, atol=1e-6)
    True
    """
    n_pairs = n_channels // 2
    time = torch.arange(kernel_size, dtype=torch.float64) + 0.5
    rate = torch.arange(min(n_pairs, kernel_size), dtype=torch.float64)[:, None]
    cosines = torch.cos(math.pi / kernel_size * rate * time)
    more = torch.randn(
        max(n_pairs - kernel_size, 0),
        kernel_size,
        generator=generator("codec", kernel_size, n_channels),
        dtype=torch.float64,
    )
    basis = F.normalize(torch.cat([cosines, more]), dim=1)
    window = torch.sin(math.pi * time / kernel_size)
    inverse = torch.linalg.pinv(basis).T
    encoding, decoding = (
        window * torch.stack([b, -b], 1).flatten(0, 1) for b in (basis, inverse)
    )
    return encoding.float(), decoding.float()


def save_codec(codec: Codec, folder: Path | str) -> None:
    """Write weights and settings into a folder, each file atomically."""
    folder = Path(folder)
    save_weights(codec, folder / WEIGHTS_FILE)
    write_text(json.dumps(codec.setting, indent=2) + "\n", folder / SETTING_FILE)


def pretrained_codec(codec: Codec, source: str) -> Codec:
    """Return the codec with the weights of train_codec.py, trainable. For YAML.

    Arguments
    ---------
    codec : Codec
        Its weights are replaced.
    source : str
        A folder written by train_codec.py, or a hub id ("user/name").

    Raises
    ------
    InputError
        When a file is missing or unreadable, or the codec has other settings.
    """
    path = fetch(source, SETTING_FILE, ADVICE)
    try:
        setting = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(
            f"{path} is not readable as JSON: {error}. Download it again, or train a "
            "codec (python recipes/train_codec.py hparams/NAME_codec.yaml)"
        ) from error
    if setting != codec.setting:
        raise InputError(
            f"the codec in {source} has {setting}, the YAML has {codec.setting}: "
            "make them equal, or train a codec (train_codec.py)"
        )
    load_weights(codec, fetch(source, WEIGHTS_FILE, ADVICE))
    return codec


def frozen_codec(codec: Codec, source: str) -> Codec:
    """Return the codec of `pretrained_codec`, without gradients. For YAML."""
    return pretrained_codec(codec, source).requires_grad_(False)


def is_trainable(codec: Codec) -> bool:
    """Return whether any weight of the codec is trainable."""
    return any(weight.requires_grad for weight in codec.parameters())


def check_one_process(codec: Codec) -> None:
    """Raise if a codec is trained in several processes.

    Only the gradients of the interpreter are averaged over processes, and the codec is
    not a part of it.
    """
    if is_trainable(codec):
        frozen = ", or freeze the codec (frozen_codec in the YAML)"
        one_process_only("a codec", frozen)


def check_codec_of(codec: Codec, checkpoint: Path | str) -> None:
    """Raise InputError unless an interpreter was trained with this codec.

    Arguments
    ---------
    codec : Codec
        The codec of the YAML, loaded.
    checkpoint : str or Path
        `interpreter.ckpt`; the codec trained with it is in the folder `codec`
        beside it. Without that folder nothing is checked.
    """
    beside = Path(checkpoint).parent / "codec"
    if not (beside / WEIGHTS_FILE).is_file():
        return
    ours, theirs = codec.state_dict(), Codec(**_arguments(codec))
    load_weights(theirs, beside / WEIGHTS_FILE)
    if any(not torch.equal(ours[n].cpu(), v) for n, v in theirs.state_dict().items()):
        raise InputError(
            f"{checkpoint} was trained with the codec beside it, but the YAML loads "
            f"another: add --codec_source={beside}"
        )


def _arguments(codec: Codec) -> dict[str, int]:
    return {name: v for name, v in codec.setting.items() if name != "stride"}
