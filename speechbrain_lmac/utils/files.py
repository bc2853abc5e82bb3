"""Atomic writes of files and folders."""

import errno
import glob
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from speechbrain_lmac.utils.errors import InputError

ELSEWHERE = "use another output folder"
# Reason and remedy of a failed write, by error number.
REFUSED = {
    errno.ENOSPC: "the disk is full: free space, then run the same command again",
    errno.EDQUOT: "the quota is used up: free space, then run the same command again",
    errno.EROFS: f"the file system is read-only: {ELSEWHERE}",
    errno.EACCES: f"permission denied: {ELSEWHERE}",
    errno.EPERM: f"permission denied: {ELSEWHERE}",
    errno.ENOTDIR: f"expected a folder, found a file: {ELSEWHERE}",
    errno.EEXIST: f"expected a folder, found a file: {ELSEWHERE}",
    errno.EISDIR: "it is a folder: use the path of a file",
}
PART = ".part"  # prefix of a file that is being written
LEAST_FREE = 1 << 20  # bytes; with less, an error without a number means a full disk


class CannotWriteError(InputError):
    """A failed write: the disk is full, or writing is not permitted."""


def check_folder(folder: Path | str) -> None:
    """Raise `CannotWriteError` if an output folder or a parent of it is a file."""
    for path in (Path(folder), *Path(folder).parents):
        if os.path.lexists(path) and not path.is_dir():
            raise CannotWriteError(
                f"cannot use {folder} as a folder, {path} is a file: {ELSEWHERE}"
            )


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Convert errors of a full disk or missing permission to `CannotWriteError`.

    Arguments
    ---------
    path : str or Path
        The output file, or its folder.

    Raises
    ------
    CannotWriteError
        When the disk is full, or writing is not permitted.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = why_refused(error, path)
        if reason is None:
            raise
        raise CannotWriteError(reason) from error


def why_refused(error: Exception, path: Path | str) -> str | None:
    """Return the message for a failed write.

    Arguments
    ---------
    error : Exception
    path : str or Path
        The output file, or its folder.

    Returns
    -------
    message : str or None
        None if the error has another cause.
    """
    reason = REFUSED.get(getattr(error, "errno", None) or 0)
    if reason is None and not isinstance(error, FileNotFoundError):
        existing = next(p for p in (Path(path), *Path(path).parents) if p.exists())
        if shutil.disk_usage(existing).free < LEAST_FREE:
            reason = REFUSED[errno.ENOSPC]
    return None if reason is None else f"cannot write {path}: {reason}"


def part_of(path: Path | str) -> Path:
    """Return the temporary path of this process for `path`: same folder, same suffix.

    `locks.lock_folder` removes the temporary files of killed processes.
    """
    path = Path(path)
    return path.with_name(f"{PART}{os.getpid()}.{path.name}")


def write_atomically(path: Path | str, write: Callable[[Path], object]) -> None:
    """Write a temporary file beside `path`, then move it there.

    Arguments
    ---------
    path : str or Path
        Its folder is created if missing.
    write : callable
        Called with the temporary path, which has the suffix of `path`.

    Raises
    ------
    CannotWriteError
        When the disk is full, or writing is not permitted.
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
    """Write a string in UTF-8, atomically."""
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def append_text(text: str, path: Path | str) -> None:
    """Append a string in UTF-8 to a file: all of it, or nothing after an error.

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


def write_together(folder: Path | str, texts: Mapping[str, str]) -> None:
    """Write several text files in UTF-8 into a folder, or none of them.

    Arguments
    ---------
    folder : str or Path
        Created if missing.
    texts : mapping
        File name to content. The last file marks the set as complete: its old version
        is removed before any other file is replaced.

    Raises
    ------
    OSError
        A write failed; the drafts and the folders created for them are removed.
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
def atomic_folder(folder: Path | str) -> Iterator[Path]:
    """Write a folder atomically.

    The body of the context fills a draft beside `folder`, which then replaces `folder`.
    After an error the draft is removed and an existing folder is unchanged. The next
    call removes the drafts of killed processes.

    Arguments
    ---------
    folder : str or Path
        Missing parents are created.

    Yields
    ------
    draft : Path
        The empty folder to fill.

    Raises
    ------
    InputError
        When the folder or a file in it cannot be written.
    """
    check_folder(folder)
    folder = Path(folder).resolve()  # replaces the target of a link, not the link
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
    """Return the missing ones of a folder and its parents, innermost first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def _may_run(pid: str) -> bool:
    """Whether a process with this ID may be running on this machine."""
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError):
        return True  # another user's, or not a number
    return True
