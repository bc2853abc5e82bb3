"""Random generators seeded by a key, independent of earlier draws.

With a generator seeded from (seed, epoch, clip, purpose), the draws do not depend on
resuming, on the order of clips or on the number of workers.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from speechbrain_lmac.utils.hashing import content_hash


def generator(*key: object) -> torch.Generator:
    """Return a torch generator on the CPU, seeded by a tuple of strings and numbers.

    Example
    -------
    >>> torch.rand(1, generator=generator(1234, 3, "1-100032-A-0", "mixup"))
    tensor([0.0131])
    >>> torch.rand(1, generator=generator(1234, 3, "1-100032-A-0", "mixup"))
    tensor([0.0131])
    """
    return torch.Generator().manual_seed(seed_of(*key))


def seed_of(*key: object) -> int:
    """Return a 63-bit seed from a tuple of strings and numbers, by their `repr`."""
    return int(content_hash(repr(key)), 16) >> 1


def uniform(low: float, high: float, draw: torch.Generator | None = None) -> float:
    """Return a random number from a range.

    Arguments
    ---------
    low, high : float
        The range [low, high).
    draw : torch.Generator, optional
        Default: torch's global generator of the CPU.

    Returns
    -------
    number : float
    """
    return low + (high - low) * torch.rand((), generator=draw).item()


def clip_key(clip: torch.Tensor) -> int:
    """Return a checksum (CRC-32) of the samples of a clip (N,), as part of a key."""
    return zlib.crc32(clip.detach().cpu().float().contiguous().numpy().data)


@contextmanager
def global_generators(seed: int, device: torch.device | str) -> Iterator[None]:
    """Seed the global generators of torch and NumPy; restore their states on exit.

    For third-party code without a generator argument.

    Arguments
    ---------
    seed : int
        From `seed_of`. NumPy is seeded with its lowest 32 bits.
    device : torch.device
        The generator of a GPU is seeded, too.

    Example
    -------
    >>> with global_generators(seed_of("noise", 1234), torch.device("cpu")):
    ...     torch.rand(1), round(float(np.random.rand()), 4)
    (tensor([0.6316]), 0.8853)
    """
    device = torch.device(device)
    before = np.random.get_state()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        # Not torch.manual_seed, which seeds every other GPU as well.
        torch.random.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            np.random.set_state(before)
