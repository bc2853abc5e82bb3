"""The terminal: `--quiet`, progress bars, results, warnings and errors."""

import io
import logging
import sys
from contextlib import contextmanager, redirect_stdout

from tqdm import tqdm

from speechbrain_lmac.errors import InputError


class _Console:
    is_command = False  # or a library in somebody's own program
    quiet = False


class _Stderr(logging.Handler):
    """Prints `warning: message` to what standard error is at that moment."""

    def emit(self, record):
        print(f"{record.levelname.lower()}: {record.getMessage()}", file=sys.stderr)


_STDERR = _Stderr(logging.WARNING)


def open_console():
    """Begin a command: not quiet; warnings, Python's too, go through `logging`."""
    _Console.is_command, _Console.quiet = True, False
    logging.captureWarnings(True)
    root = logging.getLogger()
    # SpeechBrain's own handler, once there is an output folder, takes its place.
    if not any(type(h).__module__.startswith("speechbrain.") for h in root.handlers):
        root.addHandler(_STDERR)


def be_quiet():
    """Print only warnings and errors from here on, and no progress bars."""
    _Console.quiet = True


@contextmanager
def quiet_logs():
    """With `--quiet`, what configures `logging` within shows only warnings.

    What goes to standard output goes to standard error then; files get all.
    """
    if not _Console.quiet:
        yield
        return
    hidden = io.StringIO()
    with redirect_stdout(hidden):
        yield
    for handler in logging.getLogger().handlers:
        if getattr(handler, "stream", None) is hidden:
            handler.setStream(sys.stderr)
            handler.setLevel(logging.WARNING)


def hides_progress():
    """Whether there are no progress bars: with `--quiet`, or without a terminal."""
    return _Console.quiet or not (sys.stderr and sys.stderr.isatty())


def hide_bars(disable):
    """Call what disables a library's progress bars, in a command that hides its own."""
    if _Console.is_command and hides_progress():
        disable()


def progress_bar(*args, disable=False, **options):
    """A `tqdm`, unless the terminal `hides_progress`."""
    return tqdm(*args, disable=disable or hides_progress(), **options)


def show(text):
    """Print a result to standard output, unless `--quiet` was given."""
    if not _Console.quiet:
        print(text.removesuffix("\n"), flush=True)


def quiet_options():
    """The options that make a command that this one starts as quiet as this one."""
    return ["--quiet"] if _Console.quiet else []


def exit_status(command, argv):
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
        0, or 2 after one message on standard error that says what is wrong.
    """
    open_console()
    try:
        command(sys.argv[1:] if argv is None else argv)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
