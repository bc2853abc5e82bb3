"""Run options: SpeechBrain's, and those of our trainings."""

import typing
from dataclasses import dataclass, fields, replace
from types import UnionType

from ruamel.yaml import YAML
from speechbrain.utils.run_opts import RunOptions

from speechbrain_lmac.errors import InputError, check_counts
from speechbrain_lmac.hparams_files import blocks_of

__all__ = ["RUN_KEYS", "RunOptions", "TrainingOptions", "with_values_of"]

# Keys at the top of a YAML that sb.Brain takes for run options.
RUN_KEYS = {f.name for f in fields(RunOptions)} - {"param_file", "overridden_args"}


@dataclass(frozen=True)
class TrainingOptions(RunOptions):
    """SpeechBrain's run options and `start_over`.

    Arguments
    ---------
    start_over : bool
        Move what the output folder holds aside, and train anew.
    """

    start_over: bool = False


def with_values_of(resolved, run_opts, names=RUN_KEYS):
    """Run options with those that stand at the top of a YAML file, as sb.Brain's.

    The command line (`overridden_args`, which stays as it is) comes first, then the
    file, then SpeechBrain's default.

    Arguments
    ---------
    resolved : str
        The YAML file with all references resolved.
    run_opts : RunOptions
        Of the command line.
    names : set of str
        Which of them are taken from the file.

    Returns
    -------
    run_opts : RunOptions

    Raises
    ------
    InputError
        For a value that the option cannot have.

    Example
    -------
    >>> run_opts = RunOptions(device="cpu", overridden_args={"device"})
    >>> run_opts = with_values_of("max_grad_norm: 1.0\\ndevice: cuda", run_opts)
    >>> run_opts.max_grad_norm, run_opts.device
    (1.0, 'cpu')
    """
    names = names - run_opts.overridden_args
    blocks = [text for name, text in blocks_of(resolved).items() if name in names]
    if not blocks:
        return run_opts
    values = dict(YAML().load("\n".join(blocks)))
    kinds = typing.get_type_hints(RunOptions)
    for name, value in values.items():
        if not _fits(value, kinds[name]):
            wanted = getattr(kinds[name], "__name__", str(kinds[name]))
            raise InputError(
                f"{name} at the top of the YAML is a run option of SpeechBrain, of "
                f"type {wanted.replace('typing.', '')}; got {value!r}"
            )
    if "grad_accumulation_factor" in values:
        check_counts(grad_accumulation_factor=values["grad_accumulation_factor"])
    return replace(run_opts, **values)


def _fits(value, kind):
    """Whether a value of a YAML file has the type of a run option."""
    if typing.get_origin(kind) is typing.Literal:
        return value in typing.get_args(kind)
    is_union = typing.get_origin(kind) in (typing.Union, UnionType)
    kinds = typing.get_args(kind) if is_union else (kind,)
    kinds = tuple(typing.get_origin(kind) or kind for kind in kinds)
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, (*kinds, int) if float in kinds else kinds)
