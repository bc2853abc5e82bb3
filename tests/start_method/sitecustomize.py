"""Set the start method of multiprocessing in every Python that has this folder on its
PYTHONPATH, subprocesses of the tests included: the value of START_METHOD."""

import os

if "START_METHOD" in os.environ:
    import multiprocessing

    multiprocessing.set_start_method(os.environ["START_METHOD"], force=True)
