"""Layouts of a layer's output in time and frequency.

A layout converts the output of a layer to a map (B, C, T', F'), time before frequency.
`steps` are the positions of its T' steps in time, `bands` those of its F' bands on the
model's frequency axis. None: evenly spaced.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch

from speechbrain_lmac.utils.errors import InputError, check_counts


class Layout(Protocol):
    """The layout of a layer's output."""

    @property
    def steps(self) -> "Places | None":
        """Positions in time, in samples; None: evenly over the waveform."""

    @property
    def bands(self) -> "Places | None":
        """Positions as a share of the frequency axis; None: evenly."""

    def maps(self, output: torch.Tensor) -> torch.Tensor:
        """Return the output of a layer as a map (B, C, T', F')."""


@dataclass(frozen=True)
class Places:
    """Evenly spaced positions: step j is at `first + j * hop`.

    Arguments
    ---------
    first : float
        Centre of the first step, in samples or as a share of the frequency axis.
    hop : float
        Distance between adjacent steps, above 0.
    """

    first: float
    hop: float

    def __post_init__(self) -> None:
        if not self.hop > 0:
            raise InputError(f"hop of Places must be above 0, got {self.hop}")

    def steps_at(self, positions: torch.Tensor, n_steps: int) -> torch.Tensor:
        """Return positions (n,) as fractional steps (n,), 0 to `n_steps` - 1.

        Positions before the first or after the last step are clamped to it.

        Example
        -------
        >>> Places(first=200.0, hop=320.0).steps_at(torch.tensor([0.0, 360.0]), 9)
        tensor([0.0000, 0.5000])
        """
        return ((positions - self.first) / self.hop).clamp(0, n_steps - 1)


def evenly(extent: float, n_steps: int) -> Places:
    """Return the `Places` of `n_steps` equal steps that cover 0 to `extent`.

    Example
    -------
    >>> evenly(1.0, 4)
    Places(first=0.125, hop=0.25)
    """
    return Places(extent / n_steps / 2, extent / n_steps)


class Axes:
    """Axes in any order: maps of CNNs, sequences of RNNs and transformers.

    Arguments
    ---------
    order : str
        Letters of the axes: B and T, optionally C and F; a missing axis has size 1.
        Examples: "BCTF" and "BCFT" for CNNs, "BTC" for transformers, "BCT" for 1-D
        CNNs.
    steps : Places or None
        Positions of the steps, in samples. None: evenly over the waveform, which is
        exact to about a step.

    Shape
    -----
    (B, ...) in this order to (B, C, T', F').

    Raises
    ------
    InputError
        When the order has other axes, or one of them twice.

    Example
    -------
    >>> Axes("BTC").maps(torch.rand(2, 249, 64)).shape
    torch.Size([2, 64, 249, 1])
    """

    bands: Places | None = None  # evenly over the frequency axis

    def __init__(self, order: str, steps: Places | None = None) -> None:
        letters = set(order)
        if len(letters) < len(order) or not {"B", "T"} <= letters <= set("BCTF"):
            raise InputError(
                "order of Axes must have B and T, and may have C and F, each once, for "
                f"example BTC, got {order!r}"
            )
        self.order = order
        self.steps = steps

    def maps(self, output: torch.Tensor) -> torch.Tensor:
        """Return the output of a layer as a map (B, C, T', F')."""
        if output.dim() != len(self.order):
            raise InputError(
                f"output must have the axes {self.order} of its layout, got the shape "
                f"{tuple(output.shape)}"
            )
        missing = [letter for letter in "BCTF" if letter not in self.order]
        output = output[(..., *[None] * len(missing))]
        order = [*self.order, *missing]
        return output.permute(*[order.index(letter) for letter in "BCTF"])


class Patches:
    """Tokens of a transformer on the patches of a spectrogram, as in AST.

    Tokens before the patches (class, distillation) are dropped.

    Arguments
    ---------
    n_bands : int
        Number of patches over frequency.
    n_steps : int
        Number of patches over time.
    n_prefix_tokens : int
        Number of tokens before the patches.
    order : str
        "FT", as in AST: first all patches of the lowest band, in order of time. "TF":
        first all bands of the first step.
    steps : Places or None
        As `Axes`.
    bands : Places or None
        Positions of the bands, as a share of the frequency axis. None: evenly.

    Shape
    -----
    (B, n_prefix_tokens + n_bands * n_steps, C) to (B, C, n_steps, n_bands).

    Example
    -------
    Token 3 is the second patch in time of the lowest band, token 4 the first of the
    next band.

    >>> tokens = torch.arange(6.0).view(1, 6, 1)
    >>> Patches(n_bands=2, n_steps=2, n_prefix_tokens=2).maps(tokens)[0, 0]
    tensor([[2., 4.],
            [3., 5.]])
    """

    def __init__(
        self,
        n_bands: int,
        n_steps: int,
        n_prefix_tokens: int = 0,
        order: str = "FT",
        steps: Places | None = None,
        bands: Places | None = None,
    ) -> None:
        check_counts(n_bands=n_bands, n_steps=n_steps)
        if order not in ("FT", "TF"):
            raise InputError(f"order of Patches must be FT or TF, got {order!r}")
        self.n_bands = n_bands
        self.n_steps = n_steps
        self.n_prefix_tokens = n_prefix_tokens
        self.order = order
        self.steps = steps
        self.bands = bands

    def maps(self, output: torch.Tensor) -> torch.Tensor:
        """Return tokens (B, n, C) as a map (B, C, T', F')."""
        n_patches = self.n_bands * self.n_steps
        if output.dim() != 3 or output.shape[1] != self.n_prefix_tokens + n_patches:
            raise InputError(
                f"output must have the shape (B, {self.n_prefix_tokens + n_patches}, "
                f"C), {self.n_prefix_tokens} tokens and {self.n_bands} x "
                f"{self.n_steps} patches, got {tuple(output.shape)}"
            )
        tokens = output[:, self.n_prefix_tokens :].transpose(1, 2)
        sizes = {"F": self.n_bands, "T": self.n_steps}
        maps = tokens.unflatten(2, [sizes[letter] for letter in self.order])
        return maps.transpose(2, 3) if self.order == "FT" else maps


class FoldedTime:
    """Tokens of a model that folds time into strips of the frequency axis, as in HTSAT.

    HTSAT (the audio tower of CLAP) cuts a spectrogram into strips of equal time and
    stacks them into a square image of S x S cells: row f + k F' of column t is band f
    at time t + k S. The layout concatenates the strips in time.

    Arguments
    ---------
    n_strips : int
        Number of strips.
    steps : Places or None
        As `Axes`.

    Shape
    -----
    (B, S^2, C), row by row, with S = n_strips F', to (B, C, n_strips S, F').

    Example
    -------
    Two strips of one band: the second row follows the first in time.

    >>> FoldedTime(2).maps(torch.tensor([[[0.0], [1.0], [2.0], [3.0]]])).flatten()
    tensor([0., 1., 2., 3.])
    """

    bands: Places | None = None

    def __init__(self, n_strips: int, steps: Places | None = None) -> None:
        check_counts(n_strips=n_strips)
        self.n_strips = n_strips
        self.steps = steps

    def maps(self, output: torch.Tensor) -> torch.Tensor:
        """Return tokens (B, S^2, C) as a map (B, C, T', F')."""
        side = round(output.shape[1] ** 0.5)
        if output.dim() != 3 or side**2 != output.shape[1] or side % self.n_strips:
            raise InputError(
                f"output must have the shape (B, S^2, C), S a multiple of the "
                f"{self.n_strips} strips, got {tuple(output.shape)}"
            )
        rows = output.transpose(1, 2).unflatten(2, (self.n_strips, -1, side))
        return rows.transpose(3, 4).flatten(2, 3)  # rows: (B, C, strip, F', S)

    def tokens(self, maps: torch.Tensor) -> torch.Tensor:
        """Return a map (B, C, T', F') as tokens (B, S^2, C), the inverse of `maps`."""
        columns = maps.unflatten(2, (self.n_strips, -1))  # (B, C, strip, S, F')
        return columns.transpose(3, 4).flatten(2).transpose(1, 2)


def first_tensor(output: Any) -> torch.Tensor:
    """Return the output (B, ...) of a layer, or the first of a tuple of outputs.

    Layers of transformers return tuples that begin with the sequence.

    Raises
    ------
    InputError
        When it is not a tensor.
    """
    if isinstance(output, (tuple, list)) and output:
        output = output[0]
    if not torch.is_tensor(output):
        raise InputError(f"output must be a tensor, got {type(output).__name__}")
    return output
