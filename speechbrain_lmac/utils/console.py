"""Terminal output: `--quiet`, progress bars, results, warnings and errors.

All output of a command goes through this module or `logging`, where control characters
in the names of files, classes and models are escaped.
"""

import io
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.escaping import visible

if TYPE_CHECKING:
    from tqdm import tqdm


class _Console:
    is_command = False  # False: used as a library
    quiet = False


class _Stderr(logging.Handler):
    """Prints `warning: message` to the current `sys.stderr`."""

    def emit(self, record: logging.LogRecord) -> None:
        complain(f"{record.levelname.lower()}: {record.getMessage()}")


class _Visible(logging.Filter):
    """Escapes the control characters of a message."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = visible(record.getMessage()), None
        return True


_STDERR = _Stderr(logging.WARNING)
_VISIBLE = _Visible()


def open_console() -> None:
    """Set up the output of a command: not quiet, all warnings through `logging`."""
    _Console.is_command, _Console.quiet = True, False
    logging.captureWarnings(True)
    root = logging.getLogger()
    # Replaced by SpeechBrain's handler as soon as the output folder exists.
    if not any(type(h).__module__.startswith("speechbrain.") for h in root.handlers):
        root.addHandler(_STDERR)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # For terminals that cannot encode a character; the default of standard error.
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.excepthook = _show_traceback


def _show_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print a traceback without control characters."""
    complain("".join(traceback.format_exception(kind, error, trace)).rstrip("\n"))


def be_quiet() -> None:
    """Print only warnings and errors from now on, and no progress bars."""
    _Console.quiet = True


@contextmanager
def quiet_logs() -> Iterator[None]:
    """Set up the logging handlers that are created in this context.

    Control characters of messages are escaped. With `--quiet` only warnings are shown,
    on standard error instead of standard output; log files contain everything.
    """
    hidden = io.StringIO() if _Console.quiet else sys.stdout
    with redirect_stdout(hidden):
        yield
    for handler in logging.getLogger().handlers:
        handler.addFilter(_VISIBLE)
        if _Console.quiet and isinstance(handler, logging.StreamHandler):
            if handler.stream is hidden:
                handler.setStream(sys.stderr)
                handler.setLevel(logging.WARNING)


def hides_progress() -> bool:
    """Whether progress bars are hidden: with `--quiet`, or without a terminal."""
    return _Console.quiet or not (sys.stderr and sys.stderr.isatty())


def hide_bars(disable: Callable[[], object]) -> None:
    """Call a library's `disable` of progress bars if this command hides its own."""
    if _Console.is_command and hides_progress():
        disable()


def progress_bar(
    items: Iterable[Any] | None = None,
    desc: str | None = None,
    *args: Any,
    disable: bool = False,
    **options: Any,
) -> "tqdm":
    """Return a progress bar, hidden if `hides_progress`.

    Arguments
    ---------
    items : iterable, optional
        Yielded one by one.
    desc : str, optional
        Label, shown with control characters escaped.
    *args, **options
        Further arguments of `tqdm.tqdm`.
    disable : bool
        Hide it in any case.

    Returns
    -------
    bar : tqdm.tqdm
    """
    from tqdm import tqdm  # imported here: 50 ms, not needed by `--help`

    desc = desc and visible(desc)
    return tqdm(items, desc, *args, disable=disable or hides_progress(), **options)


def show(text: str, always: bool = False) -> None:
    """Print a result to standard output; with `--quiet` only if `always`.

    `always` is for the main output of a command.
    """
    if always or not _Console.quiet:
        print(visible(text).removesuffix("\n"), flush=True)


def complain(text: str) -> None:
    """Print a warning or an error to standard error."""
    print(visible(text), file=sys.stderr)


def quiet_options() -> list[str]:
    """Return the options that make a subprocess as quiet as this command."""
    return ["--quiet"] if _Console.quiet else []


def exit_status(command: Callable[[list[str]], object], argv: list[str] | None) -> int:
    """Run a command and return its exit status.

    Arguments
    ---------
    command : callable
        Called with the arguments of the command line.
    argv : list of str or None
        None: those of this process.

    Returns
    -------
    status : int
        0; 2 after an `InputError`, whose message goes to standard error; 141 when
        standard output was closed early, as by `| head`.
    """
    open_console()
    try:
        command(sys.argv[1:] if argv is None else argv)
    except InputError as error:
        complain(f"error: {error}")
        return 2
    except BrokenPipeError:
        # Python flushes at exit, which would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 0


def refuse(message: str) -> NoReturn:
    """Print an error and exit with status 2."""
    complain(f"error: {message}")
    sys.exit(2)


def renamed(script: str) -> NoReturn:
    """Print the new name of a script and exit with status 2."""
    refuse(f"this script is now {script}: run that with the same arguments")
