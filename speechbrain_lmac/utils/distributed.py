"""Many processes that share work: who does what, and waiting for each other."""

import os
from datetime import timedelta

import torch
import torch.distributed as dist

from speechbrain_lmac.utils.errors import InputError

# Others may have hours of work left when one is done; a process that died ends all of
# them (torchrun sees to it), so that nobody waits for it.
PATIENCE = timedelta(days=30)


def own_share() -> tuple[int, int]:
    """This process's number and how many there are, as torchrun tells them.

    Returns
    -------
    rank, n_ranks : int
        0 and 1 for a process that runs alone.
    """
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def one_process_only(what: str, otherwise: str = "") -> None:
    """Refuse to train something on several processes.

    Raises
    ------
    InputError
        With what may be done in place of it.
    """
    if own_share()[1] > 1:
        raise InputError(
            f"{what} is trained in one process only: start without torchrun{otherwise}"
        )


def wait_for_all() -> None:
    """Go on when every process is here; alone, at once."""
    if dist.is_available() and dist.is_initialized():
        group = dist.new_group(timeout=PATIENCE, backend="gloo")
        dist.monitored_barrier(group, PATIENCE)
        dist.destroy_process_group(group)


def average_gradients(parameters) -> None:
    """Give every process the mean of all processes' gradients; alone, change nothing.

    Arguments
    ---------
    parameters : iterable
        Of torch.nn.Parameter, the same in every process. One that is trained and has
        no gradient in a process counts as 0 there.
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
