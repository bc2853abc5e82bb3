"""Atomic writes: files and folders that are whole or not there."""

import errno
import glob
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from speechbrain_lmac.utils.errors import InputError

ELSEWHERE = "take another output folder"
# Of a write that the machine refused, and what to do.
REFUSED = {
    errno.ENOSPC: "the disk is full: make space, then run the same command again",
    errno.EDQUOT: "the quota is used up: make space, then run the same command again",
    errno.EROFS: f"it can only be read: {ELSEWHERE}",
    errno.EACCES: f"it may not be written to: {ELSEWHERE}",
    errno.EPERM: f"it may not be written to: {ELSEWHERE}",
    errno.ENOTDIR: f"a file stands where a folder is needed: {ELSEWHERE}",
    errno.EEXIST: f"a file stands where a folder is needed: {ELSEWHERE}",
    errno.EISDIR: "it is a folder: name a file",
}
PART = ".part"  # how the name of a file begins that is being written
LEAST_FREE = 1 << 20  # bytes; a library that could not write does not say why


class CannotWriteError(InputError):
    """The disk is full, or nothing may be written there: no file can be."""


def check_folder(folder: Path | str) -> None:
    """Raise `InputError` if a file stands where a folder is needed.

    Arguments
    ---------
    folder : str or Path
        That is written to.
    """
    for path in (Path(folder), *Path(folder).parents):
        if os.path.lexists(path) and not path.is_dir():
            raise CannotWriteError(
                f"cannot write {folder}: {path} is a file: {ELSEWHERE}"
            )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Where something is written: tell the user when the machine refuses it.

    Arguments
    ---------
    path : str or Path
        What is written, or its folder.

    Raises
    ------
    CannotWriteError
        When the disk is full, or nothing may be written there.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = why_refused(error, path)
        if reason is None:
            raise
        raise CannotWriteError(reason) from error


def why_refused(error, path: Path) -> str | None:
    """What a user is told of a write that the machine refused.

    Arguments
    ---------
    error : Exception
    path : str or Path
        What was to be written, or its folder.

    Returns
    -------
    reason : str or None
        None if the error speaks of something else.
    """
    reason = REFUSED.get(getattr(error, "errno", None))
    if reason is None and not isinstance(error, FileNotFoundError):
        place = next(p for p in (Path(path), *Path(path).parents) if p.exists())
        if shutil.disk_usage(place).free < LEAST_FREE:
            reason = REFUSED[errno.ENOSPC]
    return None if reason is None else f"cannot write {path}: {reason}"


def part_of(path: Path) -> Path:
    """Where this process writes what will be `path`: beside it, with its ending.

    `locks.lock_folder` removes what a process that was killed has left there.
    """
    path = Path(path)
    return path.with_name(f"{PART}{os.getpid()}.{path.name}")


def write_atomically(path: Path, write) -> None:
    """Let `write` make a file beside `path`, then put it in its place.

    Arguments
    ---------
    path : str or Path
        Its folder is made when missing.
    write : callable
        Gets the path of the file to write, which ends as `path` does.

    Raises
    ------
    CannotWriteError
        When the disk is full, or nothing may be written there.
    """
    path = Path(path)
    part = part_of(path)
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write(part)
            os.replace(part, path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_text(text: str, path: Path | str) -> None:
    """A text in UTF-8, atomically."""
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def append_text(text: str, path: Path) -> None:
    """Append a text in UTF-8 to a file; what a full disk tears is taken off again.

    Raises
    ------
    CannotWriteError
        As `write_atomically`.
    """
    with writing(path), open(path, "ab", buffering=0) as file:
        before, data = os.fstat(file.fileno()).st_size, text.encode()
        try:
            while data:
                data = data[file.write(data) :]
        except BaseException:
            os.ftruncate(file.fileno(), before)
            raise


def write_together(folder: Path, texts: dict) -> None:
    """Write several texts in UTF-8 into a folder, or none of them.

    Arguments
    ---------
    folder : str or Path
        Made when missing.
    texts : dict
        File name to text. The last one vouches for the others: where there is an old
        one, it is removed before any of the others is replaced.

    Raises
    ------
    OSError
        The drafts, and folders that were made for them, are gone again.
    """
    folder = Path(folder)
    new_folders = _missing_folders(folder)
    drafts = {part_of(folder / name): text for name, text in texts.items()}
    *_, last = texts
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for draft, text in drafts.items():
            draft.write_text(text, encoding="utf-8")
        (folder / last).unlink(missing_ok=True)
        for draft, name in zip(drafts, texts, strict=True):
            os.replace(draft, folder / name)
    except BaseException:
        with suppress(OSError):
            for draft in drafts:
                draft.unlink(missing_ok=True)
            for new_folder in new_folders:
                new_folder.rmdir()
        raise


@contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
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
    new_folders = _missing_folders(folder.parent)
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


def _missing_folders(folder: Path) -> list[Path]:
    """A folder and those around it that do not exist, the innermost first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def _may_run(number):
    """Whether there may be a process of this number on this machine."""
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError):
        return True  # another user's, or no number
    return True
