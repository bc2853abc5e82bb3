"""Upload to and download from the Hugging Face hub.

This module does not import torch. The token is that of `hf auth login` or `HF_TOKEN`,
unless a `token` is given; it is never prompted for or printed.
"""

import math
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import huggingface_hub as hf  # imports its parts lazily
from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    HFValidationError,
    LocalEntryNotFoundError,
)
from huggingface_hub.utils import (
    disable_progress_bars,
    get_session,
    validate_repo_id,
)

from speechbrain_lmac.hub.errors import hub_error
from speechbrain_lmac.utils.console import hide_bars
from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.hashing import content_hash, file_hash

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile, RepoFolder

BRANCH = "main"
# Not uploaded: Python writes it beside custom_interface.py, with local paths.
BYTECODE = "__pycache__"
WAIT = 4.0  # s without a response: the hub is unreachable
REUSED_FOR = 60.0  # s for which the result of a request is reused
# Endpoint to the time of the last request and whether there was a response.
_reachable: dict[str, tuple[float, bool]] = {}


@dataclass(frozen=True)
class Upload:
    """The state of the hub after an upload."""

    repo: str
    url: str
    commit: str  # 40 hexadecimal digits
    changed: bool  # whether a commit was made
    files: tuple[str, ...]  # the folder's, without bytecode; names in the repository


def hub_reachable() -> bool:
    """Whether the hub can be reached, within `WAIT` seconds.

    huggingface_hub itself retries many times, each with a warning. The result is reused
    for `REUSED_FOR` seconds; with HF_HUB_OFFLINE there is no request, and the default
    is True, as huggingface_hub reads its cache then. If progress bars are hidden, so
    are those of the hub.
    """
    hide_bars(disable_progress_bars)
    endpoint = constants.ENDPOINT
    requested, reached = _reachable.get(endpoint, (-math.inf, True))
    if constants.HF_HUB_OFFLINE or time.monotonic() - requested < REUSED_FOR:
        return reached
    responses: list[bool] = []
    thread = threading.Thread(target=_request, args=(endpoint, responses), daemon=True)
    thread.start()
    thread.join(WAIT)  # the timeout of the request excludes the DNS lookup
    _reachable[endpoint] = time.monotonic(), bool(responses)
    return bool(responses)


def _request(endpoint: str, responses: list[bool]) -> None:
    """Append True to `responses` after any response."""
    with suppress(Exception):
        get_session().head(endpoint, timeout=WAIT)
        responses.append(True)


def hub_file(
    repo: str,
    filename: str,
    revision: str | None = None,
    token: str | bool | None = None,
) -> Path:
    """Download a file of a repository; if the hub is unreachable, find it in the cache.

    Arguments
    ---------
    repo, filename, revision, token
        As in `huggingface_hub.hf_hub_download`.

    Returns
    -------
    path : Path
        In the hub's cache.
    """
    validate_repo_id(repo)
    if hub_reachable():
        return Path(hf.hf_hub_download(repo, filename, revision=revision, token=token))
    cached = hf.try_to_load_from_cache(repo, filename, revision=revision)
    if not isinstance(cached, str):
        raise LocalEntryNotFoundError(f"{repo} has no {filename} in the cache")
    return Path(cached)


def only_cached(
    source: str, filename: str, subject: str, revision: str | None = None
) -> bool:
    """Whether a library must load a source from the cache, as the hub is unreachable.

    Arguments
    ---------
    source : str
        A folder or a hub id.
    filename : str
        A file that the library needs.
    subject : str
        Name of what is loaded, for the error message.
    revision : str, optional
        Branch, tag or commit.

    Returns
    -------
    cached : bool
        Value of `local_files_only`: False for an existing folder; True
        if the hub is unreachable, or `source` is not a hub id.

    Raises
    ------
    InputError
        When the file is not in the cache either.
    """
    if Path(source).exists():
        return False
    try:
        validate_repo_id(source)
    except HFValidationError:
        return True
    if hub_reachable():
        return False
    path = hf.try_to_load_from_cache(source, filename, revision=revision)
    if not isinstance(path, str):
        at = "" if revision is None else f" at {revision}"
        raise InputError(
            f"cannot load {subject} from {source}{at}: no such folder, the hub cannot "
            "be reached, and it is not in the cache. Check the network, or use a "
            "folder"
        )
    return True


def check_hub(failure: str, state: str | None = None) -> None:
    """Raise `InputError` if the hub cannot be reached; see `hub_error`."""
    if not hub_reachable():
        error = ConnectionError(constants.ENDPOINT)
        raise hub_error(error, failure, state)


def check_repo(repo: Any) -> None:
    """Raise if a value of the command line is not the name of a repository.

    Raises
    ------
    InputError
        Unless it is USER/NAME, of letters, digits, `-`, `_` and `.`.
    """
    try:
        validate_repo_id(repo)
        if repo.count("/") != 1:
            raise HFValidationError("exactly one / is required")
    except HFValidationError as error:
        raise InputError(f"--repo must be USER/NAME, got {repo!r} ({error})") from error


def upload_model(folder: Path | str, repo: str, private: bool = False) -> Upload:
    """Upload a folder to a model repository, in one commit.

    Only changed files are uploaded; without a change no commit is made.

    Arguments
    ---------
    folder : str or Path
        Uploaded with its subfolders.
    repo : str
        USER/NAME; created if missing.
    private : bool
        Create a private repository; an existing public one is an error.

    Returns
    -------
    upload : Upload

    Raises
    ------
    InputError
        With the state of the repository (unchanged, or the missing or outdated
        files) and the remedy.
    """
    check_repo(repo)
    folder, api = Path(folder), hf.HfApi()
    names = _names(folder)
    nothing = "nothing was uploaded"
    failure = f"{repo} cannot be created or read"
    check_hub(failure, nothing)
    try:
        url = api.create_repo(repo, private=private, exist_ok=True)
        before = api.model_info(repo)
    except Exception as error:
        raise hub_error(error, failure, nothing) from None
    if private and not before.private:
        raise InputError(
            f"{repo} exists and is public: {nothing}. Make it private on the hub, or "
            "use another repository"
        )
    try:
        commit = api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            commit_message="Upload of a model",
            ignore_patterns=f"{BYTECODE}/*",
        )
    except Exception as error:
        state = _state(api, repo, folder, before.sha)
        raise hub_error(error, f"the upload to {repo} failed", state) from None
    return Upload(repo, str(url), commit.oid, commit.oid != before.sha, tuple(names))


def verify_upload(folder: Path | str, upload: Upload) -> None:
    """Download an upload and compare it with its folder, file by file.

    Raises
    ------
    InputError
        With the files that are missing or different.
    """
    with TemporaryDirectory() as downloaded:
        download_model(upload.repo, downloaded, upload.commit)
        wrong = [
            name
            for name in upload.files
            if not (Path(downloaded) / name).is_file()
            or file_hash(Path(downloaded) / name) != file_hash(Path(folder) / name)
        ]
    if wrong:
        raise InputError(
            f"{upload.repo} at {upload.commit} differs from {folder}: "
            f"{some_of(wrong)} missing or different. Publish it again"
        )


def download_model(repo: str, folder: Path | str, revision: str | None = None) -> None:
    """Download a whole repository into a folder.

    Arguments
    ---------
    repo : str
        USER/NAME.
    folder : str or Path
    revision : str, optional
        Branch, tag or commit.

    Raises
    ------
    InputError
        When the repository or revision does not exist, or the hub is unreachable.
    """
    check_hub(f"cannot download {repo}")
    try:
        hf.snapshot_download(repo, revision=revision, local_dir=folder)
    except Exception as error:
        raise hub_error(error, f"cannot download {repo}") from None
    shutil.rmtree(Path(folder) / ".cache", ignore_errors=True)


def fetch_model_file(
    repo: str,
    filename: str,
    revision: str | None = None,
    token: str | bool | None = None,
) -> Path:
    """Return the path of a file of a repository in the hub's cache.

    It is downloaded first, unless the hub is unreachable.

    Arguments
    ---------
    repo, filename : str
    revision : str, optional
        Branch, tag or commit.
    token : str or bool, optional
        Default: the token of the login; False: none.

    Returns
    -------
    path : Path

    Raises
    ------
    InputError
        When the repository or file does not exist, or the hub is unreachable and the
        file is not in the cache.
    """
    try:
        return hub_file(repo, filename, revision=revision, token=token)
    except Exception as error:
        raise hub_error(error, f"cannot get {filename} of {repo}") from None


def has_model_file(
    repo: str,
    filename: str,
    revision: str | None = None,
    token: str | bool | None = None,
) -> bool:
    """Whether a repository (or its cache, if the hub is unreachable) has a file.

    The file is downloaded, as by `fetch_model_file`.

    Arguments
    ---------
    repo, filename, revision, token
        As in `fetch_model_file`.

    Returns
    -------
    found : bool
    """
    try:
        hub_file(repo, filename, revision=revision, token=token)
    except EntryNotFoundError:  # a LocalEntryNotFoundError is one, too
        return False
    except Exception as error:
        raise hub_error(error, f"cannot get {filename} of {repo}") from None
    return True


def _names(folder: Path) -> list[str]:
    """Return the names of the files of a folder in the repository, without bytecode."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in paths]
    return [name for name in names if BYTECODE not in name.split("/")]


def _blob(path: Path) -> str:
    """Return git's hash of a file."""
    content = path.read_bytes()
    return content_hash(b"blob %d\0" % len(content), content, kind="sha1")


def _state(api: hf.HfApi, repo: str, folder: Path, before: str | None) -> str:
    """Describe the repository after a failed upload; `before` is its old commit."""
    try:
        if api.model_info(repo).sha == before:
            return (
                "no commit was made, so the repository is unchanged; the next upload "
                "skips large files that are already on the hub"
            )
        present = {
            entry.path: entry for entry in api.list_repo_tree(repo, recursive=True)
        }
    except Exception:
        return "the state of the repository is unknown"
    missing = [n for n in _names(folder) if not _same(present.get(n), folder / n)]
    if missing:
        return f"missing or outdated files: {some_of(missing)}"
    return "all files were uploaded, only the response was lost"


def _same(entry: "RepoFile | RepoFolder | None", path: Path) -> bool:
    """Whether a file on the hub equals a local one."""
    from huggingface_hub.hf_api import RepoFile

    if not isinstance(entry, RepoFile):
        return False
    if entry.lfs is not None:
        return entry.lfs.sha256 == file_hash(path, kind="sha256")
    return entry.blob_id == _blob(path)
