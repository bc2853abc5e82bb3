"""The Hugging Face hub: a model's folder goes up, and comes back.

Nothing here imports torch. The token is the one of `hf auth login` or of `HF_TOKEN`; it
is neither asked for nor shown.
"""

import math
import os
import re
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import huggingface_hub as hf  # its own parts are imported when they are first used
from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import (
    disable_progress_bars,
    get_session,
    validate_repo_id,
)

from speechbrain_lmac.utils.console import hide_bars
from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.hashing import content_hash, file_hash

TOKEN = re.compile(r"hf_\w+|Bearer \S+")
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
BRANCH = "main"
# Python leaves it beside custom_interface.py; it names paths of this computer.
BYTECODE = "__pycache__"
WAIT = 4.0  # s until the hub counts as one that cannot be reached
HOLDS = 60.0  # s, of what is known of that
_answers = {}  # endpoint to (when it was asked, whether it answered)


@dataclass(frozen=True)
class Upload:
    """What the hub has now."""

    repo: str
    url: str
    commit: str  # 40 hexadecimal digits
    changed: bool  # whether a commit was made
    files: tuple  # names


def hub_answers() -> bool:
    """Whether the hub can be reached; known within `WAIT` seconds.

    huggingface_hub tries again and again, with a warning each time. What is found holds
    for a minute. In a command that hides its progress bars the hub's are hidden, too.
    """
    hide_bars(disable_progress_bars)
    endpoint = constants.ENDPOINT
    asked, answered = _answers.get(endpoint, (-math.inf, True))
    if constants.HF_HUB_OFFLINE or time.monotonic() - asked < HOLDS:
        return answered
    found = []
    thread = threading.Thread(target=_ask, args=(endpoint, found), daemon=True)
    thread.start()
    thread.join(WAIT)  # a name server may not answer, and has no time limit
    _answers[endpoint] = time.monotonic(), bool(found)
    return bool(found)


def _ask(endpoint: str, found: list) -> None:
    """Append to `found` if there is an answer, whatever it is."""
    with suppress(Exception):
        get_session().head(endpoint, timeout=WAIT)
        found.append(True)


def hub_file(repo: str, filename: str, revision=None, token=None) -> Path:
    """`hf_hub_download`; from the cache alone where the hub does not answer."""
    validate_repo_id(repo)
    if hub_answers():
        return Path(hf.hf_hub_download(repo, filename, revision=revision, token=token))
    cached = hf.try_to_load_from_cache(repo, filename, revision=revision)
    if not isinstance(cached, str):
        raise LocalEntryNotFoundError(f"{repo} has no {filename} in the cache")
    return Path(cached)


def only_cached(
    source: str, filename: str, what: str, revision: str | None = None
) -> bool:
    """Whether a library has to do with what it has cached of a source.

    Arguments
    ---------
    source : str
        A folder or a hub id.
    filename : str
        That it needs.
    what : str
        It is for, as an error says it.
    revision : str, optional
        Branch, tag or commit.

    Returns
    -------
    cached : bool
        For `local_files_only`: the source is on the hub, which does not answer.

    Raises
    ------
    InputError
        When nothing is cached either.
    """
    if Path(source).exists():
        return False
    try:
        validate_repo_id(source)
    except HFValidationError:
        return True
    if hub_answers():
        return False
    path = hf.try_to_load_from_cache(source, filename, revision=revision)
    if not isinstance(path, str):
        at = "" if revision is None else f" at {revision}"
        raise InputError(
            f"cannot load {what} from {source}{at}: there is no such folder, the hub "
            "cannot be reached, and it is not in the cache. Look at the network, or "
            "name a folder"
        )
    return True


def check_hub(what: str, state=None) -> None:
    """Raise `InputError` if the hub does not answer."""
    if not hub_answers():
        error = ConnectionError(constants.ENDPOINT)
        raise _told(error, what, state)


def check_repo(repo: list | str) -> None:
    """Refuse what is no name of a repository.

    Raises
    ------
    InputError
        Unless it is USER/NAME, of letters, digits, `-`, `_` and `.`.
    """
    try:
        validate_repo_id(repo)
        if repo.count("/") != 1:
            raise HFValidationError("one / is needed")
    except HFValidationError as error:
        raise InputError(f"--repo {repo}: it has to be USER/NAME ({error})") from error


def upload_model(folder, repo, private=False):
    """Upload a folder to a model repository, in one commit.

    Files that are there already are not sent again; where all are, no commit is made.

    Arguments
    ---------
    folder : str or Path
        Its files are uploaded, with the folders in it.
    repo : str
        USER/NAME; made where there is none.
    private : bool
        Of a repository that is made. One that is there stays as it is, and is refused
        where it is public though `private` is asked for.

    Returns
    -------
    upload : Upload

    Raises
    ------
    InputError
        Telling what was uploaded, what was not, and what to do.
    """
    check_repo(repo)
    folder, api = Path(folder), hf.HfApi()
    names = _names(folder)
    nothing = "nothing was uploaded"
    check_hub(f"{repo} cannot be made or looked at", nothing)
    try:
        url = api.create_repo(repo, private=private, exist_ok=True)
        before = api.model_info(repo)
    except Exception as error:
        raise _told(error, f"{repo} cannot be made or looked at", nothing) from None
    if private and not before.private:
        raise InputError(
            f"{repo} is there already, and is public: {nothing}. Make it private on "
            "the hub, or name another repository"
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
        raise _told(error, f"the upload to {repo} failed", state) from None
    return Upload(repo, str(url), commit.oid, commit.oid != before.sha, tuple(names))


def verify_upload(folder, upload) -> None:
    """Download what was uploaded, and compare it file by file.

    Raises
    ------
    InputError
        Naming the files that are missing or others.
    """
    with TemporaryDirectory() as downloaded:
        download_model(upload.repo, downloaded, upload.commit)
        other = [
            name
            for name in upload.files
            if not (Path(downloaded) / name).is_file()
            or file_hash(Path(downloaded) / name) != file_hash(Path(folder) / name)
        ]
    if other:
        raise InputError(
            f"{upload.repo} at {upload.commit} is not what is in {folder}: "
            f"{some_of(other)} missing or different. Publish it again"
        )


def download_model(repo: str, folder: str, revision=None) -> None:
    """Download a whole repository into a folder, as files.

    Raises
    ------
    InputError
        When there is no such repository or revision, or it cannot be reached.
    """
    check_hub(f"cannot download {repo}")
    try:
        hf.snapshot_download(repo, revision=revision, local_dir=folder)
    except Exception as error:
        raise _told(error, f"cannot download {repo}") from None
    shutil.rmtree(Path(folder) / ".cache", ignore_errors=True)


def fetch_model_file(repo: str, filename: str, revision=None, token=None):
    """A file of a repository, in the hub's cache; without a network from there.

    Arguments
    ---------
    repo, filename : str
    revision : str, optional
        Branch, tag or commit.
    token : str, optional
        Without: that of the log-in.

    Returns
    -------
    path : Path

    Raises
    ------
    InputError
        When there is no such repository or file, or it cannot be reached.
    """
    try:
        return hub_file(repo, filename, revision=revision, token=token)
    except Exception as error:
        raise _told(error, f"cannot get {filename} of {repo} from the hub") from None


def has_model_file(repo, filename, revision=None, token=None):
    """Whether a repository has a file; without a network, whether the cache has.

    Arguments are those of `fetch_model_file`, which fetches it, as this does.
    """
    try:
        hub_file(repo, filename, revision=revision, token=token)
    except EntryNotFoundError:  # a LocalEntryNotFoundError is one, too
        return False
    except Exception as error:
        raise _told(error, f"cannot get {filename} of {repo} from the hub") from None
    return True


def _names(folder):
    """The files of a folder by their names in the repository, without bytecode."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in paths]
    return [name for name in names if BYTECODE not in name.split("/")]


def _blob(path):
    """The hash that git has of a file."""
    content = path.read_bytes()
    return content_hash(b"blob %d\0" % len(content), content, kind="sha1")


def _state(api, repo, folder, before):
    """What of a folder the hub has after an upload that failed."""
    try:
        if api.model_info(repo).sha == before:
            return (
                "no commit was made, so that nobody sees a part of it; large files "
                "that were sent are kept by the hub, and not sent again"
            )
        there = {
            entry.path: entry for entry in api.list_repo_tree(repo, recursive=True)
        }
    except Exception:
        return "what is there is not known, since the hub cannot be asked"
    missing = [n for n in _names(folder) if not _same(there.get(n), folder / n)]
    if missing:
        return f"these files are not there, or are older ones: {some_of(missing)}"
    return "all files are there all the same: only the answer was lost"


def _same(entry, path):
    """Whether a file on the hub is that of the folder."""
    if entry is None or not hasattr(entry, "blob_id"):
        return False
    if entry.lfs is not None:
        return entry.lfs.sha256 == file_hash(path, kind="sha256")
    return entry.blob_id == _blob(path)


def _told(error, what: str, state=None) -> InputError:
    """An `InputError` for what the hub or the network did."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, OfflineModeIsEnabled):
        why, do = "the hub is switched off (HF_HUB_OFFLINE)", "unset HF_HUB_OFFLINE"
    elif isinstance(error, GatedRepoError):
        why = "its owner has to grant you access"
        do = f"ask for it on the hub, then {LOG_IN}"
    elif isinstance(error, RevisionNotFoundError):
        why, do = "there is no such revision", "name another one"
    elif isinstance(error, LocalEntryNotFoundError):
        why = "the hub cannot be reached, and the file is not in the cache"
        do = "look at the network and try again"
    elif isinstance(error, EntryNotFoundError):
        why, do = "there is no such file in it", "it is none that publish.py writes"
    elif isinstance(error, RepositoryNotFoundError) or status == 401:
        why = "there is no such repository, or it is private and you are not known"
        do = f"look at its name, and {LOG_IN}"
    elif status == 403:
        why, do = (
            "your token must not do that",
            f"{LOG_IN}, with a token that may write",
        )
    elif isinstance(error, HfHubHTTPError) and status is not None and status >= 500:
        why, do = f"the hub answered {status}", "try again later; what is there stays"
    elif isinstance(error, (HfHubHTTPError, ValueError)):
        why, do = _scrubbed(error), "mend this and repeat the command"
    elif isinstance(error, OSError) or "httpx" in type(error).__module__:
        why = f"the connection failed ({type(error).__name__})"
        do = "look at the network and repeat the command"
    else:
        why, do = _scrubbed(error), "repeat the command"
    state = "" if state is None else f" State: {state}."
    return InputError(f"{what}: {why}.{state} To do: {do}")


def _scrubbed(error):
    """What an error says, in one line and without a token."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    token = os.environ.get("HF_TOKEN")
    text = text.replace(token, "***") if token else text
    return TOKEN.sub("***", text)[:500]
