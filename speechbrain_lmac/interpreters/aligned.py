"""A decoder for hidden maps of any shape, aligned in time and frequency."""

import math
from functools import reduce

import torch
import torch.nn.functional as F

from speechbrain_lmac.classifiers.frozen import Frozen
from speechbrain_lmac.classifiers.layouts import Places, evenly
from speechbrain_lmac.classifiers.waveform import MapGrid
from speechbrain_lmac.interpreters.conv import double, normalised_conv
from speechbrain_lmac.types import Encoded, MaskDomain
from speechbrain_lmac.utils.errors import check_counts


class AlignedInterpreter(torch.nn.Module):
    """L-MAC's decoder for a classifier whose hidden maps have no common grid.

    Every hidden map is resampled in time to a coarse grid. Its step k covers the mask's
    frames k s to (k + 1) s - 1 with s = 2^doublings, and is centred on the sample
    (k s + (s - 1) / 2) hop. Maps are interpolated linearly at these centres
    (`MapGrid.steps`); maps finer than the grid are averaged over each coarse step. A
    map with a frequency axis is resampled to the grid's bands in the same way; a map
    without one (F' = 1: layers of waveform models) is projected by a separate 1x1
    convolution per band, since frequency is encoded in its channels.

    The batch-normalised maps are summed. The rest is as in `ConvInterpreter`: 3x3
    convolution, batch norm, ReLU and upsampling by 2, until the frames and bands of the
    mask are reached. The channels and bands of each map are determined by running the
    classifier once on one second of silence.

    Arguments
    ---------
    classifier : Frozen
        Must have `hidden_grids`. It is not stored.
    domain : MaskDomain
        The domain of the mask, which defines hop, bands and bins: STFT or mel.
    width : int
        Channels on the coarse grid.
    head_width : int
        Channels at the resolution of the mask.
    doublings : int
        Number of upsamplings by 2: a step of the coarse grid covers 2^doublings frames
        and as many bands.
    """

    def __init__(
        self,
        classifier: Frozen,
        domain: MaskDomain,
        width: int = 32,
        head_width: int = 12,
        doublings: int = 3,
    ):
        super().__init__()
        check_counts(width=width, head_width=head_width, doublings=doublings)
        self.stride = 2**doublings
        self.hop_length = domain.hop_length
        self.n_bands = domain.n_mels
        self.from_bands = domain.from_bands
        self.grids = classifier.hidden_grids()
        # Centres of the coarse bands, as fractions of the frequency axis.
        n_coarse = -(-self.n_bands // self.stride)
        bands = (torch.arange(n_coarse) + 0.5) * self.stride / self.n_bands
        self.laterals = torch.nn.ModuleList(
            BandwiseProjection(grid, width, n_coarse)
            if grid.n_bands == 1
            else ResampledProjection(grid, width, bands)
            for grid in self.grids
        )
        self.strides = [2**level for level in reversed(range(doublings))]
        widths = [width] * doublings + [head_width]
        self.merges = torch.nn.ModuleList(
            normalised_conv(*sizes) for sizes in zip(widths, widths[1:], strict=False)
        )
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
            With `rep` (B, T, F) for any T; only the sizes are used.
        condition : optional
            Unused.

        Returns
        -------
        mask : torch.Tensor
            Shape (B, T, F), in 0..1.
        """
        frames = encoded.rep.shape[1]
        n_coarse = -(-frames // self.stride)
        extent = self.stride * self.hop_length  # of a coarse step, in samples
        centres = extent * torch.arange(n_coarse) + (extent - self.hop_length) / 2
        terms = (
            lateral(
                resample(
                    each,
                    grid.steps or evenly(encoded.length, each.shape[2]),
                    centres,
                    extent,
                    dim=2,
                )
            )
            for lateral, grid, each in zip(
                self.laterals, self.grids, hidden, strict=True
            )
        )
        maps = F.relu(reduce(torch.add, terms))
        for merge, stride in zip(self.merges, self.strides, strict=True):
            size = (-(-frames // stride), -(-self.n_bands // stride))
            maps = double(merge(maps), size)
        maps = self.head(maps)
        return torch.sigmoid(self.from_bands(maps[:, 0].float()))


class ResampledProjection(torch.nn.Module):
    """Project a map with a frequency axis and resample it to the coarse bands.

    Arguments
    ---------
    grid : MapGrid
        Grid of the hidden map.
    width : int
        Output channels.
    bands : torch.Tensor
        Centres of the K coarse bands, as fractions of the frequency axis, shape (K,).
    """

    def __init__(self, grid: MapGrid, width: int, bands: torch.Tensor) -> None:
        super().__init__()
        self.places = grid.bands
        self.bands = bands
        self.project = normalised_projection(grid.channels, width)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return maps (B, width, T, K) for hidden maps (B, C, T, F')."""
        extent = 1 / len(self.bands)
        return resample(self.project(maps), self.places, self.bands, extent, dim=3)


class BandwiseProjection(torch.nn.Module):
    """Project a map without a frequency axis, by a 1x1 convolution for each band.

    Arguments
    ---------
    grid : MapGrid
        Grid of the hidden map.
    width : int
        Output channels.
    n_coarse : int
        Number of coarse bands K.
    """

    def __init__(self, grid: MapGrid, width: int, n_coarse: int) -> None:
        super().__init__()
        self.sizes = (width, n_coarse)
        self.project = normalised_projection(grid.channels, width * n_coarse)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return maps (B, width, T, K) for hidden maps (B, C, T, 1)."""
        bands = self.project(maps)  # (B, width * n_coarse, T, 1)
        return bands.unflatten(1, self.sizes).squeeze(4).transpose(2, 3)


def normalised_projection(channels_in: int, channels_out: int) -> torch.nn.Sequential:
    """Return a 1x1 convolution and a batch norm.

    Without the norm, the layers with the largest activations would dominate the sum:
    magnitudes differ between layers by orders of magnitude.
    """
    return torch.nn.Sequential(
        torch.nn.Conv2d(channels_in, channels_out, 1, bias=False),
        torch.nn.BatchNorm2d(channels_out),
    )


def resample(
    maps: torch.Tensor, places: Places, centres: torch.Tensor, extent: float, dim: int
) -> torch.Tensor:
    """Resample a map to the steps of a target grid, along one axis.

    By linear interpolation, or by the mean over `extent` where the map is finer.

    Arguments
    ---------
    maps : torch.Tensor
        Shape (B, C, T', F').
    places : Places
        Positions of the steps of the map.
    centres : torch.Tensor
        Centres of the steps of the target grid, (K,), in the unit of `places`.
    extent : float
        Length of a target step, in the same unit.
    dim : int
        The axis to resample, 2 or 3; its size becomes K.

    Returns
    -------
    maps : torch.Tensor
        Shape of `maps`, but K along `dim`.

    Example
    -------
    The map's steps lie at 0, 1, 2, 3. Steps of length 2 average two of them, steps of
    length 1 take the value at their centre.

    >>> from speechbrain_lmac.classifiers.layouts import Places
    >>> maps = torch.tensor([0.0, 10.0, 20.0, 30.0]).view(1, 1, 4, 1)
    >>> places = Places(0.0, 1.0)
    >>> resample(maps, places, torch.tensor([0.5, 2.5]), 2.0, dim=2).flatten()
    tensor([ 5., 25.])
    >>> resample(maps, places, torch.tensor([0.5, 2.0]), 1.0, dim=2).flatten()
    tensor([ 5., 20.])
    """
    n_points = math.ceil(extent / places.hop)
    offsets = extent * ((torch.arange(n_points) + 0.5) / n_points - 0.5)
    points = (centres[:, None] + offsets).flatten()
    steps = places.steps_at(points, maps.shape[dim])
    below = steps.floor().long()
    above = (below + 1).clamp(max=maps.shape[dim] - 1)
    share = (steps - below).to(maps)
    share = share.view([-1 if axis == dim else 1 for axis in range(maps.dim())])
    below, above = (
        maps.index_select(dim, index.to(maps.device)) for index in (below, above)
    )
    values = below + share * (above - below)
    return values.unflatten(dim, (-1, n_points)).mean(dim + 1)
