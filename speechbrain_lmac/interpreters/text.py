"""Decoders that are told in words what to look for.

The condition is the embedding of a prompt in the space that it shares with sounds. Two
ways to tell it to any decoder: at every scale it turns channels up and down (FiLM), or
every cell of a hidden map asks it what is wanted (cross-attention). At its start
neither changes anything: the mask is the decoder's own.

Their decoders know no batch: a training looks at every prompt for every clip, piece by
piece, and what one pair is worth must not depend on the others in its piece.
"""

import math

import torch

from speechbrain_lmac.interpreters.conditioned import FiLMInterpreter
from speechbrain_lmac.utils.errors import InputError


def norms_of_one(decoder):
    """Normalise each item by itself, in place of the batch: changes `decoder`.

    Every batch norm of it becomes a group norm of one group: mean and variance are
    those of all channels, frames and bands of one item. So the channels keep their
    levels against each other, and a training and an explanation do the same.

    Example
    -------
    >>> decoder = torch.nn.Sequential(torch.nn.BatchNorm2d(4))
    >>> norms_of_one(decoder)
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
    """Embeddings (B, D) of length 1, whose values are about 1 / sqrt(D), times sqrt(D).

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
        For example `ConvInterpreter`. Its batch norms are replaced, see `norms_of_one`.
    hidden_channels : list
        Channels of the audio tower's hidden maps, the shallowest first.
    text_dim : int
        Values of an embedding, D.

    Shape
    -----
    hidden maps (B, C', T', F'), `encoded.rep` (B, T, F) and embeddings (B, D), of
    length 1, to a mask (B, T, F) in 0..1.
    """

    def __init__(
        self, decoder: torch.nn.Module, hidden_channels: list | tuple, text_dim: int
    ):
        super().__init__()
        self.interpreter = FiLMInterpreter(
            norms_of_one(decoder), hidden_channels, text_dim
        )

    def forward(
        self, hidden: tuple[torch.Tensor, ...], encoded, condition: torch.Tensor
    ) -> torch.Tensor:
        return self.interpreter(hidden, encoded, unit_variance(condition))


class TextAttention(torch.nn.Module):
    """Cells of a map attend to a prompt.

    h + U sum_k a_k v_k with a = softmax_k(q(h) . k_k / sqrt(d)): the query q is linear
    in the cell, the K keys k and values v are linear in the embedding of the prompt,
    and U begins at 0. An embedding is one vector, and attention to one key is no
    attention: its weight is 1 in every cell, and all cells are told the same. With K >=
    2 keys a cell chooses among K things that the prompt says, by what it hears itself.

    Arguments
    ---------
    text_dim : int
        Values of an embedding, D.
    channels : int
        Of the maps, C.
    n_tokens : int
        K, at least 2.
    width : int
        Values of a query, key and value, d.

    Shape
    -----
    maps (B, C, T, F) and embeddings (B, D) to (B, C, T, F).
    """

    def __init__(self, text_dim: int, channels: int, n_tokens: int, width: int):
        super().__init__()
        if n_tokens < 2:
            raise InputError(
                "attention to one token is the same in every cell: n_tokens must be at "
                f"least 2, got {n_tokens}"
            )
        self.query = torch.nn.Conv2d(channels, width, 1)
        self.keys = torch.nn.Linear(text_dim, n_tokens * width)
        self.values = torch.nn.Linear(text_dim, n_tokens * width)
        self.output = torch.nn.Conv2d(width, channels, 1, bias=False)
        torch.nn.init.zeros_(self.output.weight)
        self.n_tokens = n_tokens
        self.width = width

    def weights(self, maps: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """What each cell attends to, (B, K, T, F); its sum over K is 1."""
        keys = self.keys(text).unflatten(1, (self.n_tokens, self.width))
        scores = torch.einsum("bdtf,bkd->bktf", self.query(maps), keys)
        return (scores / math.sqrt(self.width)).softmax(1)

    def forward(self, maps: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        values = self.values(text).unflatten(1, (self.n_tokens, self.width))
        told = torch.einsum("bktf,bkd->bdtf", self.weights(maps, text), values)
        return maps + self.output(told)


class TextAttentionInterpreter(torch.nn.Module):
    """A decoder whose hidden maps attend to a prompt, at every scale.

    Arguments
    ---------
    decoder, hidden_channels, text_dim
        As `TextFiLMInterpreter`.
    n_tokens, width
        As `TextAttention`.

    Shape
    -----
    As `TextFiLMInterpreter`.
    """

    def __init__(
        self,
        decoder,
        hidden_channels: list[int] | tuple[int, int, int],
        text_dim: int,
        n_tokens: int = 4,
        width: int = 16,
    ):
        super().__init__()
        self.decoder = norms_of_one(decoder)
        self.attentions = torch.nn.ModuleList(
            TextAttention(text_dim, channels, n_tokens, width)
            for channels in hidden_channels
        )

    def forward(
        self, hidden: tuple[torch.Tensor, ...], encoded, condition: torch.Tensor
    ) -> torch.Tensor:
        text = unit_variance(condition)
        told = tuple(
            attention(maps, text)
            for attention, maps in zip(self.attentions, hidden, strict=True)
        )
        return self.decoder(told, encoded)
