"""A small convolutional U-decoder that is aligned by construction."""

from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F

from speechbrain_lmac.dsp.pad_crop import fit_map
from speechbrain_lmac.types import Encoded
from speechbrain_lmac.utils.errors import InputError, check_counts


class ConvTrunk(torch.nn.Module):
    """Layers from hidden maps to maps at the resolution of the classifier's input.

    From the deepest level upwards: upsample the map by 2 in time and frequency, add a
    1x1 convolution of each hidden map of this level, then ReLU, 3x3 convolution, batch
    norm (without it the mask stays flat for many epochs), ReLU. A level has half the
    resolution of the one above it, and step i of a map covers steps 2i and 2i + 1 of
    the map above: upsampling preserves the alignment in time, for inputs of any length.
    (The published decoder shifts by up to 5 frames, and only accepts certain lengths;
    see `PublishedInterpreter`.)

    Arguments
    ---------
    hidden_channels : sequence of int or None
        Channels of the classifier's hidden maps, the shallowest first; None for a map
        that is not used.
    widths : sequence of int
        Channels of the decoder at each level, the shallowest first.
    head_width : int
        Channels at the resolution of the classifier's input.
    n_bands : int
        Frequency bands of the classifier's input (its mel bins).
    strides : sequence of int, optional
        Frames (and bands) per step of each hidden map, powers of two; 2^k for level k.
        Default: 2, 4, 8, ..., one map per level.

    Raises
    ------
    InputError
        When the deepest map is not used, the number of strides is not that of the maps,
        or the last stride is not 2^k for k widths.
    """

    def __init__(
        self,
        hidden_channels: Sequence[int | None],
        widths: Sequence[int],
        head_width: int,
        n_bands: int,
        strides: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        check_counts(n_bands=n_bands)
        if not hidden_channels or hidden_channels[-1] is None:
            raise InputError(
                "hidden_channels must not be None for the last (deepest) map, got "
                f"{list(hidden_channels)}"
            )
        if strides is None:
            strides = [2 ** (index + 1) for index in range(len(hidden_channels))]
        self.strides = list(strides)
        if len(strides) != len(hidden_channels) or strides[-1] != 2 ** len(widths):
            raise InputError(
                "strides must have one value for each hidden map, and widths one for "
                f"each level up to the last stride: got {len(hidden_channels)} maps, "
                f"the strides {self.strides}, and {len(widths)} widths"
            )
        self.n_bands = n_bands
        self.laterals = torch.nn.ModuleDict(
            {
                str(index): torch.nn.Conv2d(
                    channels, widths[stride.bit_length() - 2], 1
                )
                for index, (channels, stride) in enumerate(
                    zip(hidden_channels, self.strides, strict=True)
                )
                if channels is not None
            }
        )
        outputs = [head_width, *widths[:-1]]
        self.merges = torch.nn.ModuleList(
            normalised_conv(width, output)
            for width, output in zip(widths, outputs, strict=True)
        )

    def maps(self, hidden: tuple[torch.Tensor, ...], frames: int) -> torch.Tensor:
        """Decode hidden maps (B, C', T', F') to (B, head_width, frames, n_bands)."""
        maps: torch.Tensor | None = None
        for level in reversed(range(len(self.merges))):
            indices = [i for i, s in enumerate(self.strides) if s == 2 ** (level + 1)]
            size = hidden[indices[0]].shape[2:] if indices else None
            terms = [] if maps is None else [double(maps, size)]
            terms += [
                self.laterals[str(index)](hidden[index])
                for index in indices
                if str(index) in self.laterals
            ]
            maps = self.merges[level](F.relu(reduce(torch.add, terms)))
        assert maps is not None  # there is at least one level
        return double(maps, (frames, self.n_bands))


class ConvInterpreter(ConvTrunk):
    """L-MAC's decoder with upsampling in place of strided transposed layers.

    Arguments
    ---------
    hidden_channels, widths, head_width, n_bands, strides
        As `ConvTrunk`.
    frequency : torch.nn.Module
        Maps (..., n_bands) to the mask's bins (..., F): `MelToBins` or `SameBins`.

    Example
    -------
    >>> from speechbrain_lmac.dsp.mel_to_bins import MelToBins
    >>> from speechbrain_lmac.types import Encoded
    >>> interpreter = ConvInterpreter(
    ...     [4, 8], [6, 6], 4, n_bands=80, frequency=MelToBins(16000, 1024, 80)
    ... )
    >>> hidden = (torch.rand(1, 4, 50, 40), torch.rand(1, 8, 25, 20))
    >>> encoded = Encoded(torch.rand(1, 101, 513), None, 18600)
    >>> interpreter(hidden, encoded).shape
    torch.Size([1, 101, 513])
    """

    def __init__(
        self,
        hidden_channels: Sequence[int | None],
        widths: Sequence[int],
        head_width: int,
        n_bands: int,
        frequency: torch.nn.Module,
        strides: Sequence[int] | None = None,
    ) -> None:
        super().__init__(hidden_channels, widths, head_width, n_bands, strides)
        self.frequency = frequency
        self.head = torch.nn.Sequential(
            normalised_conv(head_width, head_width),
            torch.nn.Conv2d(head_width, 1, 1),
        )

    def forward(
        self,
        hidden: tuple[torch.Tensor, ...],
        encoded: Encoded,
        condition: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Decode hidden maps into a mask.

        Arguments
        ---------
        hidden : tuple of torch.Tensor
            Maps (B, C', T', F') of the classifier, the shallowest first.
        encoded : Encoded
            With `rep` (B, T, F); only its size is used.
        condition : optional
            Unused.

        Returns
        -------
        mask : torch.Tensor
            Shape (B, T, F), in 0..1.
        """
        maps = self.head(self.maps(hidden, encoded.rep.shape[1]))
        return torch.sigmoid(self.frequency(maps[:, 0].float()))


def normalised_conv(channels_in: int, channels_out: int) -> torch.nn.Sequential:
    """Return a 3x3 convolution, a batch norm and a ReLU."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        torch.nn.BatchNorm2d(channels_out),
        torch.nn.ReLU(),
    )


def double(maps: torch.Tensor, size: tuple[int, ...] | None) -> torch.Tensor:
    """Upsample maps (B, C, T, F) by 2 in time and frequency, bilinearly.

    The result (B, C, 2 T, 2 F) is cropped or padded to `size` (T', F'), where given.
    """
    maps = F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)
    return maps if size is None else fit_map(maps, size)
