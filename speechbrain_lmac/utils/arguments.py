"""Command-line arguments: of a command, and SpeechBrain's run options."""

import argparse
import difflib
import functools
import itertools
import sys
import typing
from collections.abc import Iterable
from dataclasses import fields
from os.path import expanduser
from typing import Any, NoReturn

from speechbrain_lmac.utils.console import be_quiet
from speechbrain_lmac.utils.errors import InputError

START_OVER = "--start_over"  # an option of trainings


class _Program:
    name: str | None = None  # None: the script's


def set_program(name: str) -> None:
    """Set the command that `--help` and errors of later parsers show."""
    _Program.name = name


class _Quiet(argparse.Action):
    """`--quiet` takes effect when it is parsed; it is not in the namespace."""

    def __call__(self, *_: Any) -> None:
        be_quiet()


def run_option_parser() -> argparse.ArgumentParser:
    """Return SpeechBrain's argument parser: an experiment file and run options."""
    from speechbrain.utils.run_opts import RunOptions  # imports torch

    parser = RunOptions._create_parser()
    types = typing.get_type_hints(RunOptions)
    for action in parser._actions:
        kind = types.get(action.dest)
        if typing.get_origin(kind) is typing.Literal:
            action.choices = typing.get_args(kind)
        elif kind == (int | None):  # SpeechBrain leaves it a str
            action.type = int
        if action.dest == "param_file":
            action.metavar, action.help = "FILE.yaml", "the experiment file"
    # SpeechBrain adds them in the random order of a set.
    parser._actions.sort(key=lambda action: (*action.option_strings, "")[0])
    return parser


@functools.cache
def run_options() -> dict[str, int | str | None]:
    """Return argparse's `nargs` by option, of SpeechBrain's run options and ours."""
    return {
        name: action.nargs
        for action in run_option_parser()._actions
        for name in action.option_strings
    } | {START_OVER: 0}


def overrides_of(others: list[str]) -> dict[str, str]:
    """Return the other options of `Parser.parse_known_args` as a dict, key to text.

    Example
    -------
    >>> overrides_of(["--lr=-1", "--data_folder=a = b"])
    {'lr': '-1', 'data_folder': 'a = b'}
    """
    words = (word.removeprefix("--").partition("=") for word in others)
    return {key: text for key, _, text in words}


@functools.cache
def run_keys() -> set[str]:
    """Return the top-level YAML keys that sb.Brain uses as run options."""
    from speechbrain.utils.run_opts import RunOptions  # imports torch

    return {f.name for f in fields(RunOptions)} - {"param_file", "overridden_args"}


class Parser(argparse.ArgumentParser):
    """An argument parser with one-line errors and options in any order.

    Differences from argparse's: an error is an `InputError`; names are not abbreviated;
    an option repeated with different values is an error; arguments and options may be
    mixed; a value may begin with `-`; `~` is the home folder also after `=`; every
    command has `--quiet`. `parse_known_args` returns every other option (a YAML key or
    a run option of SpeechBrain) as `--key=value`.

    Arguments
    ---------
    description : str or None
        `--help` shows its first line.
    **options
        Further arguments of `argparse.ArgumentParser`.

    Example
    -------
    >>> parser = Parser("Explain files.")
    >>> _ = parser.add_argument("files", nargs="+")
    >>> args, others = parser.parse_known_args(["a", "--debug", "--lr", "-1", "b"])
    >>> args.files, others
    (['a', 'b'], ['--debug', '--lr=-1'])
    """

    def __init__(self, description: str | None = None, **options: Any) -> None:
        description = description and description.splitlines()[0]
        options.setdefault("prog", _Program.name)
        super().__init__(description=description, allow_abbrev=False, **options)
        self.add_argument(
            "--quiet",
            action=_Quiet,
            nargs=0,
            dest=argparse.SUPPRESS,
            default=argparse.SUPPRESS,
            help="only warnings and errors",
        )

    def error(self, message: str) -> NoReturn:
        """Raise `InputError`."""
        message = message[:1].lower() + message[1:]
        raise InputError(f"{message} ({self.prog} --help lists the options)")

    def parse_known_args(
        self, args: Iterable[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Parse the known arguments.

        Returns
        -------
        namespace : argparse.Namespace
        others : list of str
            The other options, as `--key=value`; SpeechBrain's flags as `--flag`.
        """
        argv = list(map(str, sys.argv[1:] if args is None else args))
        if self._subparsers is not None:  # each of them parses its own options
            first = itertools.takewhile(lambda word: word.startswith("-"), argv)
            names = (word.partition("=")[0] for word in first)
            self.check_known([x for x in names if x not in self._option_string_actions])
            return super().parse_known_args(argv, namespace)
        own, others = self._split_known(argv)
        namespace, stray = super().parse_known_args(own, namespace)
        if stray:
            self.error(f"unexpected argument {stray[0]!r}")
        return namespace, others

    def parse_args(
        self, args: Iterable[str] | None = None, namespace: Any = None
    ) -> Any:
        """Return the namespace; raise for an unknown option."""
        namespace, others = self.parse_known_args(args, namespace)
        self.check_known(others)
        return namespace

    def check_known(self, others: list[str]) -> None:
        """Raise for the first of the other options of `parse_known_args`."""
        if others:
            name = others[0].partition("=")[0]
            self.error(f"unknown option {name}{self._did_you_mean(name)}")

    def _split_known(self, argv: list[str]) -> tuple[list[str], list[str]]:
        """Return (words for argparse, positional ones first; the other options)."""
        groups = [[""]]  # each option, with the words up to the next
        for word in argv:
            if word.startswith("--"):
                groups.append([])
            groups[-1].append(word)
        arguments, own, others = groups[0][1:], list[str](), list[str]()
        texts: dict[str, str] = {}
        for option, *values in groups[1:]:
            name, equals, value = option.partition("=")
            action = self._option_string_actions.get(name)
            nargs = action.nargs if action else run_options().get(name)
            if nargs == 0 and equals:
                self.error(f"{name} takes no value, got {value!r}")
            if nargs is None and not (equals or values):
                known = action or name in run_options()
                self.error(
                    f"{name} needs a value{self._did_you_mean(name)}"
                    if known
                    else f"{name} needs a value if it is a key of the YAML; it is not "
                    f"an option{self._did_you_mean(name)}"
                )
            n = 0 if equals or nargs == 0 else 1 if nargs is None else len(values)
            arguments += values[n:]
            values = [value] if equals else values[:n]
            if action and nargs is None:
                values = [expanduser(values[0])]
            text = " ".join(values)
            if nargs != 0 and not isinstance(action, argparse._AppendAction):
                before = texts.setdefault(name, text)
                if before != text:
                    self.error(f"{name} is given twice: {before!r} and {text!r}")
            words = [f"{name}={text}"] if nargs is None else [name, *values]
            (own if action else others).extend(words)
        return [*map(expanduser, arguments), *own], others

    def _did_you_mean(self, name: str) -> str:
        known = {*self._option_string_actions, *run_options()} - {name}
        close = difflib.get_close_matches(name, known, cutoff=0.8)
        return f"; did you mean {close[0]}?" if close else ""
