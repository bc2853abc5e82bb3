"""How a script runs: what a user can put right is one message, not a traceback."""

import sys
from pathlib import Path

import torch.distributed as dist

from speechbrain_lmac.utils.compiling import why_uncompiled
from speechbrain_lmac.utils.console import open_console, refuse
from speechbrain_lmac.utils.distributed import wait_for_all
from speechbrain_lmac.utils.errors import InputError, message_of
from speechbrain_lmac.utils.files import why_refused
from speechbrain_lmac.utils.locks import release_folders


def main(run) -> None:
    """Run a recipe; what a user can put right is one message, not a traceback."""
    open_console()
    try:
        run(sys.argv[1:])
    except InputError as error:
        refuse(message_of(error))
    except RuntimeError as error:
        told = why_uncompiled(error)
        if told is None:
            raise
        refuse(told)
    except OSError as error:
        told = why_refused(error, getattr(error, "filename", None) or Path.cwd())
        if told is None:
            raise
        refuse(told)
    finally:
        release_folders()
    if dist.is_available() and dist.is_initialized():
        # Together: threads of a process that leaves while others still talk to it
        # abort it now and then, and torchrun takes that for a failure.
        wait_for_all()
        dist.destroy_process_group()
