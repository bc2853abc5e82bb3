"""Run options of the command line and of YAML files: SpeechBrain's, and ours."""

import math
import typing
from dataclasses import dataclass, replace
from types import UnionType
from typing import Any

from ruamel.yaml import YAML
from speechbrain.utils.run_opts import RunOptions

from speechbrain_lmac.utils.arguments import (
    START_OVER,
    Parser,
    overrides_of,
    run_keys,
    run_option_parser,
    run_options,
)
from speechbrain_lmac.utils.console import hides_progress
from speechbrain_lmac.utils.errors import InputError, check_counts

__all__ = [
    "RUN_KEYS",
    "RunOptions",
    "TrainingOptions",
    "read_command",
    "with_values_of",
]

RUN_KEYS = run_keys()


@dataclass(frozen=True)
class TrainingOptions(RunOptions):
    """SpeechBrain's run options and `start_over`.

    Arguments
    ---------
    start_over : bool
        Move the content of the output folder aside, and train from the start.
    """

    start_over: bool = False


def read_command(
    argv: list[str], training: bool = False
) -> tuple[str, RunOptions, dict[str, str]]:
    """Parse the command line of a recipe.

    Arguments
    ---------
    argv : list of str
        `FILE.yaml [--key value ...] [run options of SpeechBrain]`. A value is the word
        after a name, unless it begins with `--`; `--key=value` takes any.
    training : bool
        Whether `--start_over` is an option.

    Returns
    -------
    param_file : str
    run_opts : RunOptions
        SpeechBrain's run options, without a progress bar for `--quiet` or without a
        terminal; for a training, `TrainingOptions`.
    overrides : dict
        Key of the YAML file to its value as typed, both str.

    Raises
    ------
    InputError
        For an option without a value, one repeated with different values, a value that
        an option does not take, and an unexpected argument.

    Example
    -------
    >>> param_file, run_opts, overrides = read_command(
    ...     ["a.yaml", "--device", "cpu", "--lr", "-1", "--data_folder=a = b"]
    ... )
    >>> param_file, run_opts.device, overrides
    ('a.yaml', 'cpu', {'lr': '-1', 'data_folder': 'a = b'})
    """
    parser = Parser(
        "Run an experiment file. --KEY VALUE sets a top-level key of it.",
        usage="%(prog)s FILE.yaml [--KEY VALUE ...] [run options]",
        parents=[run_option_parser()],
        add_help=False,
    )
    if training:
        parser.add_argument(
            START_OVER,
            action="store_true",
            help="move the output folder's content aside, and train from the start",
        )
    parsed, others = parser.parse_known_args(argv)
    if START_OVER in others:
        raise InputError(
            f"{START_OVER} has no effect on this command: it is for trainings"
        )
    names = {word.partition("=")[0] for word in map(str, argv)}
    for name, value in vars(parsed).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"--{name} must be a finite number, got {value}")
    check_counts(grad_accumulation_factor=parsed.grad_accumulation_factor)
    check_counts(low=0, nonfinite_patience=parsed.nonfinite_patience)
    overridden = {name[2:] for name in run_options() if name in names}
    kind = TrainingOptions if training else RunOptions
    run_opts = kind(**vars(parsed), overridden_args=overridden)
    if hides_progress():
        overridden = overridden | {"noprogressbar"}
        run_opts = replace(run_opts, noprogressbar=True, overridden_args=overridden)
    return parsed.param_file, run_opts, overrides_of(others)


def with_values_of(
    resolved: str, run_opts: RunOptions, names: set[str] = RUN_KEYS
) -> RunOptions:
    """Return run options with those at the top of a YAML file, as sb.Brain does.

    The command line (`overridden_args`, unchanged) comes first, then the file, then
    SpeechBrain's default.

    Arguments
    ---------
    resolved : str
        The YAML text with all references resolved.
    run_opts : RunOptions
        The run options of the command line.
    names : set of str
        The options to read from the file.

    Returns
    -------
    run_opts : RunOptions

    Raises
    ------
    InputError
        For a value that the option does not take.

    Example
    -------
    >>> run_opts = RunOptions(device="cpu", overridden_args={"device"})
    >>> run_opts = with_values_of("max_grad_norm: 1.0\\ndevice: cuda", run_opts)
    >>> run_opts.max_grad_norm, run_opts.device
    (1.0, 'cpu')
    """
    names = names - run_opts.overridden_args
    tree = YAML().load(resolved)
    values = {name: value for name, value in tree.items() if name in names}
    kinds = typing.get_type_hints(RunOptions)
    for name, value in values.items():
        if not _fits(value, kinds[name]):
            expected = getattr(kinds[name], "__name__", str(kinds[name]))
            raise InputError(
                f"{name} at the top of the YAML is a run option of SpeechBrain, of "
                f"type {expected.replace('typing.', '')}, got {value!r}"
            )
    if "grad_accumulation_factor" in values:
        check_counts(grad_accumulation_factor=values["grad_accumulation_factor"])
    if "nonfinite_patience" in values:
        check_counts(low=0, nonfinite_patience=values["nonfinite_patience"])
    return replace(run_opts, **values)


def _fits(value: Any, kind: Any) -> bool:
    """Return whether a value of a YAML file has the type of a run option."""
    if typing.get_origin(kind) is typing.Literal:
        return value in typing.get_args(kind)
    is_union = typing.get_origin(kind) in (typing.Union, UnionType)
    kinds = typing.get_args(kind) if is_union else (kind,)
    kinds = tuple(typing.get_origin(kind) or kind for kind in kinds)
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, (*kinds, int) if float in kinds else kinds)
