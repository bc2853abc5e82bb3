"""Padding and cropping of maps.

Scores of a mask use only the valid frames: a padded clip has the score of its mask
cropped to these frames.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F


def recordings(frames: torch.Tensor | None, maps: torch.Tensor) -> list[torch.Tensor]:
    """Return a batch of maps without its padding.

    Arguments
    ---------
    frames : torch.Tensor or None
        Valid frames of each item, (B,), see `types.Encoded`.
    maps : torch.Tensor
        Shape (B, T, F).

    Returns
    -------
    parts : list
        The whole batch if nothing is padded (frames None), else B maps (1, T', F).

    Example
    -------
    >>> parts = recordings(torch.tensor([1, 3]), torch.zeros(2, 3, 5))
    >>> [tuple(part.shape) for part in parts]
    [(1, 1, 5), (1, 3, 5)]
    """
    if frames is None:
        return [maps]
    return [maps[i : i + 1, :n] for i, n in enumerate(frames.tolist())]


def score_recordings(
    score: Callable[..., torch.Tensor],
    frames: torch.Tensor | None,
    *maps: torch.Tensor,
) -> torch.Tensor:
    """Return the score of each item of a batch, without its padding.

    Arguments
    ---------
    score : callable
        Returns the scores (B',) of maps (B', T', F).
    frames : torch.Tensor or None
        See `recordings`.
    *maps : torch.Tensor
        Shape (B, T, F) each.

    Returns
    -------
    scores : torch.Tensor
        Shape (B,).

    Example
    -------
    >>> mask = torch.tensor([[[1.0], [0.0], [0.0], [0.0]]])
    >>> score_recordings(lambda m: m.mean((1, 2)), torch.tensor([2]), mask)
    tensor([0.5000])
    """
    parts = zip(*(recordings(frames, m) for m in maps), strict=True)
    return torch.cat([score(*part) for part in parts])


def join_recordings(parts: Iterable[torch.Tensor], n_frames: int) -> torch.Tensor:
    """Invert `recordings`: pad parts (1, T', F) with zeros to (B, `n_frames`, F).

    Example
    -------
    >>> join_recordings([torch.ones(1, 1, 1), torch.ones(1, 2, 1)], 2).flatten(1)
    tensor([[1., 0.],
            [1., 1.]])
    """
    return torch.cat([F.pad(p, (0, 0, 0, n_frames - p.shape[1])) for p in parts])


def pad_frames(features: torch.Tensor, min_frames: int) -> torch.Tensor:
    """Pad features with silent frames to at least `min_frames`.

    Arguments
    ---------
    features : torch.Tensor
        log1p-compressed features (B, T, F): silence is 0.
    min_frames : int
        Minimum number of frames of the classifier.

    Returns
    -------
    features : torch.Tensor
        Shape (B, max(T, min_frames), F).

    Example
    -------
    >>> import torch
    >>> pad_frames(torch.ones(1, 3, 2), 5).sum(2)
    tensor([[2., 2., 2., 0., 0.]])
    """
    missing = min_frames - features.shape[1]
    return F.pad(features, (0, 0, 0, missing)) if missing > 0 else features


def zero_after(maps: torch.Tensor, lengths: torch.Tensor, dim: int = 1) -> torch.Tensor:
    """Return a batch with zeros after the length of each item.

    The replaced values (also NaN and infinity) have no effect and get no gradient.

    Arguments
    ---------
    maps : torch.Tensor
        Shape (B, ...).
    lengths : torch.Tensor
        Shape (B,).
    dim : int
        Axis of the lengths, at least 1.

    Returns
    -------
    maps : torch.Tensor
        Shape (B, ...).

    Example
    -------
    >>> zero_after(torch.ones(2, 3), torch.tensor([1, 3]))
    tensor([[1., 0., 0.],
            [1., 1., 1.]])
    """
    steps = torch.arange(maps.shape[dim], device=maps.device)
    padding = steps >= lengths.to(maps.device)[:, None]
    shape = [1] * maps.dim()
    shape[0], shape[dim] = padding.shape
    return maps.masked_fill(padding.view(shape), 0.0)


def fit_map(maps: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Fit a map to a size: crop its end, or repeat its last row and column.

    Every step keeps its position: a map is never stretched.

    Arguments
    ---------
    maps : torch.Tensor
        Shape (B, C, T, F).
    size : sequence of int
        (T', F').

    Returns
    -------
    maps : torch.Tensor
        Shape (B, C, T', F').

    Example
    -------
    >>> import torch
    >>> fit_map(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), (3, 1)).flatten()
    tensor([1., 3., 3.])
    """
    frames, bins = size
    maps = maps[..., :frames, :bins]
    # Not F.pad: torch.compile (2.11) assumes a wrong layout of its gradient.
    if maps.shape[2] < frames:
        last = maps[:, :, -1:].expand(-1, -1, frames - maps.shape[2], -1)
        maps = torch.cat([maps, last], 2)
    if maps.shape[3] < bins:
        last = maps[..., -1:].expand(-1, -1, -1, bins - maps.shape[3])
        maps = torch.cat([maps, last], 3)
    return maps


def repeat_or_cut(values: torch.Tensor, length: int, dim: int = 0) -> torch.Tensor:
    """Return values of another length along an axis, repeated from their start.

    Arguments
    ---------
    values : torch.Tensor
        Any shape, not empty along `dim`.
    length : int
        Wanted length along `dim`.
    dim : int
        The axis.

    Returns
    -------
    values : torch.Tensor
        The same shape but for `length` along `dim`.

    Example
    -------
    >>> repeat_or_cut(torch.tensor([[0.1], [0.2]]), 3).flatten()
    tensor([0.1000, 0.2000, 0.1000])
    """
    repeats = [1] * values.ndim
    repeats[dim] = -(-length // values.shape[dim])
    return values.repeat(repeats).narrow(dim, 0, length)
