"""Transformer blocks of SepFormer, with memory-efficient attention."""

import math
from collections.abc import Callable

import torch
from torch.utils.checkpoint import checkpoint

from speechbrain_lmac.utils.errors import check_counts
from speechbrain_lmac.utils.system import give_back_memory


def positions(length: int, width: int, like: torch.Tensor) -> torch.Tensor:
    """Return positional encodings (length, width) (Vaswani et al. 2017).

    sin(t / 10000^(c / width)) in even channels c, cos of the same angle in c + 1.

    Arguments
    ---------
    length : int
        Number of steps t.
    width : int
        Number of channels, even.
    like : torch.Tensor
        Any tensor with the device and dtype of the result.

    Returns
    -------
    encodings : torch.Tensor
        Shape (length, width).

    Example
    -------
    >>> positions(2, 2, torch.empty(0))
    tensor([[0.0000, 1.0000],
            [0.8415, 0.5403]])
    """
    step = torch.arange(length, device=like.device, dtype=torch.float32)[:, None]
    even = torch.arange(0, width, 2, device=like.device, dtype=torch.float32)
    angles = step * torch.exp(even * (-math.log(10000.0) / width))
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1).to(like.dtype)


Layer = Callable[[torch.Tensor], torch.Tensor]  # on sequences (B, L, width)


class TransformerBlock(torch.nn.Module):
    """Pre-norm layers of self-attention and feed-forward, without dropout.

    As `speechbrain.lobes.models.dual_path.SBTransformerBlock` with `norm_before` and
    positional encodings, with two differences: attention is PyTorch's
    scaled_dot_product_attention, which does not have to store the (L, L) weights of
    every head, and sequences may have any length L.

    Arguments
    ---------
    n_layers : int
        Number of layers, at least 1.
    width : int
        Number of channels, even and a multiple of `n_heads`.
    n_heads : int
        Number of attention heads.
    n_hidden : int
        Hidden channels of the feed-forward network.
    """

    def __init__(
        self, n_layers: int, width: int, n_heads: int = 8, n_hidden: int = 256
    ) -> None:
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
        """Transform sequences (B, L, width); same shape."""
        x = x + positions(x.shape[1], x.shape[2], like=x)
        for layer in self.layers[:-1]:
            x = self.run(layer, x)
        return self.run(self._last_layer_and_norm, x)

    def run(self, layer: Layer, x: torch.Tensor) -> torch.Tensor:
        """Apply one layer, the last one with the norm, to a sequence (B, L, width)."""
        return layer(x)

    def _last_layer_and_norm(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.layers[-1](x))


class CheckpointedTransformerBlock(TransformerBlock):
    """A `TransformerBlock` with gradient checkpointing: less memory in training.

    The backward pass recomputes each layer from its input, so activations inside a
    layer are not stored. On a CPU, unused memory is returned to the system before each
    layer, see `system.give_back_memory`.
    """

    def run(self, layer: Layer, x: torch.Tensor) -> torch.Tensor:
        """Apply one layer to sequences (B, L, width), storing only its input."""
        if not torch.is_grad_enabled():
            return layer(x)
        return checkpoint(_run_after_release, layer, x, use_reentrant=False)


def _run_after_release(layer: Layer, x: torch.Tensor) -> torch.Tensor:
    """Release unused memory (on a CPU), then apply a layer to (B, L, width)."""
    if x.device.type == "cpu":
        give_back_memory()
    return layer(x)
