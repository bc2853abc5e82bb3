"""SpeechBrain's decoder for CNN14 and mel masks, built from its layer table."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from speechbrain_lmac.interpreters.cnn14_stft import check_four_channels, pad_hidden
from speechbrain_lmac.types import Encoded

# (kernel, stride, padding) of the eight transposed convolutions, (time, frequency);
# docs/methods.md, decoder; speechbrain.lobes.models.Cnn14.CNN14PSI.
LAYERS = (
    ((3, 3), (2, 2), (1, 1)),
    ((3, 3), (2, 2), (1, 1)),
    ((7, 4), (2, 4), (1, 1)),
    ((5, 4), (2, 2), (1, 1)),
    ((3, 3), (2, 2), (1, 1)),
    ((3, 3), (2, 2), (1, 1)),
    ((4, 3), (2, 2), (0, 0)),
    ((3, 4), (2, 2), (0, 0)),
)
SURPLUS = 9  # output frames beyond 32 n, with n steps of the deepest map


class PublishedMelInterpreter(torch.nn.Module):
    """SpeechBrain's decoder from CNN14's hidden maps to a mask on 80 mel bins.

    Eight transposed convolutions with additive skips, ReLU after each but the last, a
    sigmoid at the end; 287.9 M parameters at the published width. SpeechBrain's L-MAC
    recipe does not use it; it is unknown which decoder was used for the mel rows of the
    papers' tables. Lengths are handled as in `PublishedInterpreter`.

    Arguments
    ---------
    hidden_channels : sequence of int
        Channels of CNN14's blocks 3, 4, 5, 6.
    width : int
        Channels of all layers but the last.
    """

    def __init__(
        self,
        hidden_channels: Sequence[int] = (256, 512, 1024, 2048),
        width: int = 2048,
    ) -> None:
        super().__init__()
        block3, block4, block5, block6 = check_four_channels(hidden_channels)
        # Input channels of each layer: those of a hidden map, or of the previous layer.
        inputs = (block6, block5, width, block4, width, block3, width, width)
        outputs = (*[width] * 7, 1)
        self.layers = torch.nn.ModuleList(
            torch.nn.ConvTranspose2d(n_in, n_out, kernel, stride, padding)
            for n_in, n_out, (kernel, stride, padding) in zip(
                inputs, outputs, LAYERS, strict=True
            )
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
            Maps (B, C', T', F') of CNN14's blocks 3, 4, 5, 6.
        encoded : Encoded
            With `rep` (B, T, 80); only its size is used.
        condition : optional
            Unused.

        Returns
        -------
        mask : torch.Tensor
            Shape (B, T, 80), in 0..1.

        Raises
        ------
        ValueError
            When the decoder returns a different number of bands than `rep` has.
        """
        frames, bins = encoded.rep.shape[1:]
        block3, block4, block5, block6 = pad_hidden(hidden, frames, SURPLUS)
        layers = self.layers
        maps = F.relu(layers[0](block6)) + F.relu(layers[1](block5))
        maps = F.relu(layers[2](maps)) + F.relu(layers[3](block4))
        maps = F.relu(layers[4](maps)) + F.relu(layers[5](block3))
        maps = layers[7](F.relu(layers[6](maps)))[:, 0, :frames].float()
        if maps.shape[2] != bins:
            raise ValueError(
                f"the published mel decoder returns {maps.shape[2]} bands for these "
                f"hidden maps, but the representation has {bins}: it requires 80 "
                "mel bins; use ConvInterpreter for other sizes"
            )
        return torch.sigmoid(maps)
