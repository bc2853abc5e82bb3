"""Many processes that share work: who does what, and waiting for each other."""

import os
from datetime import timedelta

import torch.distributed as dist

# Others may have hours of work left when one is done; a process that died ends all of
# them (torchrun sees to it), so that nobody waits for it.
PATIENCE = timedelta(days=30)


def own_share():
    """This process's number and how many there are, as torchrun tells them.

    Returns
    -------
    rank, n_ranks : int
        0 and 1 for a process that runs alone.
    """
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def wait_for_all():
    """Go on when every process is here; alone, at once."""
    if dist.is_available() and dist.is_initialized():
        group = dist.new_group(timeout=PATIENCE, backend="gloo")
        dist.monitored_barrier(group, PATIENCE)
        dist.destroy_process_group(group)
