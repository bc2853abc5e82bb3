"""Upload and download of a model, and one clear error for every fault.

The hub is tests/hub_server.py. huggingface_hub reads its settings when it is imported,
so each call runs in a process of its own; it does not import torch.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub_server import Hub, running

REPO = "me/lmac"
CARD = "---\nlicence: x\nlicense: cc0-1.0\n---\n# A model\n"
CALL = """\
import json, sys, time
from pathlib import Path
time.sleep = lambda seconds: None  # the library waits between its repetitions
from speechbrain_lmac.hub import remote as hub
from speechbrain_lmac.utils.errors import InputError
action, folder, private = json.loads(sys.argv[1])
try:
    if action == "upload":
        upload = hub.upload_model(folder, "me/lmac", private)
        print(json.dumps([upload.url, upload.commit, upload.changed, upload.files]))
    elif action == "verify":
        upload = hub.upload_model(folder, "me/lmac")
        if private:  # meanwhile somebody changes a file here
            (Path(folder) / "model.ckpt").write_bytes(b"other")
        hub.verify_upload(folder, upload)
        print("same")
    elif action == "download":
        hub.download_model("me/lmac", folder)
    elif action.startswith("has "):
        print(hub.has_model_file("me/lmac", action.removeprefix("has ")))
    else:
        path = hub.fetch_model_file("me/lmac", action, revision=private or None)
        print(path.read_bytes().hex())
except InputError as error:
    sys.exit(f"error: {error}")
"""


@pytest.fixture
def hub():
    with running(Hub()) as server:
        yield server


@pytest.fixture
def model(tmp_path):
    """A folder with regular and LFS files."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "README.md").write_text(CARD)
    (folder / "hyperparams.yaml").write_text("a: 1\n")
    (folder / "model.ckpt").write_bytes(bytes(range(256)) * 5000)
    (folder / "example.wav").write_bytes(b"RIFF" + bytes(5000))
    return folder


@pytest.fixture
def call(hub, tmp_path):
    """`call(action, folder, private)`: the finished process."""

    def run(action, folder="", private=False, token=True, **settings):
        env = {
            **{k: v for k, v in os.environ.items() if "proxy" not in k.lower()},
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DOWNLOAD_TIMEOUT": "2",
            "HF_HUB_ETAG_TIMEOUT": "2",
            **settings,
        }
        env.pop("HF_TOKEN", None)
        if token:
            env["HF_TOKEN"] = hub.token if token is True else token
        arguments = json.dumps([action, str(folder), private])
        done = subprocess.run(
            [sys.executable, "-c", CALL, arguments],
            env=env,
            capture_output=True,
            text=True,
            cwd=Path(__file__).resolve().parents[2],
        )
        assert hub.token not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


@pytest.fixture
def refused(call):
    """`refused(...)`: the one error of a call that fails."""

    def run(*args, **kwargs):
        done = call(*args, **kwargs)
        assert done.returncode == 1, done.stdout
        (line,) = [x for x in done.stderr.splitlines() if x.startswith("error: ")]
        return line

    return run


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def uploaded(done):
    assert done.returncode == 0, done.stderr
    url, commit, changed, files = json.loads(done.stdout.splitlines()[-1])
    return commit, changed


@pytest.mark.parametrize("private", [False, True])
def test_a_folder_goes_up_and_comes_back(hub, call, model, tmp_path, private):
    commit, changed = uploaded(call("upload", model, private))
    assert changed and commit == hub.repos[REPO].head
    assert hub.repos[REPO].private is private
    assert hub.repos[REPO].files("main") == files_of(model)
    assert set(hub.lfs) == {
        hashlib.sha256((model / name).read_bytes()).hexdigest()
        for name in ("model.ckpt", "example.wav")
    }
    back = tmp_path / "back"
    assert call("download", back).returncode == 0
    assert files_of(back) == files_of(model)
    assert not any(path.is_symlink() for path in back.iterdir())


def test_the_same_again_makes_no_commit(hub, call, model):
    first, changed = uploaded(call("upload", model))
    again, changed_again = uploaded(call("upload", model))
    assert changed and not changed_again
    assert again == first == hub.repos[REPO].head
    assert len(hub.repos[REPO].commits) == 2
    assert hub.count("^PUT /storage") == 2  # of the first time
    (model / "hyperparams.yaml").write_text("a: 2\n")
    other, changed = uploaded(call("upload", model))
    assert changed and other != first
    assert hub.count("^PUT /storage") == 2


def test_bytecode_is_not_uploaded(hub, call, model):
    uploaded(call("upload", model))
    (model / "__pycache__").mkdir()
    (model / "__pycache__" / "custom_interface.pyc").write_bytes(b"compiled")
    _, changed = uploaded(call("upload", model))
    assert not changed
    assert call("verify", model).stdout.splitlines()[-1] == "same"


def test_verify_compares_what_is_there(call, refused, model):
    assert call("verify", model).stdout.splitlines()[-1] == "same"
    message = refused("verify", model, True)
    assert "model.ckpt missing" in message


def test_a_private_model_needs_the_token(hub, call, refused, model):
    uploaded(call("upload", model, True))
    content = (model / "hyperparams.yaml").read_bytes().hex()
    assert call("hyperparams.yaml").stdout.strip() == content
    message = refused(
        "hyperparams.yaml", token=None, HF_HOME=str(model.parent / "other")
    )
    assert "me/lmac: " in message and "private" in message and "hf auth" in message


def test_a_public_model_needs_none_and_then_no_network(hub, call, model):
    uploaded(call("upload", model))
    content = (model / "model.ckpt").read_bytes().hex()
    assert call("model.ckpt", token=None).stdout.strip() == content
    calls = len(hub.calls)
    offline = call("model.ckpt", token=None, HF_HUB_OFFLINE="1")
    assert offline.stdout.strip() == content
    assert len(hub.calls) == calls


@pytest.mark.parametrize(
    "name, revision, expected",
    [
        ("nothing.ckpt", None, "no such file"),
        ("model.ckpt", "v9", "no such revision"),
    ],
)
def test_what_is_missing_is_named(call, refused, model, name, revision, expected):
    uploaded(call("upload", model))
    assert expected in refused(name, private=revision)


def test_a_file_is_looked_up_with_and_without_a_network(hub, call, model):
    uploaded(call("upload", model))
    for _ in range(2):
        assert call("has model.ckpt").stdout.strip() == "True"
        assert call("has model.safetensors").stdout.strip() == "False"
        hub.fault = (".", "500")  # the cache is used
    hub.fault = None
    assert call("has model.ckpt", HF_HUB_OFFLINE="1").stdout.strip() == "True"
    assert call("has model.safetensors", HF_HUB_OFFLINE="1").stdout.strip() == "False"


def test_a_missing_repository(refused):
    assert "no such repository" in refused("model.ckpt")


def test_a_public_repository_is_not_taken_for_a_private_one(hub, call, refused, model):
    uploaded(call("upload", model))
    (model / "hyperparams.yaml").write_text("secret: 1\n")
    message = refused("upload", model, True)
    assert "me/lmac" in message and "public" in message
    assert len(hub.repos[REPO].commits) == 2


@pytest.mark.parametrize("token", [None, "hf_wrongwrongwrong"])
def test_without_a_token_that_may_nothing_is_uploaded(hub, refused, model, token):
    message = refused("upload", model, token=token)
    assert "nothing was" in message and "hf auth" in message
    assert not hub.repos


def test_a_token_that_must_not_write(hub, refused, model):
    hub.fault = ("preupload", "403")
    message = refused("upload", model)
    assert "permission" in message and NO_COMMIT in message


NO_COMMIT = "no commit"
NOTHING = "nothing was"


@pytest.mark.parametrize(
    "fault, expected",
    [
        (("repos/create", "500"), NOTHING),
        (("repos/create", "cut"), NOTHING),
        (("preupload", "500"), NO_COMMIT),
        (("lfs/objects/batch", "500"), NO_COMMIT),
        (("PUT /storage", "400"), NO_COMMIT),
        (("PUT /storage", "cut"), NO_COMMIT),
        (("/commit/", "500"), NO_COMMIT),
        (("/commit/", "cut"), NO_COMMIT),
    ],
)
def test_an_upload_that_fails_says_so_and_can_be_repeated(
    hub, call, refused, model, fault, expected
):
    hub.fault = fault
    assert expected in refused("upload", model)
    assert all(len(repo.commits) == 1 for repo in hub.repos.values())
    hub.fault = None
    assert uploaded(call("upload", model))[1]
    assert hub.repos[REPO].files("main") == files_of(model)


def test_a_commit_whose_answer_is_lost(hub, call, refused, model):
    hub.fault = ("commit", "cut after")
    assert "all files" in refused("upload", model)
    hub.fault = None
    assert uploaded(call("upload", model))[1] is False


def test_a_card_that_the_hub_refuses(hub, refused, model):
    (model / "README.md").write_text('---\nlicense: ""\n---\n')
    message = refused("upload", model)
    assert "license" in message and NO_COMMIT in message
    assert len(hub.repos[REPO].commits) == 1


def test_no_network(refused, model):
    nowhere = "http://127.0.0.1:9"
    message = refused("upload", model, HF_ENDPOINT=nowhere)
    assert "connection failed" in message and NOTHING in message
    message = refused("model.ckpt", HF_ENDPOINT=nowhere)
    assert "model.ckpt" in message and "reached" in message


def test_offline(refused, model):
    message = refused("upload", model, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE" in message and NOTHING in message


def test_a_download_that_is_cut_is_one_error_and_can_be_repeated(
    hub, call, refused, model, tmp_path
):
    uploaded(call("upload", model))
    hub.fault = ("GET .*/resolve/.*ckpt", "cut")
    assert "cannot download me/lmac" in refused("download", tmp_path / "back")
    hub.fault = None
    assert call("download", tmp_path / "back").returncode == 0
    assert files_of(tmp_path / "back") == files_of(model)


def test_the_token_is_written_nowhere(hub, call, model, tmp_path):
    uploaded(call("upload", model))
    assert hub.tokens == {hub.token}
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert hub.token.encode() not in path.read_bytes(), path
