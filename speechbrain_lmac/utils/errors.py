"""The exception for invalid user input, and checks that raise it."""

import functools
import inspect
import math
from collections.abc import Iterable


class InputError(ValueError):
    """Invalid user input: a file, a folder, an option, a key.

    The message names the error, its place and the remedy. Recipe scripts print it
    without a traceback and exit with status 2
    (`speechbrain_lmac.utils.command.main`).
    """


def some_of(names: Iterable[object], limit: int = 10) -> str:
    """Return the first `limit` names of a list, and the number of the others.

    Example
    -------
    >>> some_of(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    """
    texts = [str(name) for name in names]
    shown = ", ".join(texts[:limit])
    left = len(texts) - limit
    return f"{shown} and {left} more" if left > 0 else shown


def message_of(error: InputError) -> str:
    """Return the message of an InputError, also of one that a worker process raised.

    torch's DataLoader raises it again with the worker's traceback as the message.

    Example
    -------
    >>> text = "Caught InputError in DataLoader worker process 0.\\n  ...InputError: no"
    >>> message_of(InputError(text))
    'no'
    """
    message = str(error)
    if message.startswith("Caught ") and "DataLoader worker process" in message:
        message = message.rpartition(f"{InputError.__name__}: ")[2].strip()
    return message


def check_arguments(callable_: object) -> None:
    """Raise if a YAML's `!name:` has arguments that its function does not accept.

    HyperPyYAML checks this for `!new:` only. Only a `functools.partial` is checked.
    """
    if isinstance(callable_, functools.partial):
        function = callable_.func
        try:
            inspect.signature(function).bind_partial(**callable_.keywords)
        except TypeError as error:
            raise InputError(
                f"Invalid argument to {function.__qualname__}: {error}"
            ) from error


def check_counts(low: int = 1, **counts: object) -> None:
    """Raise `InputError` unless every value is an int of at least `low`.

    Example
    -------
    >>> check_counts(batch_size=0)
    Traceback (most recent call last):
    ...
    speechbrain_lmac.utils.errors.InputError: batch_size must be a whole number \
of at least 1, got 0
    """
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < low:
            raise InputError(
                f"{name} must be a whole number of at least {low}, got {count!r}"
            )


def check_numbers(
    low: float = -math.inf, high: float = math.inf, **numbers: object
) -> None:
    """Raise `InputError` unless every value is a finite number in a range.

    Arguments
    ---------
    low, high : float
        Inclusive bounds.
    **numbers : object
        Name to value; the message contains both.

    Example
    -------
    >>> check_numbers(0, 1, share=1.5)
    Traceback (most recent call last):
    ...
    speechbrain_lmac.utils.errors.InputError: share must be a number from 0 \
to 1, got 1.5
    """
    limits = ""
    if math.isfinite(low) and math.isfinite(high):
        limits = f" from {low:g} to {high:g}"
    elif math.isfinite(low) or math.isfinite(high):
        limits = f" of at least {low:g}" if math.isfinite(low) else f" up to {high:g}"
    for name, number in numbers.items():
        if (
            isinstance(number, bool)
            or not isinstance(number, int | float)
            or not math.isfinite(number)
            or not low <= number <= high
        ):
            expected = f"a number{limits}" if limits else "a finite number"
            raise InputError(f"{name} must be {expected}, got {number!r}")
