"""A small 1-D CNN on the raw waveform: an example of a user's own model."""

from collections.abc import Sequence
from itertools import pairwise

import torch


class Conv1dNet(torch.nn.Module):
    """Strided 1-D convolutions with batch norm and ReLU, pooling and a linear layer.

    A plain module, independent of this package: an example of a user's own model for
    `WaveformClassifier`.

    Arguments
    ---------
    n_classes : int
        Number of classes C.
    channels, kernels, strides : list
        One value per convolution; kernels are odd, with padding of half a kernel.

    Shape
    -----
    (B, N) to logits (B, C). The output of block i is (B, channels[i], T'), step j at
    sample j times the product of the strides of blocks 0 to i.

    Example
    -------
    >>> Conv1dNet(6, [8, 8], [81, 9], [8, 4]).eval()(torch.rand(2, 16000)).shape
    torch.Size([2, 6])
    """

    def __init__(
        self,
        n_classes: int,
        channels: Sequence[int],
        kernels: Sequence[int],
        strides: Sequence[int],
    ) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList(
            torch.nn.Sequential(
                torch.nn.Conv1d(
                    *sizes, kernel, stride=stride, padding=kernel // 2, bias=False
                ),
                torch.nn.BatchNorm1d(sizes[1]),
                torch.nn.ReLU(),
            )
            for sizes, kernel, stride in zip(
                pairwise([1, *channels]), kernels, strides, strict=True
            )
        )
        self.linear = torch.nn.Linear(channels[-1], n_classes)

    def forward(self, wav: torch.Tensor) -> torch.Tensor:
        maps = wav[:, None]
        for block in self.blocks:
            maps = block(maps)
        return self.linear(maps.amax(2) + maps.mean(2))
