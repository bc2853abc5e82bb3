"""A small CNN on the log-mel front end, which trains on a laptop CPU."""

import torch
import torch.nn.functional as F

from speechbrain_lmac.masks import pad_frames
from speechbrain_lmac.types import ClassifierOutput


class CompactClassifier(torch.nn.Module):
    """Blocks of 3x3 convolution, batch norm, ReLU and 2x2 average pooling.

    The frequencies are averaged, then maximum and mean over time are added, as in
    CNN14 (PANNs, arXiv 1912.10211), of which this is a small relative.

    Arguments
    ---------
    n_classes : int
        Number of classes C.
    n_mels : int
        Mel bins of the input.
    channels : list
        Channels of each block. Each block halves time and frequency.
    dropout : float
        Before the linear layer, while it is trained.

    Shape
    -----
    features (B, T, n_mels) to logits (B, C) and one hidden map
    (B, channels[i], T // 2^(i+1), n_mels // 2^(i+1)) for each block, the
    shallowest first. Inputs shorter than 2^len(channels) frames are padded with
    silence.

    Example
    -------
    >>> model = CompactClassifier(n_classes=10, n_mels=80, channels=[8, 16])
    >>> output = model.eval()(torch.rand(3, 431, 80))
    >>> output.logits.shape, [tuple(h.shape[1:]) for h in output.hidden]
    (torch.Size([3, 10]), [(8, 215, 40), (16, 107, 20)])
    """

    CHECKPOINTS = {"model.ckpt": ""}

    def __init__(self, n_classes, n_mels=80, channels=(24, 48, 96, 160), dropout=0.3):
        super().__init__()
        self.n_classes = n_classes
        self.min_frames = 2 ** len(channels)
        self.norm = torch.nn.BatchNorm1d(n_mels)
        self.blocks = torch.nn.ModuleList(
            torch.nn.Sequential(
                torch.nn.Conv2d(c_in, c_out, 3, padding=1, bias=False),
                torch.nn.BatchNorm2d(c_out),
                torch.nn.ReLU(),
                torch.nn.AvgPool2d(2),
            )
            for c_in, c_out in zip([1, *channels[:-1]], channels, strict=True)
        )
        self.dropout = dropout
        self.linear = torch.nn.Linear(channels[-1], n_classes)

    def forward(self, features):
        features = pad_frames(features, self.min_frames)
        maps = self.norm(features.transpose(1, 2)).transpose(1, 2)[:, None]
        hidden = []
        for block in self.blocks:
            maps = block(maps)
            hidden.append(maps)
        over_time = maps.mean(3)
        pooled = over_time.amax(2) + over_time.mean(2)
        pooled = F.dropout(pooled, self.dropout, self.training)
        return ClassifierOutput(self.linear(pooled).float(), tuple(hidden))
