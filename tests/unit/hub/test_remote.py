"""A hub that cannot be reached: one early error, and use of the cache."""

import socket
import threading
from contextlib import contextmanager

import huggingface_hub
import pytest

from speechbrain_lmac.classifiers.clap.huggingface import load_clap
from speechbrain_lmac.classifiers.clap.text import load_tokenizer
from speechbrain_lmac.classifiers.huggingface import load_pretrained
from speechbrain_lmac.classifiers.speechbrain import load_encoder_classifier
from speechbrain_lmac.hub import remote
from speechbrain_lmac.hub.weights import fetch
from speechbrain_lmac.inference import AudioExplainer, trusted_loading
from speechbrain_lmac.utils.errors import InputError
from tests.hub_server import Hub, running

AT_MOST = 5.0  # s until the error
CALLS = {
    "fetch": lambda: fetch("me/it", "model.ckpt"),
    "file": lambda: remote.fetch_model_file("me/it", "hyperparams.yaml"),
    "download": lambda: remote.download_model("me/it", "folder"),
    "transformers": lambda: load_pretrained("me/it"),
    "clap": lambda: load_clap("me/it"),
    "tokenizer": lambda: load_tokenizer("me/it"),
    "speechbrain": lambda: load_encoder_classifier("me/it", True),
    "model": lambda: AudioExplainer.from_hparams("me/it"),
    "code": lambda: AudioExplainer.from_hparams("me/it", trust_remote_code=True),
}


@contextmanager
def nobody():
    """A port without a server."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@contextmanager
def silent():
    """A server that takes connections and never responds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def answering():
    """A hub without this model."""
    with running(Hub()) as server:
        yield server.endpoint


@pytest.fixture
def at(monkeypatch, tmp_path):
    """`at(endpoint)`: the hub is there, its cache empty."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.chdir(tmp_path)
    constants = huggingface_hub.constants

    def at(endpoint):
        monkeypatch.setattr(remote, "_reachable", {})
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))

    return at


@pytest.fixture
def connections(monkeypatch):
    """The addresses of all connections."""
    addresses, connect = [], socket.socket.connect

    def connect_and_count(self, address):
        addresses.append(address)
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_and_count)
    return addresses


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_server(at, caplog, capfd, connections, call):
    with nobody() as endpoint:
        at(endpoint)
        with pytest.raises(InputError, match="me/it"):
            call()
    assert len(connections) == 1  # and no second try, each with a longer pause
    assert not caplog.records and capfd.readouterr() == ("", "")


def test_no_response(at, caplog, connections, monkeypatch):
    assert remote.WAIT < AT_MOST
    monkeypatch.setattr(remote, "WAIT", 0.2)
    with silent() as endpoint:
        at(endpoint)
        for call in CALLS.values():
            with pytest.raises(InputError, match="me/it"):
                call()
    assert len(connections) == 1  # it is known by then
    assert not caplog.records


def test_no_name_server(at, monkeypatch):
    monkeypatch.setattr(remote, "WAIT", 0.1)
    with silent() as endpoint:
        at(endpoint)
        answer = threading.Event()
        monkeypatch.setattr(remote, "_request", lambda *args: answer.wait())
        assert not remote.hub_reachable()
        answer.set()


def test_what_is_found_holds_for_a_minute(at, monkeypatch):
    with nobody() as endpoint:
        at(endpoint)
        assert not remote.hub_reachable()
    with answering() as there:
        monkeypatch.setitem(remote._reachable, there, remote._reachable.pop(endpoint))
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", there)
        assert not remote.hub_reachable()
        requested, _ = remote._reachable[there]
        remote._reachable[there] = requested - remote.REUSED_FOR, False
        assert remote.hub_reachable()


def test_a_folder_and_a_wrong_name_need_no_hub(at, tmp_path, connections):
    with silent() as endpoint:
        at(endpoint)
        assert not remote.only_cached(str(tmp_path), "x", "a model")
        with pytest.raises(InputError, match="no/such/folder.*hub id"):
            fetch("no/such/folder", "model.ckpt")
    assert not connections


@pytest.fixture
def cached(tmp_path):
    """`cached(files, revision)`: the cache has files (name to text) of a revision."""

    def cached(files, revision="main", commit="0" * 40):
        model = tmp_path / "cache" / "models--me--it"
        folder = model / "snapshots" / commit
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text)
        (model / "refs").mkdir(exist_ok=True)
        (model / "refs" / revision).write_text(commit)

    return cached


def test_without_a_hub_the_cache_is_read(at, cached):
    cached({"config.json": "{}"})
    with nobody() as endpoint:
        at(endpoint)
        assert fetch("me/it", "config.json").read_text() == "{}"
        assert remote.only_cached("me/it", "config.json", "a model")
        with pytest.raises(InputError, match="from me/it: .*cache"):
            remote.only_cached("me/it", "other.json", "a model")


def test_a_revision_is_looked_for_in_the_cache(at, cached):
    cached({"config.json": "{}"}, "v1")
    with nobody() as endpoint:
        at(endpoint)
        assert remote.only_cached("me/it", "config.json", "a model", "v1")
        with pytest.raises(InputError, match="from me/it: .*cache"):
            remote.only_cached("me/it", "config.json", "a model")
        with pytest.raises(InputError, match="from me/it at v2: .*cache"):
            remote.only_cached("me/it", "config.json", "a model", "v2")


PRETRAINED = """\
net: !new:torch.nn.Linear [1, 1]
modules: {}
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables: {net: !ref <net>}
"""


def test_speechbrain_s_reader_takes_what_is_cached(at, cached, monkeypatch):
    fetch, fetching = trusted_loading.fetch, []

    def spy(*args, fetch_config, **options):
        fetching.append(fetch_config)
        return fetch(*args, fetch_config=fetch_config, **options)

    monkeypatch.setattr(trusted_loading, "fetch", spy)
    cached({"hyperparams.yaml": PRETRAINED}, "v1")
    options = {"trust_remote_code": True, "revision": "v1"}
    with nobody() as endpoint:
        at(endpoint)
        with pytest.raises(InputError, match="me/it .*cache"):
            AudioExplainer.from_hparams("me/it", **options)
    assert [config.allow_network for config in fetching] == [False]
