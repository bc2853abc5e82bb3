"""Decoders conditioned on a text prompt.

The condition is the embedding of a prompt in the joint audio-text space. It modulates
the hidden maps at every scale before any decoder: by FiLM, which scales channels, or by
cross-attention from every cell to the prompt. At initialisation neither changes the
mask of the decoder.

The decoders use per-item instead of batch normalisation: a training step scores all
pairs of clips and prompts in chunks, and no pair may depend on the others in its chunk.
"""

import math
from collections.abc import Sequence

import torch

from speechbrain_lmac.interpreters.conditioned import FiLMInterpreter
from speechbrain_lmac.types import Encoded
from speechbrain_lmac.utils.errors import InputError


def replace_batch_norms(decoder: torch.nn.Module) -> torch.nn.Module:
    """Replace the batch norms of a decoder by group norms with one group, in place.

    Mean and variance are those of all channels, frames and bands of one item. The
    relative levels of the channels are preserved, and training and inference compute
    the same function.

    Example
    -------
    >>> decoder = torch.nn.Sequential(torch.nn.BatchNorm2d(4))
    >>> replace_batch_norms(decoder)
    Sequential(
      (0): GroupNorm(1, 4, eps=1e-05, affine=True)
    )
    """
    for module in decoder.modules():
        for name, child in module.named_children():
            if isinstance(child, torch.nn.BatchNorm2d):
                setattr(module, name, torch.nn.GroupNorm(1, child.num_features))
    return decoder


def unit_variance(text: torch.Tensor) -> torch.Tensor:
    """Scale embeddings (B, D) of unit norm by sqrt(D), to unit mean square.

    Example
    -------
    >>> unit_variance(torch.tensor([[0.5, 0.5, 0.5, 0.5]]))
    tensor([[1., 1., 1., 1.]])
    """
    return text * math.sqrt(text.shape[1])


class TextFiLMInterpreter(torch.nn.Module):
    """A decoder whose hidden maps are modulated by a prompt, at every scale.

    Arguments
    ---------
    decoder : Interpreter
        For example `ConvInterpreter`. Changed by `replace_batch_norms`.
    hidden_channels : sequence of int
        Channels of the audio tower's hidden maps, the shallowest first.
    text_dim : int
        Dimension D of the prompt embeddings.
    """

    def __init__(
        self, decoder: torch.nn.Module, hidden_channels: Sequence[int], text_dim: int
    ) -> None:
        super().__init__()
        self.interpreter = FiLMInterpreter(
            replace_batch_norms(decoder), hidden_channels, text_dim
        )

    def forward(
        self,
        hidden: tuple[torch.Tensor, ...],
        encoded: Encoded,
        condition: torch.Tensor,
    ) -> torch.Tensor:
        """Decode modulated hidden maps into a mask for each item's prompt.

        Arguments
        ---------
        hidden : tuple of torch.Tensor
            Maps (B, C', T', F') of the audio tower, the shallowest first.
        encoded : Encoded
            With `rep` (B, T, F).
        condition : torch.Tensor
            Prompt embeddings (B, D) of unit norm.

        Returns
        -------
        mask : torch.Tensor
            Shape (B, T, F), in 0..1.
        """
        return self.interpreter(hidden, encoded, unit_variance(condition))


class TextAttention(torch.nn.Module):
    """Cross-attention from the cells of a map to a prompt.

    h + U sum_k a_k v_k with a = softmax_k(q(h) . k_k / sqrt(d)): the query q is linear
    in the cell, the K keys k and values v are linear in the embedding of the prompt,
    and U is initialised to 0. With a single key per prompt the attention weight would
    be 1 in every cell, and all cells would get the same value. With K >= 2 keys the
    weights depend on the cell.

    Arguments
    ---------
    text_dim : int
        Dimension D of the prompt embeddings.
    channels : int
        Number of channels C of the maps.
    n_tokens : int
        Number of keys K, at least 2.
    width : int
        Dimension d of queries, keys and values.

    Raises
    ------
    InputError
        When `n_tokens` is below 2.
    """

    def __init__(self, text_dim: int, channels: int, n_tokens: int, width: int) -> None:
        super().__init__()
        if n_tokens < 2:
            raise InputError(
                f"n_tokens must be at least 2, got {n_tokens}: attention to one token "
                "is the same in every cell"
            )
        self.query = torch.nn.Conv2d(channels, width, 1)
        self.keys = torch.nn.Linear(text_dim, n_tokens * width)
        self.values = torch.nn.Linear(text_dim, n_tokens * width)
        self.output = torch.nn.Conv2d(width, channels, 1, bias=False)
        torch.nn.init.zeros_(self.output.weight)
        self.n_tokens = n_tokens
        self.width = width

    def weights(self, maps: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Return the attention weights of each cell, (B, K, T, F), summing to 1 over K.

        Arguments as for `forward`.
        """
        keys = self.keys(text).unflatten(1, (self.n_tokens, self.width))
        scores = torch.einsum("bdtf,bkd->bktf", self.query(maps), keys)
        return (scores / math.sqrt(self.width)).softmax(1)

    def forward(self, maps: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Apply attention to maps (B, C, T, F) for embeddings (B, D); same shape."""
        values = self.values(text).unflatten(1, (self.n_tokens, self.width))
        attended = torch.einsum("bktf,bkd->bdtf", self.weights(maps, text), values)
        return maps + self.output(attended)


class TextAttentionInterpreter(torch.nn.Module):
    """A decoder whose hidden maps attend to a prompt, at every scale.

    Arguments
    ---------
    decoder, hidden_channels, text_dim
        As `TextFiLMInterpreter`.
    n_tokens, width
        As `TextAttention`.
    """

    def __init__(
        self,
        decoder: torch.nn.Module,
        hidden_channels: Sequence[int],
        text_dim: int,
        n_tokens: int = 4,
        width: int = 16,
    ) -> None:
        super().__init__()
        self.decoder = replace_batch_norms(decoder)
        self.attentions = torch.nn.ModuleList(
            TextAttention(text_dim, channels, n_tokens, width)
            for channels in hidden_channels
        )

    def forward(
        self,
        hidden: tuple[torch.Tensor, ...],
        encoded: Encoded,
        condition: torch.Tensor,
    ) -> torch.Tensor:
        """Decode hidden maps, after attention, into a mask for each item's prompt.

        Arguments
        ---------
        hidden, encoded, condition
            As `TextFiLMInterpreter.forward`: maps (B, C', T', F'), `rep` (B, T, F) and
            embeddings (B, D) of unit norm.

        Returns
        -------
        mask : torch.Tensor
            Shape (B, T, F), in 0..1.
        """
        text = unit_variance(condition)
        attended = tuple(
            attention(maps, text)
            for attention, maps in zip(self.attentions, hidden, strict=True)
        )
        return self.decoder(attended, encoded)
