"""Random draws as functions of what they are for, not of what came before.

A generator seeded from (seed, epoch, clip, purpose) gives a resumed run, another
order or another number of workers the same draws as an undisturbed run.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from speechbrain_lmac.utils.hashing import content_hash


def generator(*key) -> torch.Generator:
    """A torch generator on the CPU, seeded by a tuple of strings and numbers.

    Example
    -------
    >>> torch.rand(1, generator=generator(1234, 3, "1-100032-A-0", "mixup"))
    tensor([0.0131])
    >>> torch.rand(1, generator=generator(1234, 3, "1-100032-A-0", "mixup"))
    tensor([0.0131])
    """
    return torch.Generator().manual_seed(seed_of(*key))


def seed_of(*key) -> int:
    """A 63-bit seed from a tuple of strings and numbers."""
    return int(content_hash(repr(key)), 16) >> 1


def uniform(low: float, high: float, draw: torch.Generator | None = None) -> float:
    """One number between two, drawn from a generator, by default torch's global one."""
    return low + (high - low) * torch.rand((), generator=draw).item()


def clip_key(clip: torch.Tensor) -> int:
    """What a draw for one clip (N,) depends on: a checksum of its samples."""
    return zlib.crc32(clip.detach().cpu().float().contiguous().numpy())


@contextmanager
def global_generators(seed: int, device: torch.device) -> Iterator[None]:
    """The global generators of torch and NumPy seeded, and afterwards as before.

    For others' code that takes no generator of its own.

    Arguments
    ---------
    seed : int
        From `seed_of`. NumPy takes its lowest 32 bits.
    device : torch.device
        A GPU has a generator of its own, which is then seeded, too.

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
