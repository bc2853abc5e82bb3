"""Random masks of all shapes and sizes: cells, blocks, bands and soft grids.

The masks that a judge is trained on: drawn without a look at the clip, they cannot
encode its class (EVAL-X, Jethani et al. 2021, arXiv 2103.01890).
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F

from speechbrain_lmac.types import Encoded
from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.seeding import generator, uniform

# Slope of a soft grid's sigmoid, per unit of its uniform values: from nearly flat to
# nearly binary.
SLOPES = (3.0, 60.0)


def cells(shape: tuple[int, int], share: float, draw: torch.Generator) -> torch.Tensor:
    """Return a binary mask of independent cells.

    Arguments
    ---------
    shape : (int, int)
        (T, F).
    share : float
        Probability of a cell to be 1.
    draw : torch.Generator

    Returns
    -------
    mask : torch.Tensor
        Shape (T, F), 0 or 1.
    """
    return (torch.rand(shape, generator=draw) < share).float()


def blocks(shape: tuple[int, int], share: float, draw: torch.Generator) -> torch.Tensor:
    """Return a binary mask of rectangular blocks, their sides drawn per mask.

    The sides are log-uniform from 1 to half of the mask's.

    Arguments and returns are those of `cells`: a mask (T, F).
    """
    sides = [_log_uniform(1, max(size / 2, 1), draw) for size in shape]
    return _tiled(shape, sides, share, draw)


def bands(shape: tuple[int, int], share: float, draw: torch.Generator) -> torch.Tensor:
    """Return a binary mask of bands that span all frames, or else all bins.

    Their width is log-uniform from 1 to a quarter of the axis.

    Arguments and returns are those of `cells`: a mask (T, F).
    """
    frames, bins = shape
    of_time = uniform(0, 1, draw) < 0.5
    width = _log_uniform(1, max((frames if of_time else bins) / 4, 1), draw)
    if of_time:
        return _tiled((frames, 1), (width, 1), share, draw).expand(shape)
    return _tiled((1, bins), (1, width), share, draw).expand(shape)


def soft_grid(
    shape: tuple[int, int], share: float, draw: torch.Generator
) -> torch.Tensor:
    """Return a smooth mask: a sigmoid of a random grid, bilinearly interpolated.

    The sides of the grid's cells are log-uniform from 1 to half of the mask's, and the
    mask is 0.5 at the quantile `1 - share` of the grid.

    Arguments and returns are those of `cells`: a mask (T, F), in (0, 1).
    """
    sides = [_log_uniform(1, max(size / 2, 1), draw) for size in shape]
    counts = [max(math.ceil(n / side), 2) for n, side in zip(shape, sides, strict=True)]
    grid = torch.rand(counts, generator=draw)
    place = int((1 - share) * (grid.numel() - 1))
    level = grid.flatten().kthvalue(place + 1).values
    slope = _log_uniform(*SLOPES, draw)
    values = F.interpolate(grid[None, None], shape, mode="bilinear")[0, 0]
    return torch.sigmoid(slope * (values - level))


Kind = Callable[[tuple[int, int], float, torch.Generator], torch.Tensor]
KINDS: Mapping[str, Kind] = {
    "cells": cells,
    "blocks": blocks,
    "bands": bands,
    "soft grids": soft_grid,
}


class RandomMasks:
    """A random mask for each clip: its kind, its size and its cells are drawn.

    The share of the mask is the square of a uniform number, or 1 minus it: explanations
    are small and rests are large.

    Arguments
    ---------
    kinds : sequence of str
        Of `KINDS`; each mask has one of them.

    Raises
    ------
    InputError
        For an unknown kind, or none.

    Example
    -------
    >>> encoded = Encoded(torch.zeros(2, 431, 513), None, 80000)
    >>> masks = RandomMasks()(encoded, [(1234, 1, "a"), (1234, 1, "b")])
    >>> masks.shape
    torch.Size([2, 431, 513])
    """

    def __init__(self, kinds: Sequence[str] = tuple(KINDS)) -> None:
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown or not kinds:
            raise InputError(
                f"random masks: kinds must be one or more of {some_of(KINDS)}, got "
                f"{some_of(unknown) or 'none'}"
            )
        self.kinds = tuple(kinds)

    def __call__(self, encoded: Encoded, keys: Sequence[tuple]) -> torch.Tensor:
        """Draw a mask for each clip.

        Arguments
        ---------
        encoded : Encoded
            Of B clips; only the shape is used.
        keys : sequence of tuple
            B keys of the draws (`seeding.generator`).

        Returns
        -------
        masks : torch.Tensor
            Shape (B, T, F), in 0..1.
        """
        _, frames, bins = encoded.rep.shape
        masks = [self.draw((frames, bins), key) for key in keys]
        return torch.stack(masks).to(encoded.rep)

    def draw(self, shape: tuple[int, int], key: tuple) -> torch.Tensor:
        """Draw one mask.

        Arguments
        ---------
        shape : (int, int)
            (T, F).
        key : tuple
            Of the draw.

        Returns
        -------
        mask : torch.Tensor
            Shape (T, F), in 0..1.
        """
        draw = generator("random mask of a judge", *key)
        kind = self.kinds[int(torch.randint(len(self.kinds), (), generator=draw))]
        share = uniform(0, 1, draw) ** 2
        mask = KINDS[kind](shape, share, draw)
        return 1 - mask if uniform(0, 1, draw) < 0.5 else mask


def _log_uniform(low: float, high: float, draw: torch.Generator) -> float:
    return math.exp(uniform(math.log(low), math.log(high), draw))


def _tiled(
    shape: tuple[int, int], sides: Sequence[float], share: float, draw: torch.Generator
) -> torch.Tensor:
    """Return a binary mask (T, F) of tiles of these sides, at a random offset."""
    counts = [math.ceil(n / side) + 1 for n, side in zip(shape, sides, strict=True)]
    grid = cells((counts[0], counts[1]), share, draw)
    rows, columns = (
        ((torch.arange(n) + uniform(0, side, draw)) / side).long().clamp(max=count - 1)
        for n, side, count in zip(shape, sides, counts, strict=True)
    )
    return grid[rows][:, columns]
