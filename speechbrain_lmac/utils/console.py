"""The terminal: `--quiet`, progress bars, results, warnings and errors.

All output of a command goes through here, or through `logging`: control characters,
which the names, files and models of others may have, are escaped.
"""

import io
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.escaping import visible


class _Console:
    is_command = False  # or a library in somebody's own program
    quiet = False


class _Stderr(logging.Handler):
    """Prints `warning: message` to what standard error is at that moment."""

    def emit(self, record) -> None:
        complain(f"{record.levelname.lower()}: {record.getMessage()}")


class _Visible(logging.Filter):
    """Escapes the control characters of a message."""

    def filter(self, record) -> bool:
        record.msg, record.args = visible(record.getMessage()), None
        return True


_STDERR = _Stderr(logging.WARNING)
_VISIBLE = _Visible()


def open_console() -> None:
    """Begin a command: not quiet; warnings, Python's too, go through `logging`."""
    _Console.is_command, _Console.quiet = True, False
    logging.captureWarnings(True)
    root = logging.getLogger()
    # SpeechBrain's own handler, once there is an output folder, takes its place.
    if not any(type(h).__module__.startswith("speechbrain.") for h in root.handlers):
        root.addHandler(_STDERR)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that has no letters for a name; standard error does so anyway.
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.excepthook = _show_traceback


def _show_traceback(kind, error, trace) -> None:
    """Print the traceback of an error that is ours."""
    complain("".join(traceback.format_exception(kind, error, trace)).rstrip("\n"))


def be_quiet() -> None:
    """Print only warnings and errors from here on, and no progress bars."""
    _Console.quiet = True


@contextmanager
def quiet_logs() -> Iterator[None]:
    """What configures `logging` within shows no control characters.

    With `--quiet` it shows only warnings, on standard error instead of standard output;
    files get all.
    """
    hidden = io.StringIO() if _Console.quiet else sys.stdout
    with redirect_stdout(hidden):
        yield
    for handler in logging.getLogger().handlers:
        handler.addFilter(_VISIBLE)
        if _Console.quiet and getattr(handler, "stream", None) is hidden:
            handler.setStream(sys.stderr)
            handler.setLevel(logging.WARNING)


def hides_progress() -> bool:
    """Whether there are no progress bars: with `--quiet`, or without a terminal."""
    return _Console.quiet or not (sys.stderr and sys.stderr.isatty())


def hide_bars(disable) -> None:
    """Call what disables a library's progress bars, in a command that hides its own."""
    if _Console.is_command and hides_progress():
        disable()


def progress_bar(
    items=None, desc: str | None = None, *args, disable: bool = False, **options
):
    """A `tqdm`, unless the terminal `hides_progress`."""
    from tqdm import tqdm  # 50 ms, which `--help` has no use for

    desc = desc and visible(desc)
    return tqdm(items, desc, *args, disable=disable or hides_progress(), **options)


def show(text: str, always: bool = False) -> None:
    """Print a result to standard output, unless `--quiet` was given.

    With `always` also then: it is what the command was called for.
    """
    if always or not _Console.quiet:
        print(visible(text).removesuffix("\n"), flush=True)


def complain(text: str) -> None:
    """Print a warning or an error to standard error."""
    print(visible(text), file=sys.stderr)


def quiet_options() -> list[str]:
    """The options that make a command that this one starts as quiet as this one."""
    return ["--quiet"] if _Console.quiet else []


def exit_status(command, argv: list[str]) -> int:
    """Run a command.

    Arguments
    ---------
    command : callable
        Takes the arguments of the command line.
    argv : list of str or None
        None: those of this process.

    Returns
    -------
    status : int
        0; 2 after one message on standard error that says what is wrong; 141 where
        nobody reads standard output to its end, as behind `| head`.
    """
    open_console()
    try:
        command(sys.argv[1:] if argv is None else argv)
    except InputError as error:
        complain(f"error: {error}")
        return 2
    except BrokenPipeError:
        # Python flushes when it ends, and would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 0


def refuse(told: str) -> None:
    """End a command: what is wrong, and exit status 2."""
    complain(f"error: {told}")
    sys.exit(2)


def renamed(script) -> None:
    """End a script that is now called differently: its name, and exit status 2."""
    refuse(f"this script is now {script}: call that with the same arguments")
