"""Random draws as functions of what they are for, not of what came before.

A generator seeded from (seed, epoch, clip, purpose) gives a resumed run, another
order or another number of workers the same draws as an undisturbed run.
"""

import hashlib

import torch


def generator(*key):
    """A torch generator on the CPU, seeded by a tuple of strings and numbers.

    Example
    -------
    >>> torch.rand(1, generator=generator(1234, 3, "1-100032-A-0", "mixup"))
    tensor([0.0131])
    >>> torch.rand(1, generator=generator(1234, 3, "1-100032-A-0", "mixup"))
    tensor([0.0131])
    """
    return torch.Generator().manual_seed(seed_of(*key))


def seed_of(*key):
    """A 63-bit seed from a tuple of strings and numbers."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
