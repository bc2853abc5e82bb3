"""torch.compile in trainings: what it is for, and its failures in one line."""

import sys

import torch

from speechbrain_lmac.utils.devices import check_device
from speechbrain_lmac.utils.errors import InputError


def check_compile(run_opts) -> None:
    """Refuse options of compilers that cannot work, before anything is written.

    Arguments
    ---------
    run_opts : RunOptions
        SpeechBrain's.

    Raises
    ------
    InputError
        For `--jit`, and for `--compile` where torch.compile cannot compile a sum on
        the device of the run, or the machine does not have it.
    """
    if run_opts.jit or run_opts.jit_module_keys:
        raise InputError(
            "--jit: these models return objects, which TorchScript does not know; "
            "take --compile"
        )
    if run_opts.compile:
        device = check_device(run_opts.device)
        try:
            ones = torch.ones(2, device=device)
            torch.compile(torch.add)(ones, ones)
        except Exception as error:
            raise InputError(why_uncompiled(error) or f"--compile: {error}") from error


def without_forward(modules) -> list[str]:
    """Return the names of the modules that have nothing to compile.

    A module whose methods are called in place of `forward`, as a domain's and a CLAP's
    are, runs as it is.

    Example
    -------
    >>> from speechbrain_lmac.domains.stft import STFTDomain
    >>> without_forward({"domain": STFTDomain(16000), "model": torch.nn.Linear(2, 2)})
    ['domain']
    """
    unset = torch.nn.Module.forward
    return [name for name, module in modules.items() if type(module).forward is unset]


def why_uncompiled(error) -> str | None:
    """Return one line for an error of torch.compile, or None for any other.

    Example
    -------
    >>> why_uncompiled(RuntimeError("out of memory"))
    """
    dynamo = sys.modules.get("torch._dynamo")  # imported by torch.compile only
    if dynamo is None or not isinstance(error, dynamo.exc.TorchDynamoException):
        return None
    reason = next((line for line in str(error).splitlines() if line.strip()), "")
    return f"torch.compile failed ({reason.strip()}): leave --compile out"
