"""Checks of the device, precision and data-parallel options."""

import os
from typing import TYPE_CHECKING

import torch
from speechbrain.utils.distributed import infer_device

from speechbrain_lmac.utils.errors import InputError

if TYPE_CHECKING:
    from speechbrain.utils.run_opts import RunOptions

BACKENDS = {"cuda": torch.cuda, "mps": torch.backends.mps}


def check_device(name: str | torch.device | None) -> torch.device:
    """Return the device of this name; raise if it is not available.

    Arguments
    ---------
    name : str or torch.device or None
        "cpu", "cuda", "cuda:1", "mps", ...; None: a GPU if available, else the CPU.

    Returns
    -------
    device : torch.device

    Raises
    ------
    InputError
        For an unknown or unavailable device.

    Example
    -------
    >>> check_device("cpu")
    device(type='cpu')
    >>> check_device("banana")
    Traceback (most recent call last):
    ...
    speechbrain_lmac.utils.errors.InputError: device banana: no such kind of device; use cpu or cuda (cuda:0, cuda:1, ...)
    """  # noqa: E501
    try:
        device = torch.device(infer_device() if name is None else name)
    except (RuntimeError, TypeError):
        raise InputError(
            f"device {name}: no such kind of device; use cpu or cuda (cuda:0, "
            "cuda:1, ...)"
        ) from None
    backend = BACKENDS.get(device.type)
    if backend is not None and not backend.is_available():
        raise InputError(
            f"device {name}: not available on this machine; use --device cpu"
        )
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise InputError(
                f"device {name}: this machine has {count} GPU(s), cuda:0 to "
                f"cuda:{count - 1}"
            )
    elif device.type != "cpu":
        try:
            torch.zeros(1, device=device).item()
        except Exception as error:
            raise InputError(
                f"device {name}: not available on this machine "
                f"({type(error).__name__}); use --device cpu"
            ) from None
    return device


def check_precision(run_opts: "RunOptions") -> None:
    """Raise if the device of a run does not support its precision.

    Arguments
    ---------
    run_opts : RunOptions
        SpeechBrain's run options; `device` and the precisions are checked.

    Raises
    ------
    InputError
        For fp16 on a CPU.
    """
    if check_device(run_opts.device).type != "cpu":
        return
    for option in ("precision", "eval_precision"):
        if getattr(run_opts, option) == "fp16":
            raise InputError(f"--{option} fp16 needs a GPU; on a CPU use bf16 or fp32")
    if run_opts.auto_mix_prec:
        raise InputError("--auto_mix_prec (fp16) needs a GPU; use --precision bf16")


def check_data_parallel(run_opts: "RunOptions") -> None:
    """Raise if `--data_parallel_backend` cannot work.

    Arguments
    ---------
    run_opts : RunOptions
        SpeechBrain's run options; `device` and `data_parallel_backend` are checked.

    Raises
    ------
    InputError
        On a CPU; and under torchrun, which uses several GPUs itself.
    """
    if not run_opts.data_parallel_backend:
        return
    if check_device(run_opts.device).type != "cuda":
        raise InputError(
            "--data_parallel_backend needs a GPU; on a CPU omit it, or start several "
            "processes with torchrun"
        )
    if "RANK" in os.environ and "LOCAL_RANK" in os.environ:
        raise InputError("--data_parallel_backend: omit it under torchrun")
