"""Gradient checkpointing that keeps no graph."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import get_device_states, set_device_states


def recomputed(
    function: Callable[..., tuple[torch.Tensor, ...]],
    parameters: Sequence[torch.Tensor],
    *arguments: Any,
) -> tuple[torch.Tensor, ...]:
    """Return a function's results; the backward pass recomputes the function.

    As `torch.utils.checkpoint`, but without keeping the nodes of the graph. With many
    chunks these fragment the heap: under glibc the resident memory of the process
    grows, although the memory in use does not.

    Arguments
    ---------
    function : callable
        Maps `arguments` to a tuple of floating-point tensors. Random state and autocast
        are the same in both runs.
    parameters : sequence of torch.Tensor
        The function's parameters, including frozen ones; nothing else gets a gradient.
    *arguments
        Arguments of `function`; the first must be a tensor on the computing device.

    Returns
    -------
    results : tuple of torch.Tensor
        The results of `function`.

    Example
    -------
    >>> weight = torch.tensor([2.0], requires_grad=True)
    >>> (product,) = recomputed(lambda x: (weight * x,), (weight,), torch.tensor([3.0]))
    >>> product.backward()
    >>> product.item(), weight.grad.item()
    (6.0, 3.0)
    """
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    return _Recomputed.apply(function, arguments, *trainable)


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        function: Callable[..., tuple[torch.Tensor, ...]],
        arguments: tuple[Any, ...],
        *trainable: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        device_type = arguments[0].device.type
        ctx.function, ctx.arguments, ctx.trainable = function, arguments, trainable
        ctx.rng_states = torch.get_rng_state(), get_device_states(*arguments)
        ctx.autocast = {
            "device_type": device_type,
            "enabled": torch.is_autocast_enabled(device_type),
            "dtype": torch.get_autocast_dtype(device_type),
        }
        return function(*arguments)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        cpu_state, (devices, states) = ctx.rng_states
        with (
            torch.random.fork_rng(devices),
            torch.autocast(**ctx.autocast),
            torch.enable_grad(),
        ):
            torch.set_rng_state(cpu_state)
            set_device_states(devices, states)
            results = ctx.function(*ctx.arguments)
        of_trainable = torch.autograd.grad(
            results, ctx.trainable, gradients, allow_unused=True
        )
        return None, None, *of_trainable
