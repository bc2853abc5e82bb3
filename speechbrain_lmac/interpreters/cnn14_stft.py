"""The published L-MAC decoder for CNN14, built from its layer table."""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F

from speechbrain_lmac.types import Encoded
from speechbrain_lmac.utils.errors import InputError

# (kernel, stride, padding) of the first eight transposed convolutions, (time,
# frequency); the ninth is an argument. docs/methods.md, decoder;
# speechbrain.lobes.models.Cnn14.CNN14PSI_stft.
LAYERS = (
    ((3, 3), (2, 4), (1, 1)),
    ((3, 3), (2, 4), (1, 1)),
    ((7, 4), (2, 4), (1, 1)),
    ((5, 4), (2, 4), (1, 1)),
    ((3, 5), (2, 2), (1, 1)),
    ((3, 3), (2, 4), (1, 1)),
    ((4, 3), (2, 2), (0, 5)),
    ((3, 4), (2, 2), (0, 2)),
)


def check_four_channels(hidden_channels: Sequence[int]) -> Sequence[int]:
    """Return `hidden_channels`; raise InputError unless it has four entries.

    Arguments
    ---------
    hidden_channels : sequence of int
        Channels C' of the maps (B, C', T', F').
    """
    if len(hidden_channels) != 4:
        raise InputError(
            "hidden_channels must have four entries for the published decoders, "
            f"got {list(hidden_channels)}"
        )
    return hidden_channels


class PublishedTrunk(torch.nn.Module):
    """The layers of the published decoders: eight shared ones and a specific ninth.

    Transposed convolutions with additive skips, ReLU after each of the first seven. The
    layer table only accepts hidden maps of 4 n + 1 steps in block 3 (2 n in block 4, n
    in blocks 5 and 6), and returns 32 n + 8 + k frames, where k is the length of the
    ninth kernel. The hidden maps are therefore zero-padded at the end to the smallest n
    that covers the input; subclasses apply the ninth layer and crop.

    Arguments
    ---------
    hidden_channels : sequence of int
        Channels of CNN14's blocks 3, 4, 5, 6.
    width : int
        Channels of the first layers; the later ones have 1/2, 1/4 and 1/8 of it.
    channels_out : int
        Output channels of the ninth layer.
    last_kernel : tuple
        Kernel of the ninth layer, (time, frequency); its stride is (1, 4).
    """

    def __init__(
        self,
        hidden_channels: Sequence[int],
        width: int,
        channels_out: int,
        last_kernel: tuple[int, int],
    ) -> None:
        super().__init__()
        block3, block4, block5, block6 = check_four_channels(hidden_channels)
        channels = (
            (block6, width),
            (block5, width),
            (width, width),
            (block4, width),
            (width, width // 2),
            (block3, width // 2),
            (width // 2, width // 4),
            (width // 4, width // 8),
            (width // 8, channels_out),
        )
        table = (*LAYERS, (last_kernel, (1, 4), (0, 0)))
        self.layers = torch.nn.ModuleList(
            torch.nn.ConvTranspose2d(*sizes, kernel, stride, padding)
            for sizes, (kernel, stride, padding) in zip(channels, table, strict=True)
        )
        self.surplus = 8 + last_kernel[0]

    def maps(self, hidden: tuple[torch.Tensor, ...], frames: int) -> torch.Tensor:
        """Return the input (B, C', T', F') of the ninth layer, from blocks 3 to 6."""
        return self.layers[7](self.seven_layers(hidden, frames))

    def seven_layers(
        self, hidden: tuple[torch.Tensor, ...], frames: int
    ) -> torch.Tensor:
        """Return the input (B, C', T', F') of the eighth layer, from blocks 3 to 6."""
        block3, block4, block5, block6 = pad_hidden(hidden, frames, self.surplus)
        layers = self.layers
        maps = F.relu(layers[0](block6)) + F.relu(layers[1](block5))
        maps = F.relu(layers[2](maps)) + F.relu(layers[3](block4))
        maps = F.relu(layers[4](maps)) + F.relu(layers[5](block3))
        return F.relu(layers[6](maps))


class PublishedInterpreter(PublishedTrunk):
    """The decoder of L-MAC (arXiv 2403.13086) for CNN14 on 80 mel bins.

    Nine transposed convolutions with additive skips, ReLU after each but the last
    two, a sigmoid at the end; 236.7 M parameters at the published width.

    The published layers only accept hidden maps of 4 n + 1 steps in block 3, and return
    32 n + 9 frames (425 of the 431 frames of a 5 s clip). Here the hidden maps are
    zero-padded at the end to the smallest n that covers the representation, and the
    mask is cropped to it: any length works, and no frame is lost. Except for the last
    frames, which the padding affects, the mask equals the published one.

    The last two layers have no nonlinearity in between and are merged (`merged`): the
    same result in 25 % less time.

    Arguments
    ---------
    hidden_channels : sequence of int
        Channels of CNN14's blocks 3, 4, 5, 6.
    width : int
        Channels of the first layers; the later ones have 1/2, 1/4 and 1/8 of it.
    """

    def __init__(
        self,
        hidden_channels: Sequence[int] = (256, 512, 1024, 2048),
        width: int = 2048,
    ) -> None:
        super().__init__(hidden_channels, width, 1, (1, 5))

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
            Maps (B, C', T', F') of CNN14's blocks 3, 4, 5, 6.
        encoded : Encoded
            With `rep` (B, T, 513); only its size is used.
        condition : optional
            Unused.

        Returns
        -------
        mask : torch.Tensor
            Shape (B, T, 513), in 0..1.

        Raises
        ------
        ValueError
            When the decoder returns a different number of bins than `rep` has.
        """
        frames, bins = encoded.rep.shape[1:]
        first, second = (cast(torch.nn.ConvTranspose2d, x) for x in self.layers[7:])
        maps = merged(first, second, self.seven_layers(hidden, frames))
        maps = maps[:, 0, :frames].float()
        if maps.shape[2] != bins:
            raise ValueError(
                f"the published decoder returns {maps.shape[2]} bins for these hidden "
                f"maps, but the representation has {bins}: it requires 80 mel bins "
                "and n_fft 1024; use ConvInterpreter for other sizes"
            )
        return torch.sigmoid(maps)


def merged(
    first: torch.nn.ConvTranspose2d,
    second: torch.nn.ConvTranspose2d,
    maps: torch.Tensor,
) -> torch.Tensor:
    """Compute second(first(maps)) as one transposed convolution.

    The kernels (3, 4) and (1, 5) combine into one of (3, 17) with stride (2, 8). Since
    the padding of `first` crops two frequencies at either end, the merged convolution
    wrongly adds their contribution to the outermost bins, through the fifth and the
    first tap of `second`; it is subtracted.

    Arguments
    ---------
    first : torch.nn.ConvTranspose2d
        Kernel (3, 4), stride (2, 2), padding (0, 2).
    second : torch.nn.ConvTranspose2d
        Kernel (1, 5), stride (1, 4), one channel.
    maps : torch.Tensor
        Input of `first`, (B, C, T', F').

    Returns
    -------
    maps : torch.Tensor
        Shape (B, 1, 2 T' + 1, 8 F' - 7); equal to second(first(maps)) up to rounding.
    """
    kernel = F.conv_transpose2d(first.weight, second.weight, stride=(1, 4))
    assert first.bias is not None  # the layers of `PublishedTrunk` have one
    n_between = 2 * maps.shape[3] - 2
    between = first.bias[None, :, None, None].expand(1, -1, 1, n_between)
    bias = F.conv_transpose2d(between, second.weight, second.bias, stride=(1, 4))
    whole = F.conv_transpose2d(maps, kernel, stride=(2, 8))
    inner = whole[..., 8 : 8 + bias.shape[3]] + bias
    lowest, highest = (
        F.conv_transpose2d(
            maps[..., column : column + 1],
            torch.einsum(
                "cmt,m->ct", first.weight[..., tap], second.weight[:, 0, 0, end]
            )[:, None, :, None],
            stride=(2, 1),
        )
        for column, tap, end in ((0, 1, 4), (maps.shape[3] - 1, 2, 0))
    )
    return torch.cat(
        [inner[..., :1] - lowest, inner[..., 1:-1], inner[..., -1:] - highest], 3
    )


def pad_hidden(
    hidden: tuple[torch.Tensor, ...], frames: int, surplus: int
) -> tuple[torch.Tensor, ...]:
    """Zero-pad the hidden maps to lengths that the layer table accepts.

    With n steps in blocks 5 and 6 the table requires 2 n in block 4 and 4 n + 1 in
    block 3, and returns 32 n + surplus frames.

    Arguments
    ---------
    hidden : tuple of torch.Tensor
        Maps (B, C', T', F') of blocks 3, 4, 5, 6.
    frames : int
        Frames that the mask must cover.
    surplus : int
        Number of output frames beyond 32 n.

    Returns
    -------
    hidden : tuple of torch.Tensor
        The maps, with zeros at the end of T'.
    """
    block3, block4, block5, block6 = hidden
    n = max(
        block6.shape[2],
        block5.shape[2],
        -(-block4.shape[2] // 2),
        -(-(block3.shape[2] - 1) // 4),
        -(-(frames - surplus) // 32),
    )
    sizes = (4 * n + 1, 2 * n, n, n)
    return tuple(
        F.pad(maps, (0, 0, 0, size - maps.shape[2]))
        for maps, size in zip(hidden, sizes, strict=True)
    )
