"""The transformer blocks of SepFormer, with attention that is never written down."""

import math

import torch
from torch.utils.checkpoint import checkpoint

from speechbrain_lmac.utils.errors import check_counts
from speechbrain_lmac.utils.system import give_back_memory


def positions(length: int, width: int, like: torch.Tensor) -> torch.Tensor:
    """Sines and cosines of the places, (length, width) (Vaswani et al. 2017).

    sin(t / 10000^(c / width)) in the even channels c, cos of the same in the next.

    Example
    -------
    >>> positions(2, 2, torch.empty(0))
    tensor([[0.0000, 1.0000],
            [0.8415, 0.5403]])
    """
    place = torch.arange(length, device=like.device, dtype=torch.float32)[:, None]
    even = torch.arange(0, width, 2, device=like.device, dtype=torch.float32)
    angles = place * torch.exp(even * (-math.log(10000.0) / width))
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1).to(like.dtype)


class TransformerBlock(torch.nn.Module):
    """Layers of self-attention and feed-forward, normalised before, without dropout.

    What `speechbrain.lobes.models.dual_path.SBTransformerBlock` computes with
    `norm_before` and positions, but for two things: attention goes through PyTorch's
    scaled_dot_product_attention, which need not keep the (L, L) weights of every head,
    and sequences may be of any length.

    Arguments
    ---------
    n_layers : int
        Of attention and feed-forward each, from 1.
    width : int
        Channels, even, a multiple of `n_heads`.
    n_heads : int
        Of the attention.
    n_hidden : int
        Channels within the feed-forward.

    Shape
    -----
    (B, L, width) to the same.
    """

    def __init__(
        self, n_layers: int, width: int, n_heads: int = 8, n_hidden: int = 256
    ):
        super().__init__()
        check_counts(n_layers=n_layers)
        self.layers = torch.nn.ModuleList(
            torch.nn.TransformerEncoderLayer(
                width,
                n_heads,
                n_hidden,
                dropout=0.0,
                layer_norm_eps=1e-6,
                batch_first=True,
                norm_first=True,
            )
            for _ in range(n_layers)
        )
        self.norm = torch.nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + positions(*x.shape[1:], like=x)
        for layer in self.layers[:-1]:
            x = self.run(layer, x)
        return self.run(self._last_layer_and_norm, x)

    def run(self, layer, x: torch.Tensor) -> torch.Tensor:
        """One layer; the last together with the norm."""
        return layer(x)

    def _last_layer_and_norm(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.layers[-1](x))


class CheckpointedTransformerBlock(TransformerBlock):
    """The same with less memory in training.

    A layer is computed again for its gradient; what lies within it is not kept. On a
    CPU what the process no longer needs goes back before each, see
    `system.give_back_memory`.
    """

    def run(self, layer, x: torch.Tensor) -> torch.Tensor:
        """One layer, of which only the input is kept."""
        if not torch.is_grad_enabled():
            return layer(x)
        return checkpoint(_in_little_memory, layer, x, use_reentrant=False)


def _in_little_memory(layer, x: torch.Tensor) -> torch.Tensor:
    if x.device.type == "cpu":
        give_back_memory()
    return layer(x)
