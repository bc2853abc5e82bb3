"""How a layer of any model lays out time and frequency, and where its steps lie.

A layout brings the output of a layer to a map (B, C, T', F'), time before frequency.
`steps` says where the steps of the map lie in time, `bands` where its bands lie on the
model's frequency axis.
"""

from dataclasses import dataclass

import torch

from speechbrain_lmac.utils.errors import InputError, check_counts


@dataclass(frozen=True)
class Places:
    """Step j lies at `first + j * hop`.

    Arguments
    ---------
    first : float
        Middle of the first step: in samples, or as a share of the frequency axis.
    hop : float
        From one middle to the next.
    """

    first: float
    hop: float

    def __post_init__(self) -> None:
        if not self.hop > 0:
            raise InputError(f"the hop from step to step must be above 0: {self}")

    def steps_at(self, places: torch.Tensor, n_steps: int) -> torch.Tensor:
        """Which step lies at each of these places, as a fraction, 0 to n_steps - 1.

        Before the first and beyond the last step it is the step itself.

        Example
        -------
        >>> Places(first=200.0, hop=320.0).steps_at(torch.tensor([0.0, 360.0]), 9)
        tensor([0.0000, 0.5000])
        """
        return ((places - self.first) / self.hop).clamp(0, n_steps - 1)


def evenly(extent: float, n_steps: int) -> Places:
    """`Places` of steps of equal size that cover 0 to `extent` together.

    Example
    -------
    >>> evenly(1.0, 4)
    Places(first=0.125, hop=0.25)
    """
    return Places(extent / n_steps / 2, extent / n_steps)


class Axes:
    """Axes in an order of their own: maps of CNNs, sequences of RNNs and transformers.

    Arguments
    ---------
    order : str
        The letters of the axes: B, T, and of C and F those there are. An axis that is
        missing has the size 1. Examples: "BCTF" and "BCFT" of CNNs, "BTC" of
        transformers, "BCT" of 1-D CNNs.
    steps : Places or None
        Where the steps lie, in samples. None: evenly over the waveform, which is true
        to about a step.

    Shape
    -----
    In the order given to (B, C, T', F').

    Example
    -------
    >>> Axes("BTC").maps(torch.rand(2, 249, 64)).shape
    torch.Size([2, 64, 249, 1])
    """

    bands = None  # evenly over the frequency axis

    def __init__(self, order: str, steps: Places | None = None):
        letters = set(order)
        if len(letters) < len(order) or not {"B", "T"} <= letters <= set("BCTF"):
            raise InputError(
                "the order of axes must name B and T, and of C and F those there are, "
                f"each once, for example BTC; got {order!r}"
            )
        self.order = order
        self.steps = steps

    def maps(self, output: torch.Tensor) -> torch.Tensor:
        """The output of a layer as a map (B, C, T', F')."""
        if output.dim() != len(self.order):
            raise InputError(
                f"the layout says {self.order}, but the layer's output has the shape "
                f"{tuple(output.shape)}"
            )
        missing = [letter for letter in "BCTF" if letter not in self.order]
        output = output[(..., *[None] * len(missing))]
        order = [*self.order, *missing]
        return output.permute(*[order.index(letter) for letter in "BCTF"])


class Patches:
    """Tokens of a transformer that cut a spectrogram into patches, as AST does.

    Tokens before the patches (class, distillation) are dropped.

    Arguments
    ---------
    n_bands : int
        Patches from the lowest to the highest frequency.
    n_steps : int
        Patches from the beginning to the end.
    n_prefix_tokens : int
        Tokens before the patches.
    order : str
        "FT": the patches of the lowest frequency come first, in the order of time, as
        AST has them. "TF": all frequencies of the first time come first.
    steps : Places or None
        As `Axes`.
    bands : Places or None
        Where the bands lie, as a share of the frequency axis. None: evenly.

    Shape
    -----
    (B, n_prefix_tokens + n_bands * n_steps, C) to (B, C, n_steps, n_bands).

    Example
    -------
    Token 3 is the second patch in time of the lowest frequency, token 4 the first of
    the next frequency.

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
    ):
        check_counts(n_bands=n_bands, n_steps=n_steps)
        if order not in ("FT", "TF"):
            raise InputError(f"the order of patches must be FT or TF, got {order!r}")
        self.n_bands = n_bands
        self.n_steps = n_steps
        self.n_prefix_tokens = n_prefix_tokens
        self.order = order
        self.steps = steps
        self.bands = bands

    def maps(self, output: torch.Tensor) -> torch.Tensor:
        """Tokens as a map (B, C, T', F')."""
        n_patches = self.n_bands * self.n_steps
        if output.dim() != 3 or output.shape[1] != self.n_prefix_tokens + n_patches:
            raise InputError(
                f"the layout says {self.n_prefix_tokens} tokens and {self.n_bands} x "
                f"{self.n_steps} patches, (B, {self.n_prefix_tokens + n_patches}, C), "
                f"but the layer's output has the shape {tuple(output.shape)}"
            )
        tokens = output[:, self.n_prefix_tokens :].transpose(1, 2)
        sizes = {"F": self.n_bands, "T": self.n_steps}
        maps = tokens.unflatten(2, [sizes[letter] for letter in self.order])
        return maps.transpose(2, 3) if self.order == "FT" else maps


class FoldedTime:
    """Tokens of a model that folds time into strips of the frequency axis, as HTSAT.

    HTSAT (the audio tower of CLAP) cuts a spectrogram into strips of equal time and
    puts them above each other, so that the image is square: row f + k F' of column t is
    band f at time t + k T'. The strips are put one behind the other again.

    Arguments
    ---------
    n_strips : int
        How many strips there are.
    steps : Places or None
        As `Axes`.

    Shape
    -----
    (B, S^2, C), row by row, with S = n_strips F', to (B, C, n_strips S, F').

    Example
    -------
    Two strips of one band: the second row is what comes after the first.

    >>> FoldedTime(2).maps(torch.tensor([[[0.0], [1.0], [2.0], [3.0]]])).flatten()
    tensor([0., 1., 2., 3.])
    """

    bands = None

    def __init__(self, n_strips: int, steps=None):
        check_counts(n_strips=n_strips)
        self.n_strips = n_strips
        self.steps = steps

    def maps(self, output: torch.Tensor) -> torch.Tensor:
        """Tokens as a map (B, C, T', F')."""
        side = round(output.shape[1] ** 0.5)
        if output.dim() != 3 or side**2 != output.shape[1] or side % self.n_strips:
            raise InputError(
                f"the layout says {self.n_strips} strips of a square, (B, S^2, C) with "
                f"S a multiple of {self.n_strips}, but the layer's output has the "
                f"shape {tuple(output.shape)}"
            )
        rows = output.transpose(1, 2).unflatten(2, (self.n_strips, -1, side))
        return rows.transpose(3, 4).flatten(2, 3)  # (B, C, strip, F', T')

    def tokens(self, maps: torch.Tensor) -> torch.Tensor:
        """The way back: a map (B, C, T', F') as tokens (B, S^2, C)."""
        columns = maps.unflatten(2, (self.n_strips, -1))  # (B, C, strip, T', F')
        return columns.transpose(3, 4).flatten(2).transpose(1, 2)


def tensor_of(output: dict[str, torch.Tensor] | torch.Tensor) -> torch.Tensor:
    """The output itself, or the first of a tuple of outputs.

    Layers of transformers return tuples whose first is the sequence.
    """
    if isinstance(output, (tuple, list)) and output:
        output = output[0]
    if not torch.is_tensor(output):
        raise InputError(f"no tensor, but {type(output).__name__}")
    return output
