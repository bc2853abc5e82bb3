"""Fetch a dataset's archive and unpack it, so that a bare command works.

Only the standard library: a broken download is resumed, the archive is checked, and
the dataset's folder appears when it is complete or not at all.
"""

import gzip
import http.client
import os
import shutil
import stat
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from speechbrain_lmac.utils.console import progress_bar
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import atomic_folder
from speechbrain_lmac.utils.hashing import file_hash

BLOCK_BYTES = 1 << 18
TIMEOUT_S = 30.0
DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    RuntimeError,  # zipfile's answer to encryption or an unknown compression
)


def is_absent(folder: Path, option: str) -> bool:
    """Whether there is nothing at a folder's place.

    Raises
    ------
    InputError
        When a file is there; `option` is what to give in its place.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give {option}")
    return not folder.exists() or not any(folder.iterdir())


def fetch_dataset(
    data_folder: Path,
    url: str,
    expects: str,
    check=None,
    n_bytes=None,
    md5: str | None = None,
    option: str = "--data_folder",
) -> None:
    """Download an archive, unpack it as `data_folder`, and remove it.

    Arguments
    ---------
    data_folder : str or Path
        Where the archive's content goes, without its top folder. What is already
        downloaded stands beside it, as ``<data_folder>.download.part``.
    url : str
        Of a zip or (compressed) tar archive.
    expects : str
        A file that the dataset has, for the message that tells what to do by hand.
    check : callable, optional
        Gets the unpacked folder before it bears its name; raises InputError when
        something lacks.
    n_bytes, md5 : int and str, optional
        Size and checksum of the archive, compared where they are given.
    option : str
        How the user names another folder, for the same message.

    Raises
    ------
    InputError
        No network, a broken download, a wrong archive: with the URL and the way out.
    """
    data_folder = Path(data_folder).resolve()
    archive = data_folder.with_name(data_folder.name + ".download")
    try:
        if not archive.is_file():
            download_file(url, archive, n_bytes=n_bytes, md5=md5)
        unpack_archive(archive, data_folder, check)
    except InputError as error:
        raise InputError(
            f"{error}\nTo do it by hand: get {url} and unpack it so that "
            f"{data_folder / expects} exists, or give the folder where it is: "
            f"{option}"
        ) from error
    archive.unlink()


def download_file(
    url: str,
    path: Path,
    n_bytes: int | None = None,
    md5: str | None = None,
    timeout: float = TIMEOUT_S,
) -> Path:
    """Download a file; what a broken download left is continued.

    The bytes go to ``<path>.part``. A server that does not know ranges sends the file
    from its beginning, and so it is written.

    Arguments
    ---------
    url : str
        What to get.
    path : str or Path
        Written only when all of it is there. Parents are made.
    n_bytes, md5 : int and str, optional
        Size and checksum, compared where they are given.
    timeout : float
        Seconds of silence after which the server is given up.

    Returns
    -------
    path : Path
        The file.

    Raises
    ------
    InputError
        The server cannot be reached or broke off (the part is kept), or size or
        checksum differ (the part is deleted).
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")
    start = part.stat().st_size if part.is_file() else 0
    try:
        response, start, total = _request(url, start, timeout)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise InputError(f"cannot download {url}: {error}") from error
    try:
        with response:
            size = _save(response, url, part, start, total)
        _compare(part, url, size, n_bytes, md5)
        os.replace(part, path)
    except OSError as error:  # those of the network are InputErrors by now
        raise InputError(f"cannot write {part}: {error}") from error
    return path


def _request(url: str, start: int, timeout: float) -> tuple | None:
    """Open a URL from byte `start` on: response, where it begins, bytes in all."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not start:
            raise
        # Nothing follows: it was killed before its last step, or the file changed.
        error.close()
        return _request(url, 0, timeout)
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        start = 0
    length = response.headers.get("Content-Length")
    return response, start, None if length is None else start + int(length)


def _save(response, url: str, part: Path, start: int, total: int | None) -> int:
    """Write a response behind the first `start` bytes of `part`; the size then."""
    part.parent.mkdir(parents=True, exist_ok=True)
    bar = progress_bar(
        desc=f"downloading {part.stem}",
        total=total,
        initial=start,
        unit="B",
        unit_scale=True,
    )
    with bar, open(part, "ab" if start else "wb") as file:
        while block := _read(response, url):
            file.write(block)
            bar.update(len(block))
        size = file.tell()
    if total is not None and size < total:
        raise _broke_off(url, f"{size} of {total} bytes came")
    return size


def _read(response, url: str) -> bytes:
    try:
        return response.read(BLOCK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _broke_off(url, error) from error


def _broke_off(url: str, why: str) -> InputError:
    return InputError(
        f"the download of {url} broke off: {why}. What came is kept; the same command "
        "resumes there"
    )


def _compare(
    part: Path, url: str, size: int, n_bytes: int | None, md5: str | None
) -> None:
    """Refuse, and delete, what is not the file that was asked for."""
    why = None
    if n_bytes is not None and size != n_bytes:
        why = f"has {size} bytes, expected {n_bytes}"
    elif md5 is not None:
        found = file_hash(part, kind="md5")
        if found != md5.lower():
            why = f"has the md5 {found}, expected {md5}"
    if why:
        part.unlink()
        raise InputError(f"{url} {why}; what came is deleted")


def unpack_archive(archive: Path, folder: Path, check=None) -> None:
    """Unpack a zip or tar archive as `folder`, all of it or nothing.

    The folder that encloses everything in the archive (``ESC-50-master/``) is left
    out. The checksums inside the archive are verified on the way. An archive that is
    damaged or does not pass `check` is deleted, since resuming would not mend it.

    Arguments
    ---------
    archive : str or Path
        The archive.
    folder : str or Path
        Must not exist, or be empty.
    check : callable, optional
        Gets the unpacked folder before it bears its name; raises InputError when
        something lacks.

    Raises
    ------
    InputError
        The archive is damaged, is none, or names files outside of itself.
    """
    archive, folder = Path(archive), Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty: nothing is unpacked over it")
    with atomic_folder(folder) as draft:
        try:
            for name, file in _members(archive):
                target = draft / _inside(name, archive)
                target.parent.mkdir(parents=True, exist_ok=True)
                with file, open(target, "wb") as copy:
                    shutil.copyfileobj(file, copy, BLOCK_BYTES)
            _drop_top_folder(draft)
            if check is not None:
                check(draft)
        except DAMAGED as error:
            archive.unlink()
            raise InputError(
                f"{archive} was damaged and is deleted: {error}"
            ) from error
        except InputError:
            archive.unlink()
            raise


def _members(archive: Path) -> Iterator[tuple]:
    """(name, open file) of every file of a zip or tar archive."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as bundle:
            for info in progress_bar(bundle.infolist(), desc="unpacking"):
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise InputError(f"{archive} has a link: {info.filename}")
                if not info.is_dir():
                    yield info.filename, bundle.open(info)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as bundle:
            for info in progress_bar(bundle, desc="unpacking"):
                if not info.isfile() and not info.isdir():
                    raise InputError(f"{archive} has a link or device: {info.name}")
                if info.isfile():
                    yield info.name, bundle.extractfile(info)
            # To the very end, where gzip has its checksum; tarfile stops before.
            while bundle.fileobj.read(BLOCK_BYTES):
                pass
    else:
        raise InputError(f"{archive} is neither a zip nor a tar archive")


def _inside(name: str, archive: Path):
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts:
        raise InputError(f"{archive} names a file outside of itself: {name}")
    return path


def _drop_top_folder(draft: Path) -> None:
    content = list(draft.iterdir())
    if len(content) == 1 and content[0].is_dir():
        top = draft.with_name(draft.name + ".top")
        os.replace(content[0], top)
        draft.rmdir()
        os.replace(top, draft)
