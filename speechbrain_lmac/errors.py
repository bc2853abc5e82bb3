"""The one exception for what a user can put right, and checks that raise it."""

import functools
import inspect


class InputError(ValueError):
    """Something a user gave is wrong: a file, a folder, an option, a key.

    The message says what is wrong, where, and what to do. Recipe scripts print
    it without a traceback and end with exit status 2
    (`speechbrain_lmac.experiment.main`).
    """


def some_of(names, limit=10):
    """The first names of a long list, and how many more there are.

    Example
    -------
    >>> some_of(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    """
    names = [str(name) for name in names]
    shown = ", ".join(names[:limit])
    left = len(names) - limit
    return f"{shown} and {left} more" if left > 0 else shown


def message_of(error):
    """Return the message of an InputError, also of one that a worker process raised.

    torch's DataLoader raises it again with the worker's traceback as its text.

    Example
    -------
    >>> told = "Caught InputError in DataLoader worker process 0.\\n  ...InputError: no"
    >>> message_of(InputError(told))
    'no'
    """
    message = str(error)
    if message.startswith("Caught ") and "DataLoader worker process" in message:
        message = message.rpartition(f"{InputError.__name__}: ")[2].strip()
    return message


def check_arguments(callable_):
    """Refuse arguments of a YAML's `!name:` that its function does not take.

    HyperPyYAML finds these for `!new:` only.
    """
    if isinstance(callable_, functools.partial):
        function = callable_.func
        try:
            inspect.signature(function).bind_partial(**callable_.keywords)
        except TypeError as error:
            raise InputError(
                f"Invalid argument to {function.__qualname__}: {error}"
            ) from error


def check_counts(least=1, **counts):
    """Raise InputError unless each count is a whole number from `least`.

    Example
    -------
    >>> check_counts(batch_size=0)
    Traceback (most recent call last):
    ...
    speechbrain_lmac.errors.InputError: batch_size must be a whole number from 1, got 0
    """
    for name, count in counts.items():
        whole = isinstance(count, int) and not isinstance(count, bool)
        if not whole or count < least:
            raise InputError(
                f"{name} must be a whole number from {least}, got {count!r}"
            )
