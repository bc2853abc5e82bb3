"""Decoders conditioned on a class or any other vector."""

from collections.abc import Sequence

import torch

from speechbrain_lmac.types import Encoded


class FiLM(torch.nn.Module):
    """Scale and shift the channels of a map by a condition.

    (1 + gamma(c)) h + beta(c), with gamma and beta linear in c (feature-wise linear
    modulation, Perez et al. 2018, https://arxiv.org/abs/1709.07871). Both are
    initialised to 0: an untrained FiLM is the identity, whatever the condition.

    Arguments
    ---------
    condition_dim : int
        Dimension D of the condition.
    channels : int
        Number of channels C of the maps.

    Example
    -------
    >>> film = FiLM(condition_dim=1, channels=1)
    >>> film(torch.tensor([[[[2.0]]]]), torch.tensor([[3.0]])).item()
    2.0
    >>> _ = film.affine.weight.data.copy_(torch.tensor([[0.5], [1.0]]))
    >>> film(torch.tensor([[[[2.0]]]]), torch.tensor([[3.0]])).item()
    8.0
    """

    def __init__(self, condition_dim: int, channels: int) -> None:
        super().__init__()
        self.affine = torch.nn.Linear(condition_dim, 2 * channels)
        torch.nn.init.zeros_(self.affine.weight)
        torch.nn.init.zeros_(self.affine.bias)

    def forward(self, maps: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Modulate maps (B, C, T, F) by conditions (B, D); same shape."""
        scale, shift = self.affine(condition)[:, :, None, None].chunk(2, dim=1)
        return (1 + scale) * maps + shift


class FiLMInterpreter(torch.nn.Module):
    """A decoder whose input, the hidden maps, is modulated by a condition.

    Each hidden map goes through its own `FiLM` before the decoder: the condition
    amplifies or attenuates channels at every scale. The decoder itself does not depend
    on the condition; untrained FiLMs leave its mask unchanged.

    Arguments
    ---------
    decoder : Interpreter
        For example `ConvInterpreter`.
    hidden_channels : sequence of int
        Channels of the classifier's hidden maps, the shallowest first.
    condition_dim : int
        Dimension D of the condition.
    """

    def __init__(
        self,
        decoder: torch.nn.Module,
        hidden_channels: Sequence[int],
        condition_dim: int,
    ) -> None:
        super().__init__()
        self.decoder = decoder
        self.films = torch.nn.ModuleList(
            FiLM(condition_dim, channels) for channels in hidden_channels
        )

    def forward(
        self,
        hidden: tuple[torch.Tensor, ...],
        encoded: Encoded,
        condition: torch.Tensor,
    ) -> torch.Tensor:
        """Decode modulated hidden maps into a mask.

        Arguments
        ---------
        hidden : tuple of torch.Tensor
            Maps (B, C', T', F') of the classifier, the shallowest first.
        encoded : Encoded
            With `rep` (B, T, F).
        condition : torch.Tensor
            Shape (B, D).

        Returns
        -------
        mask : torch.Tensor
            Shape (B, T, F), in 0..1.
        """
        modulated = tuple(
            film(maps, condition) for film, maps in zip(self.films, hidden, strict=True)
        )
        return self.decoder(modulated, encoded)


class ClassConditionedInterpreter(torch.nn.Module):
    """A decoder conditioned on the class to explain.

    Each class has a learned embedding, the condition of a `FiLMInterpreter`.

    Arguments
    ---------
    decoder : Interpreter
        See `FiLMInterpreter`.
    hidden_channels : sequence of int
        See `FiLMInterpreter`.
    n_classes : int
        Number of classes C.
    condition_dim : int
        Dimension of the class embeddings.
    """

    def __init__(
        self,
        decoder: torch.nn.Module,
        hidden_channels: Sequence[int],
        n_classes: int,
        condition_dim: int,
    ) -> None:
        super().__init__()
        self.classes = torch.nn.Embedding(n_classes, condition_dim)
        self.interpreter = FiLMInterpreter(decoder, hidden_channels, condition_dim)

    def forward(
        self,
        hidden: tuple[torch.Tensor, ...],
        encoded: Encoded,
        condition: torch.Tensor,
    ) -> torch.Tensor:
        """Decode hidden maps into a mask for each item's class.

        Arguments
        ---------
        hidden : tuple of torch.Tensor
            Maps (B, C', T', F') of the classifier, the shallowest first.
        encoded : Encoded
            With `rep` (B, T, F).
        condition : torch.Tensor
            Class indices (B,), from 0 to C - 1.

        Returns
        -------
        mask : torch.Tensor
            Shape (B, T, F), in 0..1.
        """
        return self.interpreter(hidden, encoded, self.classes(condition))
