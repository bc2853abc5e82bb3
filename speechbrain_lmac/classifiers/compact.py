"""A small CNN on log-mel features, which trains on a laptop CPU."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F

from speechbrain_lmac.classifiers.checkpoint import save_classifier
from speechbrain_lmac.classifiers.padding import pool_over_time, zero_layer_padding
from speechbrain_lmac.dsp.pad_crop import pad_frames, zero_after
from speechbrain_lmac.types import CamBlocks, ClassifierOutput
from speechbrain_lmac.utils.errors import InputError


class CompactClassifier(torch.nn.Module):
    """Blocks of 3x3 convolution, batch norm and ReLU; each halves the resolution.

    The first block halves time and frequency by its stride, the others by average
    pooling before the convolution, which saves computation. At the end the output is
    averaged over frequency, then maximum and mean over time are added, as in CNN14
    (PANNs, arXiv 1912.10211).

    Arguments
    ---------
    n_classes : int
        Number of classes C.
    n_mels : int
        Mel bins of the input.
    channels : list
        Channels of each block.
    dropout : float
        Dropout probability before the linear layer, 0 to 1.

    Shape
    -----
    features (B, T, n_mels) to logits (B, C) and one hidden map
    (B, channels[i], T', F') for each block, the shallowest first: T' is about
    T / 2^(i+1), and step j is at frame j 2^(i+1). Inputs shorter than
    2^len(channels) frames are padded with silence. With `lengths` (B,), int64, later
    frames have no influence on the logits, and hidden maps are 0 there.

    Raises
    ------
    InputError
        When `channels` is empty.

    Example
    -------
    >>> model = CompactClassifier(n_classes=10, n_mels=80, channels=[8, 16])
    >>> output = model.eval()(torch.rand(3, 431, 80))
    >>> output.logits.shape, [tuple(h.shape[1:]) for h in output.hidden]
    (torch.Size([3, 10]), [(8, 216, 40), (16, 108, 20)])
    """

    CHECKPOINTS = {"model.ckpt": ""}
    save = save_classifier
    masks_padding = True

    def __init__(
        self,
        n_classes: int,
        n_mels: int = 80,
        channels: Sequence[int] = (16, 32, 64, 128, 192),
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        if not channels:
            raise InputError(f"channels must have at least one width, got {channels!r}")
        self.n_classes = n_classes
        self.n_mels = n_mels
        self.hidden_channels = list(channels)
        self.min_frames = 2 ** len(channels)
        self.norm = torch.nn.BatchNorm1d(n_mels)
        self.blocks = torch.nn.ModuleList(
            torch.nn.Sequential(
                torch.nn.AvgPool2d(2) if index else torch.nn.Identity(),
                torch.nn.Conv2d(
                    c_in, c_out, 3, stride=1 if index else 2, padding=1, bias=False
                ),
                torch.nn.BatchNorm2d(c_out),
                torch.nn.ReLU(),
            )
            for index, (c_in, c_out) in enumerate(pairwise([1, *channels]))
        )
        self.dropout = dropout
        self.linear = torch.nn.Linear(channels[-1], n_classes)

    @property
    def cam_layer(self) -> torch.nn.Module:
        """The layer of class activation maps: the last block."""
        return self.blocks[-1]

    @property
    def cam_stride(self) -> tuple[int, int]:
        """Frames and bands per step of that layer's map."""
        return self.min_frames, self.min_frames

    @property
    def cam_blocks(self) -> CamBlocks:
        """The blocks, with frames and bands per step of their maps."""
        return [(b, (2**n, 2**n)) for n, b in enumerate(self.blocks, start=1)]

    def forward(
        self, features: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> ClassifierOutput:
        if lengths is not None:
            features = zero_after(features, lengths)
            lengths = lengths.clamp(min=self.min_frames)
        features = pad_frames(features, self.min_frames)
        maps = self.norm(features.transpose(1, 2)).transpose(1, 2)[:, None]
        hidden = []
        for index, block in enumerate(self.blocks):
            if lengths is None:
                maps = block(maps)
            else:
                convolution = block.get_submodule("1")
                # Halved by pooling before the convolution, or by its stride.
                in_lengths, lengths = (
                    (lengths // 2, lengths // 2)
                    if index
                    else (lengths, (lengths + 1) // 2)
                )
                with zero_layer_padding(
                    [(convolution, in_lengths)], [(block, lengths)]
                ):
                    maps = block(maps)
            hidden.append(maps)
        pooled = pool_over_time(maps.mean(3), lengths)
        pooled = F.dropout(pooled, self.dropout, self.training)
        return ClassifierOutput(self.linear(pooled).float(), tuple(hidden))
