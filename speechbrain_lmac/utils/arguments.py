"""Command-line arguments: those of a command, and SpeechBrain's run options."""

import argparse
import difflib
import functools
import sys
import typing
from dataclasses import fields
from os.path import expanduser

from speechbrain_lmac.utils.console import be_quiet
from speechbrain_lmac.utils.errors import InputError

START_OVER = "--start_over"  # of trainings


class _Quiet(argparse.Action):
    """`--quiet`: takes effect when parsed, and adds no attribute to the namespace."""

    def __init__(self, option_strings: list[str], dest: str, **options):
        super().__init__(
            option_strings,
            dest=argparse.SUPPRESS,
            default=argparse.SUPPRESS,
            nargs=0,
            **options,
        )

    def __call__(
        self,
        parser: "Parser",
        namespace: argparse.Namespace,
        values: list,
        option_string: str | None = None,
    ) -> None:
        be_quiet()


def run_option_parser():
    """Return SpeechBrain's parser of a YAML file and run options."""
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
            action.metavar = "FILE.yaml"
    return parser


@functools.cache
def run_options() -> dict[str, int | str]:
    """Map each run option, SpeechBrain's or ours, to argparse's `nargs`."""
    return {
        name: action.nargs
        for action in run_option_parser()._actions
        for name in action.option_strings
    } | {START_OVER: 0}


def overrides_of(others: list[str]) -> dict[str, str]:
    """Map the unknown options of `Parser.parse_known_args` to their text.

    Example
    -------
    >>> overrides_of(["--lr=-1", "--data_folder=a = b"])
    {'lr': '-1', 'data_folder': 'a = b'}
    """
    words = (word.removeprefix("--").partition("=") for word in others)
    return {key: text for key, _, text in words}


@functools.cache
def run_keys():
    """Return the top-level YAML keys that sb.Brain uses as run options."""
    from speechbrain.utils.run_opts import RunOptions  # imports torch

    return {f.name for f in fields(RunOptions)} - {"param_file", "overridden_args"}


class Parser(argparse.ArgumentParser):
    """An argument parser with one-line errors and options in any order.

    Differences from argparse's: an error is an `InputError`; names are not abbreviated;
    an option with two different values is an error; arguments and
    options may be mixed; `~` is the home folder also after `=`; every command has
    `--quiet`. `parse_known_args` assumes that an unknown option is a run option
    of SpeechBrain or a key of a YAML file, and returns it as `--key=value`.

    Arguments
    ---------
    description : str
        Only its first line is shown.
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

    def __init__(self, description: str | None = None, **options):
        description = description and description.splitlines()[0]
        super().__init__(description=description, allow_abbrev=False, **options)
        self.add_argument("--quiet", action=_Quiet, help="only warnings and errors")

    def error(self, message: str) -> None:
        """Raise `InputError`."""
        message = message[:1].lower() + message[1:]
        raise InputError(f"{message} ({self.prog} --help lists the options)")

    def parse_known_args(self, args: list[str] | None = None, namespace=None) -> tuple:
        """Parse the options of this parser; return the others.

        Returns
        -------
        namespace : argparse.Namespace
        others : list of str
            The other options, as `--key=value`, or `--flag` of SpeechBrain's flags.
        """
        if self._subparsers is not None:  # each of them parses its own
            return super().parse_known_args(args, namespace)
        own, others = self._sorted_out(sys.argv[1:] if args is None else args)
        namespace, stray = super().parse_known_args(own, namespace)
        if stray:
            self.error(f"unexpected argument {stray[0]!r}")
        return namespace, others

    def parse_args(
        self, args: list[str] | None = None, namespace=None
    ) -> argparse.Namespace:
        """Parse all arguments; an unknown option is an error."""
        namespace, others = self.parse_known_args(args, namespace)
        if others:
            name = others[0].partition("=")[0]
            self.error(f"unknown option {name}{self._did_you_mean(name)}")
        return namespace

    def _sorted_out(self, argv: list[str]) -> tuple:
        """Return (argparse's words, other options): arguments first, values by `=`."""
        arguments, own, others, seen, index = [], [], [], {}, 0
        argv = list(map(str, argv))
        while index < len(argv):
            word = argv[index]
            index += 1
            if not word.startswith("--"):
                arguments.append(expanduser(word))
                continue
            name, equals, value = word.partition("=")
            action = self._option_string_actions.get(name)
            nargs = action.nargs if action else run_options().get(name)
            end = index
            while end < len(argv) and not argv[end].startswith("--"):
                end += 1
            if nargs == 0:
                if equals:
                    self.error(f"{name} takes no value, got {value!r}")
                words = [name]
            elif nargs is None:
                if not equals:
                    if index == end:
                        self.error(f"{name} has no value{self._did_you_mean(name)}")
                    value = argv[index]
                    index += 1
                words = [f"{name}={expanduser(value) if action else value}"]
            else:
                values = [value] if equals else argv[index:end]
                index = index if equals else end
                words = [name, *values]
            if not isinstance(action, argparse._AppendAction) and nargs != 0:
                text = " ".join(words).removeprefix(name)[1:]
                earlier = seen.setdefault(name, text)
                if earlier != text:
                    self.error(f"{name} is given twice: {earlier!r} and {text!r}")
            (others if action is None else own).extend(words)
        return [*arguments, *own], others

    def _did_you_mean(self, name: str) -> str:
        known = {*self._option_string_actions, *run_options()} - {name}
        close = difflib.get_close_matches(name, known, cutoff=0.8)
        return f"; did you mean {close[0]}?" if close else ""
