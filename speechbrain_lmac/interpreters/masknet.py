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
    """SepFormer's dual-path network for one source, with a sigmoid at its end.

    The frames are cut into chunks that overlap by half; transformers run within the
    chunks and across them in turn (`speechbrain.lobes.models.dual_path`). Norm "ln",
    a skip around the inner one, no linear layer after either. SpeechBrain's network
    ends with a ReLU, which leaves masks unbounded and 1 - mask negative.

    Arguments
    ---------
    n_channels : int
        F, of the representation.
    width : int
        Inner channels. Published: 256, as many as F.
    frames_per_step : int
        Frames that are one step of the network, concatenated. 1, as published: every
        frame is a step. With 4, a quarter of the time and memory.
    chunk : int
        Steps of a chunk, even. Published: 250.
    n_blocks : int
        Pairs of transformers. Published: 2.
    intra_layers, inter_layers : int
        Layers of the transformers within chunks and across them. Published: 8 and 2.
    block : callable
        (layers, width) to a transformer: `TransformerBlock` or
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
                f"chunk must be an even number of steps from 2, got {chunk}: chunks "
                "overlap by half"
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
        # The sigmoid comes later, in float32: a mask of 0.999 is 1 in bfloat16.
        self.net.activation = torch.nn.Identity()

    def forward(self, rep: torch.Tensor) -> torch.Tensor:
        """Return the mask before its sigmoid, (B, T, F), float32, of rep (B, T, F)."""
        frames, channels = rep.shape[1:]
        missing = -frames % self.frames_per_step
        steps = F.pad(rep, (0, 0, 0, missing))
        steps = steps.unflatten(1, (-1, self.frames_per_step)).flatten(2)
        mask = self.net(steps.transpose(1, 2))[0].transpose(1, 2).float()
        mask = mask.unflatten(2, (self.frames_per_step, channels)).flatten(1, 2)
        return mask[:, :frames]


class MaskNetInterpreter(torch.nn.Module):
    """The interpreter of LMAC-TD (arXiv 2409.08655).

    mask = sigmoid(MaskNet((1 - alpha) E(x) + alpha U(h))): with alpha = 1 the mask
    depends on the classifier's hidden maps h alone, with alpha = 0 on the encoded
    waveform E(x) alone; then only the loss depends on the classifier, and U is not
    built. The mask multiplies E(x), whatever alpha is.

    Arguments
    ---------
    mask_net : MaskNet
    upsampler : callable
        () to U, from hidden maps to (B, T, F): `ConvUpsampler` or
        `PublishedUpsampler`, by `!name:`. Not called with alpha = 0.
    alpha : float
        0 to 1. Published: 1, 0.75, 0.

    Raises
    ------
    InputError
        When alpha is not from 0 to 1.
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
            raise InputError(f"alpha must be 0 to 1, got {alpha}")
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
    """U from hidden maps of any length, in time with the codec's frames.

    The maps are upsampled to the frames of the classifier's input as in
    `ConvInterpreter`, each event in its place. There a linear map of all channels and
    bands gives F channels. Frame t of the codec is centred on sample t * stride, frame
    j of the STFT on sample j * hop: the former are interpolated linearly from the
    latter. (The published U is cropped to the codec's length instead, and runs some
    0.3 s late; see `PublishedUpsampler`.)

    Arguments
    ---------
    hidden_channels, widths, head_width, n_bands, strides
        As `ConvTrunk`.
    n_channels : int
        F.
    sample_rate : int
        In Hz.
    hop_length_ms : float
        Of the classifier's STFT; rounded to samples as there.
    kernel_size : int
        Of the codec, in samples; its stride is half of it.
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
    """Interpolate frames linearly at the places 0, step, 2 step, ...

    Arguments
    ---------
    frames : torch.Tensor
        Shape (B, T', F).
    length : int
        T, the number of places.
    step : float
        Between places, in frames. Beyond the last frame it is repeated.

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
    place = torch.arange(length, device=frames.device, dtype=torch.float64) * step
    place = place.clamp(max=last)
    below = place.long()
    weight = (place - below).to(frames.dtype)[:, None]
    above = (below + 1).clamp(max=last)
    return frames[:, below] * (1 - weight) + frames[:, above] * weight
