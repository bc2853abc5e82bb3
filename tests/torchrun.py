"""How the tests start a command in several processes."""

import sys


def torchrun(script, *arguments, n_ranks=2):
    """The command line; the processes talk by gloo."""
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        f"--nproc_per_node={n_ranks}",
        script,
        *arguments,
        "--distributed_backend=gloo",
    ]
