"""Decoders that are told what to look for: a class, or anything that is a vector."""

import torch


class FiLM(torch.nn.Module):
    """Scale and shift the channels of a map, as a condition says.

    (1 + gamma(c)) h + beta(c), with gamma and beta linear in c (feature-wise linear
    modulation, Perez et al. 2018, https://arxiv.org/abs/1709.07871). Both begin at 0:
    before the first step of a training nothing is changed, whatever the condition.

    Arguments
    ---------
    condition_dim : int
        Values of a condition.
    channels : int
        Of the maps.

    Shape
    -----
    maps (B, C, T, F) and conditions (B, D) to (B, C, T, F).

    Example
    -------
    >>> film = FiLM(condition_dim=1, channels=1)
    >>> film(torch.tensor([[[[2.0]]]]), torch.tensor([[3.0]])).item()
    2.0
    >>> _ = film.affine.weight.data.copy_(torch.tensor([[0.5], [1.0]]))
    >>> film(torch.tensor([[[[2.0]]]]), torch.tensor([[3.0]])).item()
    8.0
    """

    def __init__(self, condition_dim: int, channels: int):
        super().__init__()
        self.affine = torch.nn.Linear(condition_dim, 2 * channels)
        torch.nn.init.zeros_(self.affine.weight)
        torch.nn.init.zeros_(self.affine.bias)

    def forward(self, maps: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        scale, shift = self.affine(condition)[:, :, None, None].chunk(2, dim=1)
        return (1 + scale) * maps + shift


class FiLMInterpreter(torch.nn.Module):
    """Any decoder, which hears the classifier's maps as a condition modulates them.

    Each hidden map goes through a `FiLM` of its own before the decoder gets it: what
    the condition asks for is turned up at every scale. The decoder knows nothing of
    conditions; with all FiLMs at their beginning the mask is the decoder's own.

    Arguments
    ---------
    decoder : Interpreter
        For example `ConvInterpreter`.
    hidden_channels : list
        Channels of the classifier's hidden maps, the shallowest first.
    condition_dim : int
        Values of a condition.

    Shape
    -----
    hidden maps (B, C', T', F'), `encoded.rep` (B, T, F) and conditions (B, D) to a
    mask (B, T, F) in 0..1.
    """

    def __init__(
        self, decoder, hidden_channels: list[int] | tuple[int, ...], condition_dim: int
    ):
        super().__init__()
        self.decoder = decoder
        self.films = torch.nn.ModuleList(
            FiLM(condition_dim, channels) for channels in hidden_channels
        )

    def forward(
        self, hidden: tuple[torch.Tensor, ...], encoded, condition: torch.Tensor
    ) -> torch.Tensor:
        modulated = tuple(
            film(maps, condition) for film, maps in zip(self.films, hidden, strict=True)
        )
        return self.decoder(modulated, encoded)


class ClassConditionedInterpreter(torch.nn.Module):
    """Which part of the sound speaks for this class? The class is the condition.

    Every class has a learned vector, by which a `FiLMInterpreter` looks.

    Arguments
    ---------
    decoder : Interpreter
        See `FiLMInterpreter`.
    hidden_channels : list
        See there.
    n_classes : int
        Classes that can be asked for.
    condition_dim : int
        Values of a class's vector.

    Shape
    -----
    hidden maps (B, C', T', F'), `encoded.rep` (B, T, F) and class indices (B,) to a
    mask (B, T, F) in 0..1.
    """

    def __init__(
        self, decoder, hidden_channels: list, n_classes: int, condition_dim: int
    ):
        super().__init__()
        self.classes = torch.nn.Embedding(n_classes, condition_dim)
        self.interpreter = FiLMInterpreter(decoder, hidden_channels, condition_dim)

    def forward(
        self, hidden: tuple[torch.Tensor, ...], encoded, condition: torch.Tensor
    ) -> torch.Tensor:
        return self.interpreter(hidden, encoded, self.classes(condition))
