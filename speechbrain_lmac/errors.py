"""The one exception for what a user can put right."""


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
