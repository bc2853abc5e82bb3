"""torch.compile in training: option checks and one-line errors."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from speechbrain_lmac.utils.devices import check_device
from speechbrain_lmac.utils.errors import InputError

if TYPE_CHECKING:
    from speechbrain.utils.run_opts import RunOptions


def check_compile(run_opts: "RunOptions") -> None:
    """Raise if a compiler option of a run cannot work, before anything is written.

    Arguments
    ---------
    run_opts : RunOptions
        SpeechBrain's run options; `jit`, `jit_module_keys`, `compile` and `device` are
        checked.

    Raises
    ------
    InputError
        For `--jit`; for `--compile` if torch.compile cannot compile a sum on the
        device of the run, or this machine has no such device.
    """
    if run_opts.jit or run_opts.jit_module_keys:
        raise InputError(
            "--jit: these models return objects, which TorchScript does not support; "
            "use --compile"
        )
    if run_opts.compile:
        device = check_device(run_opts.device)
        try:
            ones = torch.ones(2, device=device)
            torch.compile(torch.add)(ones, ones)
        except Exception as error:
            reason = why_uncompiled(error) or f"--compile: {error}; run without it"
            raise InputError(reason) from error


def without_forward(
    modules: torch.nn.ModuleDict | Mapping[str, torch.nn.Module],
) -> list[str]:
    """Return the names of the modules without `forward`, which are not compiled.

    Domains and CLAPs have other methods instead.

    Example
    -------
    >>> from speechbrain_lmac.domains.stft import STFTDomain
    >>> without_forward({"domain": STFTDomain(16000), "model": torch.nn.Linear(2, 2)})
    ['domain']
    """
    unset = torch.nn.Module.forward
    return [name for name, module in modules.items() if type(module).forward is unset]


def why_uncompiled(error: BaseException) -> str | None:
    """Return a one-line message for an error of torch.compile, None for other errors.

    Example
    -------
    >>> why_uncompiled(RuntimeError("out of memory"))
    """
    dynamo = sys.modules.get("torch._dynamo")  # imported by torch.compile only
    if dynamo is None or not isinstance(error, dynamo.exc.TorchDynamoException):
        return None
    reason = next((line for line in str(error).splitlines() if line.strip()), "")
    return f"torch.compile failed ({reason.strip()}): run without --compile"
