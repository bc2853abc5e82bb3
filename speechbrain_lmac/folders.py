"""Folders that are whole or not there."""

import glob
import os
import platform
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path

from speechbrain_lmac.errors import InputError
from speechbrain_lmac.files import check_folder


@contextmanager
def made_whole(folder):
    """A folder that bears its name only once it is complete.

    The body fills a draft beside `folder`; at its end the draft takes the place of
    `folder`, also of an old one. After an error the draft is gone and an old folder
    is as it was. Drafts of processes that were killed are removed by the next one.

    Arguments
    ---------
    folder : str or Path
        Parents are made where they do not exist.

    Yields
    ------
    draft : Path
        The empty folder to fill.

    Raises
    ------
    InputError
        A folder or file cannot be written.
    """
    check_folder(folder)
    folder = Path(folder).resolve()  # through a link, so that the link stays
    stems = [f".{folder.name}.{kind}-{platform.node()}-" for kind in ("new", "old")]
    draft, old = (folder.with_name(f"{stem}{os.getpid()}") for stem in stems)
    for stem in stems:
        for left in folder.parent.glob(f"{glob.escape(stem)}*"):
            if not _may_run(left.name.removeprefix(stem)):
                shutil.rmtree(left, ignore_errors=True)
    new_folders = [p for p in folder.parents if not p.exists()]
    try:
        draft.mkdir(parents=True)
        yield draft
        if folder.exists():
            os.replace(folder, old)
        os.replace(draft, folder)
    except BaseException as error:
        shutil.rmtree(draft, ignore_errors=True)
        with suppress(OSError):
            if old.exists() and not folder.exists():
                os.replace(old, folder)
            for new_folder in new_folders:
                new_folder.rmdir()
        if isinstance(error, OSError):
            raise InputError(f"cannot write {folder}: {error}") from error
        raise
    shutil.rmtree(old, ignore_errors=True)


def _may_run(number):
    """Whether there may be a process of this number on this machine."""
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError):
        return True  # another user's, or no number
    return True
