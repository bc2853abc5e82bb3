"""LMAC-TD's mask network, on the encoded waveform and the classifier's hidden maps."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from speechbrain.lobes.models.dual_path import Dual_Path_Model

from speechbrain_lmac.interpreters.conv import ConvTrunk
from speechbrain_lmac.interpreters.transformer import TransformerBlock
from speechbrain_lmac.types import Encoded
from speechbrain_lmac.utils.errors import InputError, check_arguments, check_counts


class MaskNet(torch.nn.Module):
    """SepFormer's dual-path network for one source, with a sigmoid output.

    The frames are cut into chunks that overlap by half; intra-chunk and inter-chunk
    transformers alternate (`speechbrain.lobes.models.dual_path`), with norm "ln", a
    skip connection around the intra-chunk one, and no linear layer after either.
    SpeechBrain's network ends with a ReLU instead: its masks are unbounded, and 1 -
    mask can be negative.

    Arguments
    ---------
    n_channels : int
        Number of channels F of the representation.
    width : int
        Inner channels. Published: 256, equal to F.
    frames_per_step : int
        Number of frames concatenated into one step of the network. Published: 1. With
        4, time and memory are a quarter.
    chunk : int
        Chunk length in steps, even. Published: 250.
    n_blocks : int
        Number of pairs of transformers. Published: 2.
    intra_layers, inter_layers : int
        Layers of the intra-chunk and inter-chunk transformers. Published: 8 and 2.
    block : callable
        Maps (layers, width) to a transformer: `TransformerBlock` or
        `CheckpointedTransformerBlock`.

    Raises
    ------
    InputError
        When `chunk` is odd or below 2, or `frames_per_step` below 1.
    """

    def __init__(
        self,
        n_channels: int,
        width: int,
        frames_per_step: int = 1,
        chunk: int = 250,
        n_blocks: int = 2,
        intra_layers: int = 8,
        inter_layers: int = 2,
        block: Callable[[int, int], torch.nn.Module] = TransformerBlock,
    ) -> None:
        super().__init__()
        check_arguments(block)
        if chunk < 2 or chunk % 2:
            raise InputError(
                f"chunk must be an even number of steps, at least 2, got {chunk}: "
                "chunks overlap by half"
            )
        check_counts(frames_per_step=frames_per_step)
        self.frames_per_step = frames_per_step
        self.net = Dual_Path_Model(
            in_channels=n_channels * frames_per_step,
            out_channels=width,
            intra_model=block(intra_layers, width),
            inter_model=block(inter_layers, width),
            num_layers=n_blocks,
            norm="ln",
            K=chunk,
            num_spks=1,
            skip_around_intra=True,
            linear_layer_after_inter_intra=False,
        )
        # The sigmoid is applied later, in float32: bfloat16 rounds 0.999 to 1.
        self.net.activation = torch.nn.Identity()

    def forward(self, rep: torch.Tensor) -> torch.Tensor:
        """Return the mask before its sigmoid, (B, T, F), float32, for rep (B, T, F)."""
        frames, channels = rep.shape[1:]
        missing = -frames % self.frames_per_step
        steps = F.pad(rep, (0, 0, 0, missing))
        steps = steps.unflatten(1, (-1, self.frames_per_step)).flatten(2)
        mask = self.net(steps.transpose(1, 2))[0].transpose(1, 2).float()
        mask = mask.unflatten(2, (self.frames_per_step, channels)).flatten(1, 2)
        return mask[:, :frames]


class MaskNetInterpreter(torch.nn.Module):
    """The interpreter of LMAC-TD (arXiv 2409.08655).

    mask = sigmoid(MaskNet((1 - alpha) E(x) + alpha U(h))). With alpha = 1 the mask
    depends only on the classifier's hidden maps h, with alpha = 0 only on the encoded
    waveform E(x): the classifier then enters through the loss alone, and U is not
    built. The mask multiplies E(x) for any alpha.

    Arguments
    ---------
    mask_net : MaskNet
    upsampler : callable
        Builds U, which maps hidden maps to (B, T, F): `ConvUpsampler` or
        `PublishedUpsampler`, by `!name:`. Not called with alpha = 0.
    alpha : float
        0 to 1. Published: 1, 0.75, 0.

    Raises
    ------
    InputError
        When alpha is outside 0 to 1.
    """

    def __init__(
        self,
        mask_net: torch.nn.Module,
        upsampler: Callable[[], torch.nn.Module],
        alpha: float,
    ) -> None:
        super().__init__()
        check_arguments(upsampler)
        if not 0 <= alpha <= 1:
            raise InputError(f"alpha must be from 0 to 1, got {alpha}")
        self.alpha = alpha
        self.mask_net = mask_net
        self.upsampler = upsampler() if alpha > 0 else None

    def forward(
        self,
        hidden: tuple[torch.Tensor, ...] | None,
        encoded: Encoded,
        condition: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Compute the mask of an encoded waveform.

        Arguments
        ---------
        hidden : tuple of torch.Tensor or None
            Maps (B, C', T', F') of the classifier, the shallowest first; unused with
            alpha = 0.
        encoded : Encoded
            With `rep` (B, T, F).
        condition : optional
            Unused.

        Returns
        -------
        mask : torch.Tensor
            Shape (B, T, F), in 0..1.
        """
        mixed = (1 - self.alpha) * encoded.rep
        if self.upsampler is not None:
            mixed = mixed + self.alpha * self.upsampler(hidden, encoded)
        return torch.sigmoid(self.mask_net(mixed))


class ConvUpsampler(ConvTrunk):
    """U for hidden maps of any length, aligned in time with the codec's frames.

    The maps are upsampled to the frames of the classifier's input as in
    `ConvInterpreter`. A linear layer over all channels and bands of a frame then gives
    F channels. Frame t of the codec is centred on sample t * stride, frame j of the
    STFT on sample j * hop: the former are interpolated linearly from the latter. (The
    published U is cropped to the codec's length instead, and lags by about 0.3 s; see
    `PublishedUpsampler`.)

    Arguments
    ---------
    hidden_channels, widths, head_width, n_bands, strides
        As `ConvTrunk`.
    n_channels : int
        Number of channels F of the codec.
    sample_rate : int
        In Hz.
    hop_length_ms : float
        Hop of the classifier's STFT in ms; rounded to samples as in the STFT.
    kernel_size : int
        Kernel size of the codec in samples; its stride is half of it.
    """

    def __init__(
        self,
        hidden_channels: Sequence[int | None],
        widths: Sequence[int],
        head_width: int,
        n_bands: int,
        n_channels: int,
        sample_rate: int,
        hop_length_ms: float,
        kernel_size: int,
        strides: Sequence[int] | None = None,
    ) -> None:
        super().__init__(hidden_channels, widths, head_width, n_bands, strides)
        self.hop = round(sample_rate / 1000 * hop_length_ms)
        self.stride = kernel_size // 2
        self.head = torch.nn.Linear(head_width * n_bands, n_channels)

    def forward(
        self, hidden: tuple[torch.Tensor, ...], encoded: Encoded
    ) -> torch.Tensor:
        """Upsample hidden maps (B, C', T', F') to the size of `rep`, (B, T, F)."""
        maps = self.maps(hidden, encoded.length // self.hop + 1)
        frames = self.head(maps.transpose(1, 2).flatten(2)).float()
        return interpolate_at(frames, encoded.rep.shape[1], self.stride / self.hop)


def interpolate_at(frames: torch.Tensor, length: int, step: float) -> torch.Tensor:
    """Interpolate frames linearly at positions 0, step, 2 step, ...

    Arguments
    ---------
    frames : torch.Tensor
        Shape (B, T', F).
    length : int
        Number of positions T.
    step : float
        Distance between positions, in frames. Beyond the end, the last frame is
        repeated.

    Returns
    -------
    frames : torch.Tensor
        Shape (B, T, F).

    Example
    -------
    >>> interpolate_at(torch.tensor([[[0.0], [4.0]]]), length=6, step=0.25).flatten()
    tensor([0., 1., 2., 3., 4., 4.])
    """
    last = frames.shape[1] - 1
    position = torch.arange(length, device=frames.device, dtype=torch.float64) * step
    position = position.clamp(max=last)
    below = position.long()
    weight = (position - below).to(frames.dtype)[:, None]
    above = (below + 1).clamp(max=last)
    return frames[:, below] * (1 - weight) + frames[:, above] * weight
