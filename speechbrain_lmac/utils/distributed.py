"""Distributed training: ranks, a barrier and averaged gradients."""

import os
from collections.abc import Iterable
from datetime import timedelta

import torch
import torch.distributed as dist

from speechbrain_lmac.utils.errors import InputError

# Other processes may have hours of work left. If one dies, torchrun ends all of them,
# so no process waits for a dead one.
PATIENCE = timedelta(days=30)


def rank_and_size() -> tuple[int, int]:
    """Return the rank of this process and the number of processes, from torchrun.

    Returns
    -------
    rank, n_ranks : int
        0 and 1 for a single process.
    """
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def one_process_only(model: str, alternative: str = "") -> None:
    """Raise under torchrun: `model` is trained in one process only.

    `alternative` is appended to the message: another way to proceed.
    """
    if rank_and_size()[1] > 1:
        raise InputError(
            f"{model} is trained in one process only: start without torchrun"
            f"{alternative}"
        )


def wait_for_all() -> None:
    """Block until every process has called this; no-op for a single process."""
    if dist.is_available() and dist.is_initialized():
        group = dist.new_group(timeout=PATIENCE, backend="gloo")
        dist.monitored_barrier(group, PATIENCE)
        dist.destroy_process_group(group)


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Average the gradients over all processes, in place; no-op for a single process.

    Arguments
    ---------
    parameters : iterable of torch.nn.Parameter
        Any shapes, the same in every process. A missing gradient of a trainable
        parameter counts as 0.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return
    for parameter in parameters:
        if not parameter.requires_grad:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        dist.all_reduce(parameter.grad)
        parameter.grad /= dist.get_world_size()
