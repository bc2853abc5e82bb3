"""Limits on what the construction and the first call of somebody else's model allocate.

Each operation is computed on the meta device first, which has shapes and no memory.
"""

from contextlib import ExitStack

import torch
from torch.nn.modules import module as hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

from speechbrain_lmac.errors import InputError

MOST_PARTS = 20_000  # parameters, buffers and layers of a model
PARAMETERS_PER_BYTE = 4  # of the weight files: they may be in half precision, or shared
PARAMETERS_AT_LEAST = 2**24  # bytes
LARGEST_CONSTRUCTION = 2**28  # bytes beyond that, of filter banks and what is temporary
LARGEST_CALL = 2**30  # bytes, of all results of a call on half a second


class Bounded(TorchDispatchMode):
    """A context in which the results of all operations have at most so many bytes.

    Memory that is freed counts, too. What would be too large is not computed.

    Arguments
    ---------
    most : int
        Bytes.
    what : str
        That is limited, for the error.

    Raises
    ------
    InputError
        By the operation that goes beyond.

    Example
    -------
    >>> with Bounded(1000, "this"):
    ...     _ = torch.zeros(10**6, 10**6)
    Traceback (most recent call last):
    ...
    speechbrain_lmac.errors.InputError: this needs more than 0 MiB of memory
    """

    def __init__(self, most, what):
        super().__init__()
        self.most = most
        self.left = most
        self.what = what

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        # What writes into its arguments, or looks at them, allocates nothing.
        if any(argument.alias_info for argument in func._schema.arguments):
            return func(*args, **kwargs)
        self.spend(_on_meta(func, args, kwargs))
        return func(*args, **kwargs)

    def spend(self, results):
        """Count the bytes of tensors."""
        self.left -= sum(map(_bytes, filter(torch.is_tensor, tree_iter(results))))
        if self.left < 0:
            raise InputError(
                f"{self.what} needs more than {self.most // 2**20:,} MiB of memory"
            )


class BoundedConstruction:
    """A context in which modules are built whose parameters the weight files can hold.

    Arguments
    ---------
    declared : int
        Bytes of the weight files.

    Raises
    ------
    InputError
        By the parameter or the layer that goes beyond.
    """

    def __init__(self, declared):
        self.declared = declared
        self.most = PARAMETERS_PER_BYTE * declared + PARAMETERS_AT_LEAST
        self.left = self.most
        self.parts = 0
        self.stack = ExitStack()

    def __enter__(self):
        for register in (
            hooks.register_module_parameter_registration_hook,
            hooks.register_module_buffer_registration_hook,
            hooks.register_module_module_registration_hook,
        ):
            self.stack.enter_context(register(self.count))
        what = "a part of the model"
        self.stack.enter_context(Bounded(self.most + LARGEST_CONSTRUCTION, what))
        return self

    def __exit__(self, *error):
        return self.stack.__exit__(*error)

    def count(self, module, name, part):
        """Count a parameter, a buffer or a layer that is put into a module."""
        self.parts += 1
        if self.parts > MOST_PARTS:
            raise InputError(
                f"the model has more than {MOST_PARTS:,} layers and weights"
            )
        if isinstance(part, torch.nn.Parameter):
            self.left -= _bytes(part)
        if self.left < 0:
            raise InputError(
                f"the model asks for more than {self.most:,} bytes of parameters, but "
                f"its weight files have {self.declared:,} bytes"
            )


def _bytes(tensor):
    """Bytes of the elements of a tensor."""
    return tensor.numel() * tensor.element_size()


def _on_meta(func, args, kwargs):
    """The results of an operation, as tensors without memory."""

    def to_meta(value):
        if torch.is_tensor(value):
            return value.to("meta")
        if isinstance(value, torch.device):
            return torch.device("meta")
        return None if isinstance(value, torch.Generator) else value

    args, kwargs = tree_map(to_meta, (args, kwargs))
    if "device" in kwargs:
        kwargs["device"] = torch.device("meta")
    try:
        return func(*args, **kwargs)
    except (RuntimeError, NotImplementedError):
        return ()  # the shape depends on values, or the operation fails anyway
