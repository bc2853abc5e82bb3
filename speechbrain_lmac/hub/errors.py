"""Messages for errors of the Hugging Face hub and the network."""

import os
import re

from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from speechbrain_lmac.utils.errors import InputError

TOKEN = re.compile(r"hf_\w+|Bearer \S+")
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


def hub_error(error: Exception, failure: str, state: str | None = None) -> InputError:
    """Return an `InputError` for an error of the hub or the network.

    Arguments
    ---------
    error : Exception
        From huggingface_hub, its HTTP client or the operating system.
    failure : str
        The first clause of the message.
    state : str, optional
        Description of the repository.

    Returns
    -------
    error : InputError
        Its message contains the reason and the remedy.
    """
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, OfflineModeIsEnabled):
        reason, remedy = "offline mode is set (HF_HUB_OFFLINE)", "unset HF_HUB_OFFLINE"
    elif isinstance(error, GatedRepoError):
        reason = "it is gated, and you have no access"
        remedy = f"request access on the hub, then {LOG_IN}"
    elif isinstance(error, RevisionNotFoundError):
        reason, remedy = "no such revision", "use another one"
    elif isinstance(error, LocalEntryNotFoundError):
        reason = "the hub cannot be reached, and the file is not in the cache"
        remedy = "check the network and try again"
    elif isinstance(error, EntryNotFoundError):
        reason, remedy = "no such file", "use a model that publish.py has written"
    elif isinstance(error, RepositoryNotFoundError) or status == 401:
        reason = "no such repository, or a private one and you are not logged in"
        remedy = f"check its name, and {LOG_IN}"
    elif status == 403:
        reason = "your token has no permission"
        remedy = f"{LOG_IN}, with a write token"
    elif isinstance(error, HfHubHTTPError) and status is not None and status >= 500:
        reason, remedy = f"the hub returned status {status}", "try again later"
    elif isinstance(error, (HfHubHTTPError, ValueError)):
        reason, remedy = _scrubbed(error), "correct this and repeat the command"
    elif isinstance(error, OSError) or "httpx" in type(error).__module__:
        reason = f"the connection failed ({type(error).__name__})"
        remedy = "check the network and repeat the command"
    else:
        reason, remedy = _scrubbed(error), "repeat the command"
    state = "" if state is None else f" State: {state}."
    return InputError(f"{failure}: {reason}.{state} {remedy[0].upper()}{remedy[1:]}")


def _scrubbed(error: Exception) -> str:
    """Return the message of an error in one line and without a token."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    token = os.environ.get("HF_TOKEN")
    text = text.replace(token, "***") if token else text
    return TOKEN.sub("***", text)[:500]
