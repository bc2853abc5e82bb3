"""Memory limits for building and first calling an untrusted model.

An operation whose results may be large is first computed on the meta device, which
computes shapes without memory.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch._ops import OpOverload
from torch.nn.modules import module as hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

from speechbrain_lmac.utils.errors import InputError

MOST_PARTS = 20_000  # parameters, buffers and layers of a model
# Bytes of parameters per byte of the weight files, which may be in half precision, or
# shared; and the bytes that are allowed for weight files of any size.
PARAMETERS_PER_BYTE = 4
PARAMETERS_AT_LEAST = 2**24
LARGEST_CONSTRUCTION = 2**28  # further bytes, for filter banks and temporary values
LARGEST_CALL = 2**30  # bytes, of all results of a call on half a second of audio
LARGEST_TYPE = 16  # bytes per element of the largest dtype
REMEDY = "if you trust the author of the model, trust_remote_code=True has no limit"


def _product(*sizes: object) -> int:
    """Return the product of all integers in nested arguments."""
    return math.prod(value for value in tree_iter(sizes) if type(value) is int)


def _broadcast(*values: object) -> int:
    """Return the number of elements of the broadcast shape.

    The operation itself raises for shapes that do not match.
    """
    shapes = [value.shape for value in tree_iter(values) if torch.is_tensor(value)]
    longest = max(map(len, shapes))
    filled = [(1,) * (longest - len(shape)) + tuple(shape) for shape in shapes]
    return math.prod(map(max, zip(*filled, strict=True)))


def _no_larger(*values: object) -> int:
    """Return 1 plus twice the number of elements of all tensors."""
    return 1 + 2 * sum(v.numel() for v in tree_iter(values) if torch.is_tensor(v))


def _matrices(*values: object) -> int:
    """Return the number of elements of the product of the last two values."""
    left, right = [value for value in values if torch.is_tensor(value)][-2:]
    return left.shape[0] * right.shape[1]


def _convolution(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    more: list[int],
    groups: int,
) -> int:
    """Return an upper bound of the elements of a convolution of x, (B, C, ...)."""
    kernel = weight.shape[2:]
    each = zip(x.shape[2:], stride, padding, dilation, more, kernel, strict=False)
    if transposed:
        channels = weight.shape[1] * groups
        sizes = [n * s + d * k + o for n, s, _, d, o, k in each]
    else:
        channels = weight.shape[0]
        sizes = [n + 2 * p for n, _, p, *_ in each]
    return x.shape[0] * channels * math.prod(sizes)


def _index(x: torch.Tensor, indices: list[torch.Tensor | None]) -> int:
    """Return the number of elements of x[indices], x of any shape."""
    tensors = [index for index in indices if index is not None]
    if any(index.dtype is torch.bool for index in tensors):
        return x.numel()
    rest = [n for n, index in zip(x.shape, indices, strict=False) if index is None]
    rest += x.shape[len(indices) :]
    return math.prod(rest) * _broadcast(tensors)


def _range(start: float, end: float | None = None, step: float = 1) -> float:
    """Return an upper bound of the elements of `torch.arange`."""
    start, end = (0, start) if end is None else (start, end)
    return abs(end - start) / abs(step) + 1


def _padded(x: torch.Tensor, pad: list[int], value: float = 0) -> int:
    """Return the number of elements of x after padding."""
    shape = list(x.shape)
    for index, amount in enumerate(pad):
        shape[-1 - index // 2] += max(0, amount)
    return math.prod(shape)


# Upper bound of the number of elements that an operation allocates, from its arguments.
# Pointwise operations and reductions need no entry. Any other operation without an
# entry is computed on the meta device, whose kernels take a second to import.
NUMBERS: dict[str, Callable[..., float]] = {
    **dict.fromkeys(("empty", "zeros", "ones", "full", "rand", "randn"), _product),
    **dict.fromkeys(("hamming_window", "hann_window"), _product),
    "arange": _range,
    "eye": lambda rows, columns=None: rows * (columns or rows),
    "linspace": lambda start, end, steps: steps,
    **dict.fromkeys(
        ("new_ones", "new_zeros", "new_empty", "new_full"),
        lambda x, size, value=None: _product(size),
    ),
    "repeat": lambda x, repeats: x.numel() * _product(repeats),
    "upsample_bilinear2d": lambda x, size, *rest: (
        math.prod(x.shape[:2]) * _product(size)
    ),
    "unfold_backward": lambda x, size, *rest: _product(size),
    "convolution": _convolution,
    "index": _index,
    "constant_pad_nd": _padded,
    **dict.fromkeys(("mm", "addmm"), _matrices),
    **dict.fromkeys(
        (
            "_fft_c2c _fft_c2r _fft_r2c _local_scalar_dense _prelu_kernel _softmax "
            "_to_copy _transformer_encoder_layer_fwd _unsafe_view avg_pool2d cat "
            "linalg_pinv native_batch_norm native_group_norm native_layer_norm "
            "scalar_tensor stack"
        ).split(),
        _no_larger,
    ),
}


class Bounded(TorchDispatchMode):
    """A context that limits the bytes of the results of all operations.

    Freed memory is counted, too. A result that would be too large is not computed.

    Arguments
    ---------
    most : int
        Maximum number of bytes.
    subject : str
        The subject of the error message.

    Raises
    ------
    InputError
        From the operation that exceeds the limit.

    Example
    -------
    >>> with Bounded(1000, "this"):
    ...     _ = torch.zeros(10**6, 10**6)
    Traceback (most recent call last):
    ...
    speechbrain_lmac.utils.errors.InputError: this needs more than 0 MiB of memory; \
if you trust the author of the model, trust_remote_code=True has no limit
    """

    def __init__(self, most: int, subject: str) -> None:
        super().__init__()
        self.most = most
        self.left = most
        self.subject = subject

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        # In-place operations and views allocate nothing.
        if any(argument.alias_info for argument in func._schema.arguments):
            return func(*args, **kwargs)
        most = _most_numbers(func, args)
        if most is None or LARGEST_TYPE * most > self.left:
            self.spend(_on_meta(func, args, kwargs))
            return func(*args, **kwargs)
        results = func(*args, **kwargs)
        self.spend(results)
        return results

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # importing torch._dynamo takes a second

    def spend(self, results: object) -> None:
        """Count the bytes of the tensors in nested results, of any shape."""
        self.left -= sum(map(_bytes, filter(torch.is_tensor, tree_iter(results))))
        if self.left < 0:
            raise InputError(
                f"{self.subject} needs more than {self.most // 2**20:,} MiB of memory; "
                f"{REMEDY}"
            )


class BoundedConstruction:
    """A context that limits the parameters of new modules to those of the weight files.

    Arguments
    ---------
    weight_bytes : int
        Bytes of the weight files.

    Raises
    ------
    InputError
        From the parameter or layer that exceeds the limit.
    """

    def __init__(self, weight_bytes: int) -> None:
        self.weight_bytes = weight_bytes
        self.most = PARAMETERS_PER_BYTE * weight_bytes + PARAMETERS_AT_LEAST
        self.left = self.most
        self.parts = 0
        self.stack = ExitStack()

    def __enter__(self) -> "BoundedConstruction":
        for register in (
            hooks.register_module_parameter_registration_hook,
            hooks.register_module_buffer_registration_hook,
            hooks.register_module_module_registration_hook,
        ):
            self.stack.enter_context(register(self._count))
        most = self.most + LARGEST_CONSTRUCTION
        self.stack.enter_context(Bounded(most, "a part of the model"))
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self.stack.__exit__(*error)

    def _count(self, module: torch.nn.Module, name: str, part: object) -> None:
        """Count a parameter, a buffer or a layer that is registered in a module."""
        self.parts += 1
        if self.parts > MOST_PARTS:
            raise InputError(
                f"the model has more than {MOST_PARTS:,} layers and weights; {REMEDY}"
            )
        if isinstance(part, torch.nn.Parameter):
            self.left -= _bytes(part)
        if self.left < 0:
            raise InputError(
                f"the model needs more than {self.most:,} bytes of parameters, but its "
                f"weight files have {self.weight_bytes:,} bytes; {REMEDY}"
            )


def _bytes(tensor: torch.Tensor) -> int:
    """Return the bytes of the elements of a tensor of any shape."""
    return tensor.numel() * tensor.element_size()


def _most_numbers(func: OpOverload, args: tuple[Any, ...]) -> float | None:
    """Return an upper bound of the elements an operation allocates; None: unknown."""
    name = func._schema.name.partition("::")[2]
    known = NUMBERS.get(name)
    if known is None and any(map(torch.is_tensor, tree_iter(args))):
        if torch.Tag.pointwise in func.tags:
            known = _broadcast
        elif torch.Tag.reduction in func.tags:
            known = _no_larger
    try:
        return None if known is None else known(*args)
    except (TypeError, ValueError, IndexError, ZeroDivisionError):
        return None  # another overload


def _on_meta(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the results of an operation as tensors on the meta device."""

    def to_meta(value: Any) -> Any:
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
    except Exception:
        return ()  # a shape that depends on values, or an operation that fails
