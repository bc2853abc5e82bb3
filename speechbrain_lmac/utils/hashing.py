"""Hashes of objects, weights, files and strings, as hexadecimal digits."""

import functools
import hashlib
import inspect
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechbrain_lmac.utils.old_names import recorded_name

if TYPE_CHECKING:
    import torch


def fingerprint_of(*things: Any) -> str:
    """Return a hash of objects by their classes, settings and weights.

    Two explainers that a YAML builds with the same settings around the same weights
    have the same fingerprint, in any process. Attributes that begin with an underscore
    are caches by convention and are not hashed; nor is the code itself.

    Arguments
    ---------
    *things : object
        Scalars, containers, tensors of any shape, modules, functions, and plain
        objects, which are hashed by their class and attributes.

    Returns
    -------
    fingerprint : str
        16 hexadecimal digits.

    Example
    -------
    >>> fingerprint_of([1, "a"]) == fingerprint_of((1, "a"))
    True
    >>> import torch
    >>> fingerprint_of(torch.nn.ReLU()) == fingerprint_of(torch.nn.GELU())
    False
    """
    digest = _digest()
    for thing in things:
        _update(digest, thing, seen=())
    return digest.hexdigest()


def weights_hash(*modules: "torch.nn.Module") -> str:
    """Return a hash of the weights of modules: names, shapes, types and values.

    Arguments
    ---------
    *modules : torch.nn.Module
        Only their `state_dict` is hashed, not their device, class or settings.

    Returns
    -------
    fingerprint : str
        16 hexadecimal digits.

    Example
    -------
    >>> import torch
    >>> first, second = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    >>> weights_hash(first) == weights_hash(second)
    False
    >>> _ = second.load_state_dict(first.state_dict())
    >>> weights_hash(first) == weights_hash(second)
    True
    """
    return fingerprint_of(*(dict(module.state_dict()) for module in modules))


def file_hash(path: Path | str, n_bytes: int = 8, kind: str = "blake2b") -> str:
    """Return the `content_hash` of a file.

    Arguments
    ---------
    path : str or Path
    n_bytes, kind
        As in `content_hash`.

    Returns
    -------
    digits : str
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: _digest(n_bytes, kind)).hexdigest()


def content_hash(*parts: str | bytes, n_bytes: int = 8, kind: str = "blake2b") -> str:
    """Return a hash of the concatenation of strings and bytes.

    Arguments
    ---------
    *parts : str or bytes
        Strings are encoded in UTF-8.
    n_bytes : int
        Length of a blake2b hash, 1 to 64; each byte is two digits. A shorter hash is
        not a prefix of a longer one.
    kind : str
        "blake2b", or, where an external format requires it, "sha256", "sha1" or "md5".

    Returns
    -------
    digits : str

    Example
    -------
    >>> content_hash("dog"), content_hash("do", b"g", n_bytes=4)
    ('3984c7c1d25e9c9f', 'f73e71a0')
    """
    digest = _digest(n_bytes, kind)
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()


def json_hash(content: Any, n_bytes: int = 16) -> str:
    """Return a hash of a JSON value that does not depend on the order of keys.

    Example
    -------
    >>> json_hash({"a": 1, "b": 2}) == json_hash({"b": 2, "a": 1})
    True
    """
    return content_hash(json.dumps(content, sort_keys=True), n_bytes=n_bytes)


def _digest(
    n_bytes: int = 8, kind: str = "blake2b"
) -> "hashlib._Hash | hashlib.blake2b":
    if kind == "blake2b":
        return hashlib.blake2b(digest_size=n_bytes)
    return hashlib.new(kind)


def _update(
    digest: "hashlib._Hash | hashlib.blake2b", thing: Any, seen: tuple[Any, ...]
) -> None:
    """Hash one object; `seen` are its containers, to detect reference cycles."""
    import numpy as np  # with torch: seconds, not needed to hash files
    import torch

    if any(thing is outer for outer in seen):
        return
    seen = (*seen, thing)
    if thing is None or isinstance(thing, (bool, int, float, complex, str, bytes)):
        digest.update(repr(thing).encode())
    elif isinstance(thing, (torch.dtype, torch.device)):
        digest.update(str(thing).encode())
    elif isinstance(thing, (set, frozenset)):
        _update(digest, sorted(map(repr, thing)), seen)
    elif isinstance(thing, os.PathLike):
        digest.update(repr(os.fspath(thing)).encode())
    elif isinstance(thing, (torch.Tensor, np.ndarray)):
        array = thing.detach().cpu() if torch.is_tensor(thing) else thing
        array = np.ascontiguousarray(array)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.tobytes())
    elif isinstance(thing, dict):
        for key, value in thing.items():
            digest.update(repr(key).encode())
            _update(digest, value, seen)
    elif isinstance(thing, (list, tuple)):
        digest.update(f"[{len(thing)}]".encode())
        for value in thing:
            _update(digest, value, seen)
    elif isinstance(thing, functools.partial):
        _update(digest, (thing.func, thing.args, thing.keywords), seen)
    elif inspect.isroutine(thing) or inspect.isclass(thing):
        name = recorded_name(f"{thing.__module__}.{thing.__qualname__}")
        digest.update(name.encode())
    elif isinstance(thing, torch.nn.Module):
        for name, module in thing.named_modules():
            _update(digest, (name, type(module), _settings(module)), seen)
        _update(digest, dict(thing.named_parameters()), seen)
        _update(digest, dict(thing.named_buffers()), seen)
    else:
        _update(digest, (type(thing), _settings(thing)), seen)


def _settings(thing: Any) -> dict[str, Any]:
    """Return the hashed attributes. A module's parts are in `_modules` etc."""
    return {
        name: value
        for name, value in vars(thing).items()
        if not name.startswith("_") and name != "training"
    }
