"""Outcomes of which nothing else is kept: the gradient computes them once more."""

import torch
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import get_device_states, set_device_states


def recomputed(
    function, learned: tuple[torch.Tensor, ...], *arguments
) -> tuple[torch.Tensor, ...]:
    """What a function says, computed again for the gradient.

    As `torch.utils.checkpoint`, which keeps the nodes of the graph besides. Of many
    pieces these lie between the large blocks that each has freed, glibc cannot put the
    next piece there, and the process grows although it holds no more.

    Arguments
    ---------
    function : callable
        Of the arguments, to a tuple of floating-point tensors. It draws the same
        numbers and sees the same autocast both times.
    learned : tuple
        The parameters that it depends on, frozen ones among them; nothing else gets a
        gradient.
    *arguments
        On the device where it computes, the first of them.

    Returns
    -------
    outcomes : tuple of torch.Tensor

    Example
    -------
    >>> weight = torch.tensor([2.0], requires_grad=True)
    >>> (outcome,) = recomputed(lambda x: (weight * x,), (weight,), torch.tensor([3.0]))
    >>> outcome.backward()
    >>> outcome.item(), weight.grad.item()
    (6.0, 3.0)
    """
    learned = [parameter for parameter in learned if parameter.requires_grad]
    return _Recomputed.apply(function, arguments, *learned)


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, function, arguments: tuple, *learned) -> tuple[torch.Tensor, ...]:
        kind = arguments[0].device.type
        ctx.function, ctx.arguments, ctx.learned = function, arguments, learned
        ctx.draws = torch.get_rng_state(), get_device_states(*arguments)
        ctx.autocast = {
            "device_type": kind,
            "enabled": torch.is_autocast_enabled(kind),
            "dtype": torch.get_autocast_dtype(kind),
        }
        return function(*arguments)

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients) -> tuple:
        here, (devices, states) = ctx.draws
        with (
            torch.random.fork_rng(devices),
            torch.autocast(**ctx.autocast),
            torch.enable_grad(),
        ):
            torch.set_rng_state(here)
            set_device_states(devices, states)
            outcomes = ctx.function(*ctx.arguments)
        found = torch.autograd.grad(outcomes, ctx.learned, gradients, allow_unused=True)
        return None, None, *found
