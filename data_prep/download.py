"""Download of a dataset's archive.

Uses only the standard library. An interrupted download is resumed, the archive is
checked, and the dataset's folder is written atomically.
"""

import http.client
import os
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

from speechbrain_lmac.utils.console import progress_bar
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import atomic_folder
from speechbrain_lmac.utils.hashing import file_hash

BLOCK_BYTES = 1 << 18
TIMEOUT_S = 30.0


def is_absent(folder: Path, option: str) -> bool:
    """Return whether a folder is missing or empty.

    Raises
    ------
    InputError
        The path is a file; `option` is the option that sets it, for the message.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is not a folder; set {option}")
    return not folder.exists() or not any(folder.iterdir())


def fetch_dataset(
    data_folder: str | Path,
    url: str,
    expects: str,
    check: Callable[[Path], object] | None = None,
    n_bytes: int | None = None,
    md5: str | None = None,
    option: str = "--data_folder",
) -> None:
    """Download an archive, unpack it as `data_folder`, and remove it.

    Arguments
    ---------
    data_folder : str or Path
        Folder for the archive's content, without its top folder. A partial download is
        kept beside it, as ``<data_folder>.download.part``.
    url : str
        URL of a zip or (compressed) tar archive.
    expects : str
        A file of the dataset, named in the instructions for a manual download.
    check : callable, optional
        Called with the unpacked folder before it is renamed to `data_folder`; raises
        InputError if something is missing.
    n_bytes, md5 : int and str, optional
        Expected size and checksum of the archive.
    option : str
        The option that sets the folder, named in the same instructions.

    Raises
    ------
    InputError
        The network failed, the download was interrupted, or the archive is wrong; with
        the URL and the instructions.
    """
    data_folder = Path(data_folder).resolve()
    archive = data_folder.with_name(data_folder.name + ".download")
    try:
        if not archive.is_file():
            download_file(url, archive, n_bytes=n_bytes, md5=md5)
        unpack_archive(archive, data_folder, check)
    except InputError as error:
        raise InputError(
            f"{error}\nManual download: unpack {url} so that {data_folder / expects} "
            f"exists, or set the folder of the dataset: {option}"
        ) from error
    archive.unlink()


def download_file(
    url: str,
    path: str | Path,
    n_bytes: int | None = None,
    md5: str | None = None,
    timeout: float = TIMEOUT_S,
) -> Path:
    """Download a file, or resume an interrupted download.

    Data is written to ``<path>.part``. If the server does not support range requests,
    the download starts again.

    Arguments
    ---------
    url : str
        URL of the file.
    path : str or Path
        Output file, written only when complete. Its folder is created if missing.
    n_bytes, md5 : int and str, optional
        Expected size and checksum.
    timeout : float
        Seconds without data after which the download fails.

    Returns
    -------
    path : Path
        The file.

    Raises
    ------
    InputError
        The server cannot be reached or the download was interrupted (the part is kept),
        or size or checksum are wrong (the part is deleted).
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
    except OSError as error:  # network errors are already InputErrors
        raise InputError(f"cannot write {part}: {error}") from error
    return path


def _request(
    url: str, start: int, timeout: float
) -> tuple[http.client.HTTPResponse, int, int | None]:
    """Open a URL at byte `start`; return response, its first byte, and file size."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not start:
            raise
        # No bytes left: complete but not renamed, or the file on the server changed.
        error.close()
        return _request(url, 0, timeout)
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        start = 0
    length = response.headers.get("Content-Length")
    return response, start, None if length is None else start + int(length)


def _save(
    response: http.client.HTTPResponse,
    url: str,
    part: Path,
    start: int,
    total: int | None,
) -> int:
    """Append a response to `part`, which has `start` bytes; return its new size."""
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
        raise _interrupted(url, f"got {size} of {total} bytes")
    return size


def _read(response: http.client.HTTPResponse, url: str) -> bytes:
    try:
        return response.read(BLOCK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _interrupted(url, error) from error


def _interrupted(url: str, reason: object) -> InputError:
    return InputError(
        f"the download of {url} was interrupted: {reason}. Repeat the command to resume"
    )


def _compare(
    part: Path, url: str, size: int, n_bytes: int | None, md5: str | None
) -> None:
    """Delete the file and raise if its size or checksum is wrong."""
    fault = None
    if n_bytes is not None and size != n_bytes:
        fault = f"has {size} bytes, expected {n_bytes}"
    elif md5 is not None:
        found = file_hash(part, kind="md5")
        if found != md5.lower():
            fault = f"has the md5 {found}, expected {md5}"
    if fault:
        part.unlink()
        raise InputError(f"{url} {fault}; the download was deleted")


def unpack_archive(
    archive: str | Path,
    folder: str | Path,
    check: Callable[[Path], object] | None = None,
) -> None:
    """Unpack a zip or tar archive as `folder`, atomically.

    A single top folder of the archive (``ESC-50-master/``) is stripped. The checksums
    inside the archive are verified. An archive that is damaged or fails `check` is
    deleted, because resuming the download would not repair it.

    Arguments
    ---------
    archive : str or Path
        The archive.
    folder : str or Path
        Must not exist, or be empty.
    check : callable, optional
        Called with the unpacked folder before it is renamed to `folder`; raises
        InputError if something is missing.

    Raises
    ------
    InputError
        The archive is damaged or of another format, or a tar archive has links, devices
        or paths outside the folder, or Python is older than 3.11.4; or `folder` is
        not empty.
    """
    archive, folder = Path(archive), Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty: cannot unpack {archive}")
    is_tar = not zipfile.is_zipfile(archive) and tarfile.is_tarfile(archive)
    if is_tar and not hasattr(tarfile, "data_filter"):
        raise InputError(
            f"cannot unpack {archive}: tar archives need Python 3.11.4 or newer. "
            f"Unpack it by hand as {folder}"
        )
    with atomic_folder(folder) as draft:
        try:
            _extract(archive, draft)
            _drop_top_folder(draft)
            if check is not None:
                check(draft)
        except InputError:
            archive.unlink()
            raise


def _extract(archive: Path, folder: Path) -> None:
    """Extract a zip or tar archive; zip paths that lead outside end up in `folder`.

    shutil.unpack_archive is not used: it stops before the checksum at the end of a
    compressed tar archive, and skips files of a zip with ".." in their names.
    """
    is_zip = zipfile.is_zipfile(archive)
    if not is_zip and not tarfile.is_tarfile(archive):
        raise InputError(f"{archive} is neither a zip nor a tar archive")
    try:
        if is_zip:
            with zipfile.ZipFile(archive) as bundle:
                names = progress_bar(bundle.namelist(), desc="unpacking")
                bundle.extractall(folder, names)
        else:
            with tarfile.open(archive) as bundle:
                members = progress_bar(bundle, desc="unpacking")
                bundle.extractall(folder, members, filter=_no_links)
                while bundle.fileobj.read(BLOCK_BYTES):  # to the checksum at the end
                    pass
    except Exception as error:  # each compression raises its own error for damage
        if getattr(error, "errno", None) is not None:
            raise  # a disk error
        raise InputError(f"{archive} is damaged and was deleted: {error}") from error


def _no_links(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """Apply tarfile's "data" filter; reject links, which evaded it (CVE-2025-4517)."""
    if member.issym() or member.islnk():
        raise tarfile.SpecialFileError(member)
    return tarfile.data_filter(member, folder)


def _drop_top_folder(draft: Path) -> None:
    content = list(draft.iterdir())
    if len(content) == 1 and content[0].is_dir():
        top = draft.with_name(draft.name + ".top")
        os.replace(content[0], top)
        draft.rmdir()
        os.replace(top, draft)
