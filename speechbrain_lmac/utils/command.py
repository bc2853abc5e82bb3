"""The entry point of recipe scripts."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch.distributed as dist

from speechbrain_lmac.utils.compiling import why_uncompiled
from speechbrain_lmac.utils.console import open_console, refuse
from speechbrain_lmac.utils.distributed import wait_for_all
from speechbrain_lmac.utils.errors import InputError, message_of
from speechbrain_lmac.utils.files import why_refused
from speechbrain_lmac.utils.locks import release_folders


def main(run: Callable[[list[str]], object]) -> None:
    """Run a recipe; print a user error as one message, without a traceback."""
    open_console()
    try:
        run(sys.argv[1:])
    except InputError as error:
        refuse(message_of(error))
    except RuntimeError as error:
        message = why_uncompiled(error)
        if message is None:
            raise
        refuse(message)
    except OSError as error:
        message = why_refused(error, getattr(error, "filename", None) or Path.cwd())
        if message is None:
            raise
        refuse(message)
    finally:
        release_folders()
    if dist.is_available() and dist.is_initialized():
        # Together: a process that exits while others still communicate with it may
        # abort, and torchrun counts that as a failure.
        wait_for_all()
        dist.destroy_process_group()
