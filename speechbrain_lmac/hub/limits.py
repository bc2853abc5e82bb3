"""Limits on what the construction and the first call of somebody else's model allocate.

An operation whose results may be large is computed on the meta device first, which has
shapes and no memory.
"""

import math
from contextlib import ExitStack

import torch
from torch.nn.modules import module as hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

from speechbrain_lmac.utils.errors import InputError

MOST_PARTS = 20_000  # parameters, buffers and layers of a model
PARAMETERS_PER_BYTE = 4  # of the weight files: they may be in half precision, or shared
PARAMETERS_AT_LEAST = 2**24  # bytes
LARGEST_CONSTRUCTION = 2**28  # bytes beyond that, of filter banks and what is temporary
LARGEST_CALL = 2**30  # bytes, of all results of a call on half a second
LARGEST_TYPE = 16  # bytes of a number


def _product(*sizes) -> int:
    """All whole numbers in nested arguments multiplied."""
    return math.prod(value for value in tree_iter(sizes) if type(value) is int)


def _broadcast(*values) -> int:
    """Numbers of the broadcast shape. Of shapes that do not fit the operation tells."""
    shapes = [value.shape for value in tree_iter(values) if torch.is_tensor(value)]
    longest = max(map(len, shapes))
    filled = [(1,) * (longest - len(shape)) + tuple(shape) for shape in shapes]
    return math.prod(map(max, zip(*filled, strict=True)))


def _no_larger(*values) -> int:
    """Of operations whose results have at most twice the numbers of their tensors."""
    return 1 + 2 * sum(v.numel() for v in tree_iter(values) if torch.is_tensor(v))


def _matrices(*values) -> int:
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
    kernel = weight.shape[2:]
    each = zip(x.shape[2:], stride, padding, dilation, more, kernel, strict=False)
    if transposed:
        channels = weight.shape[1] * groups
        sizes = [n * s + d * k + o for n, s, _, d, o, k in each]
    else:
        channels = weight.shape[0]
        sizes = [n + 2 * p for n, _, p, *_ in each]
    return x.shape[0] * channels * math.prod(sizes)


def _index(x: torch.Tensor, indices: list) -> int:
    given = [index for index in indices if index is not None]
    if any(index.dtype is torch.bool for index in given):
        return x.numel()
    rest = [n for n, index in zip(x.shape, indices, strict=False) if index is None]
    rest += x.shape[len(indices) :]
    return math.prod(rest) * _broadcast(given)


def _range(start: float, end: float | None = None, step: float = 1) -> float:
    start, end = (0, start) if end is None else (start, end)
    return abs(end - start) / abs(step) + 1


def _padded(x: torch.Tensor, pad: list[int], value: float = 0) -> int:
    shape = list(x.shape)
    for place, amount in enumerate(pad):
        shape[-1 - place // 2] += max(0, amount)
    return math.prod(shape)


# At most how many numbers an operation makes, of its arguments. Others, and pointwise
# ones and reductions, need no line here; but meta kernels take a second of imports.
NUMBERS = {
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
    speechbrain_lmac.utils.errors.InputError: this needs more than 0 MiB of memory
    """

    def __init__(self, most: int, what: str):
        super().__init__()
        self.most = most
        self.left = most
        self.what = what

    def __torch_dispatch__(
        self, func, types: tuple, args: tuple = (), kwargs: dict | None = None
    ) -> float | torch.Tensor:
        kwargs = kwargs or {}
        # What writes into its arguments, or looks at them, allocates nothing.
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
        return False  # torch._dynamo is a second of imports

    def spend(self, results: float | torch.Tensor) -> None:
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

    def __init__(self, declared: int):
        self.declared = declared
        self.most = PARAMETERS_PER_BYTE * declared + PARAMETERS_AT_LEAST
        self.left = self.most
        self.parts = 0
        self.stack = ExitStack()

    def __enter__(self) -> "BoundedConstruction":
        for register in (
            hooks.register_module_parameter_registration_hook,
            hooks.register_module_buffer_registration_hook,
            hooks.register_module_module_registration_hook,
        ):
            self.stack.enter_context(register(self.count))
        what = "a part of the model"
        self.stack.enter_context(Bounded(self.most + LARGEST_CONSTRUCTION, what))
        return self

    def __exit__(self, *error) -> bool:
        return self.stack.__exit__(*error)

    def count(self, module, name: str, part) -> None:
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


def _bytes(tensor: torch.Tensor) -> int:
    """Bytes of the elements of a tensor."""
    return tensor.numel() * tensor.element_size()


def _most_numbers(func, args: tuple) -> float | None:
    """At most how many numbers an operation makes, or None where that is not known."""
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
        return None  # called otherwise than it is here


def _on_meta(
    func, args: tuple, kwargs: dict
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
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
    except Exception:
        return ()  # the shape depends on values, or the operation fails anyway
