"""The published upsampler U of LMAC-TD for CNN14, built from its layer table."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from speechbrain_lmac.interpreters.cnn14_stft import check_four_channels
from speechbrain_lmac.types import Encoded

# (kernel, stride, padding) of the nine transposed convolutions, (time, frequency);
# docs/methods.md, LMAC-TD.
LAYERS = (
    ((7, 7), (3, 2), (1, 1)),
    ((7, 7), (3, 2), (1, 1)),
    ((12, 11), (3, 2), (1, 1)),
    ((7, 7), (5, 4), (1, 1)),
    ((7, 7), (2, 2), (1, 1)),
    ((7, 11), (5, 4), (2, 1)),
    ((4, 3), (2, 2), (0, 5)),
    ((10, 7), (3, 1), (4, 2)),
    ((8, 10), (7, 3), (0, 0)),
)


class PublishedUpsampler(torch.nn.Module):
    """U of LMAC-TD (arXiv 2409.08655) for CNN14 on 80 mel bins, as a reference.

    Nine transposed convolutions with additive skips, ReLU after each but the last two;
    139.1 M parameters at the published width. The output for a 5 s clip is 11,082 x
    256, cropped to the first T frames.

    It is misaligned with the codec: a step of CNN14's deepest map becomes 756 frames,
    but lasts 744 frames of the codec, and there is an offset of 644. U therefore lags
    by about 0.3 s at the beginning of a clip and 0.4 s at its end. `ConvUpsampler` is
    aligned.

    The published layers only accept every fifth length. With n steps in blocks 5 and 6,
    n = 3 plus a multiple of 5, they require (9 n + 13) / 5 in block 4 and (18 n + 31) /
    5 in block 3, and return 756 n + 1254 frames. Here (our extension) the hidden maps
    are zero-padded at the end to the next accepted n that covers them and T.

    Arguments
    ---------
    hidden_channels : sequence of int
        Channels of CNN14's blocks 3, 4, 5, 6.
    width : int
        Channels of the first four layers; the next three have 1/2, the eighth 1/4.
    """

    def __init__(
        self,
        hidden_channels: Sequence[int] = (256, 512, 1024, 2048),
        width: int = 512,
    ) -> None:
        super().__init__()
        block3, block4, block5, block6 = check_four_channels(hidden_channels)
        # Input channels of each layer: those of a hidden map, or of the previous layer.
        half = width // 2
        inputs = (block6, block5, width, block4, width, block3, half, half, width // 4)
        outputs = (width, width, width, width, half, half, half, width // 4, 1)
        self.layers = torch.nn.ModuleList(
            torch.nn.ConvTranspose2d(n_in, n_out, kernel, stride, padding)
            for n_in, n_out, (kernel, stride, padding) in zip(
                inputs, outputs, LAYERS, strict=True
            )
        )

    def forward(
        self, hidden: tuple[torch.Tensor, ...], encoded: Encoded
    ) -> torch.Tensor:
        """Upsample 4 hidden maps (B, C', T', F') to the size of `rep`, (B, T, 256).

        Raises ValueError when the codec does not have 256 channels.
        """
        frames, channels = encoded.rep.shape[1:]
        block3, block4, block5, block6 = pad_hidden(hidden, frames)
        layers = self.layers
        maps = F.relu(layers[0](block6)) + F.relu(layers[1](block5))
        maps = F.relu(layers[2](maps)) + F.relu(layers[3](block4))
        maps = F.relu(layers[4](maps)) + F.relu(layers[5](block3))
        maps = layers[8](layers[7](F.relu(layers[6](maps))))[:, 0, :frames].float()
        if maps.shape[2] != channels:
            raise ValueError(
                f"the published U returns {maps.shape[2]} channels for these hidden "
                f"maps, but the codec has {channels}: it requires 80 mel bins and "
                "256 channels; use ConvUpsampler for other sizes"
            )
        return maps


def pad_hidden(
    hidden: tuple[torch.Tensor, ...], frames: int
) -> tuple[torch.Tensor, ...]:
    """Zero-pad maps (B, C', T', F') so that the layer table covers `frames`."""
    block3, block4, block5, block6 = hidden
    n = max(
        block6.shape[2],
        block5.shape[2],
        -(-(5 * block4.shape[2] - 13) // 9),
        -(-(5 * block3.shape[2] - 31) // 18),
        -(-(frames - 1254) // 756),
    )
    n += (3 - n) % 5
    sizes = ((18 * n + 31) // 5, (9 * n + 13) // 5, n, n)
    return tuple(
        F.pad(maps, (0, 0, 0, size - maps.shape[2]))
        for maps, size in zip(hidden, sizes, strict=True)
    )
