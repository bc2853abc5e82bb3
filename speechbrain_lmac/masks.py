"""Bringing maps to a size: silence at the end, cropping, repeating an edge."""

import torch.nn.functional as F


def pad_frames(features, min_frames):
    """Append silent frames until there are at least `min_frames`.

    Arguments
    ---------
    features : torch.Tensor
        log1p-compressed features (B, T, F): silence is 0.
    min_frames : int
        What the classifier needs at least.

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


def fit_map(maps, size):
    """Crop a map at its end, or repeat its last row and column, to a size.

    Every step of a map keeps its place: a map is never stretched.

    Arguments
    ---------
    maps : torch.Tensor
        Shape (B, C, T, F).
    size : tuple
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
    missing = (0, bins - maps.shape[3], 0, frames - maps.shape[2])
    return F.pad(maps, missing, mode="replicate") if any(missing) else maps
