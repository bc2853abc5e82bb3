"""A hub that cannot be reached: told once, soon, and the cache is used."""

import socket
import time
from contextlib import contextmanager

import huggingface_hub
import pytest

from speechbrain_lmac import hub
from speechbrain_lmac.classifiers.checkpoint import fetch
from speechbrain_lmac.classifiers.clap_huggingface import load_clap
from speechbrain_lmac.classifiers.clap_text import load_tokenizer
from speechbrain_lmac.classifiers.huggingface import load_pretrained
from speechbrain_lmac.classifiers.speechbrain import load_encoder_classifier
from speechbrain_lmac.errors import InputError
from speechbrain_lmac.inference import AudioExplainer
from tests.hub_server import Hub, running

AT_MOST = 5.0  # s until it is told
CALLS = {
    "fetch": lambda: fetch("me/it", "model.ckpt"),
    "file": lambda: hub.fetch_model_file("me/it", "hyperparams.yaml"),
    "download": lambda: hub.download_model("me/it", "folder"),
    "transformers": lambda: load_pretrained("me/it"),
    "clap": lambda: load_clap("me/it"),
    "tokenizer": lambda: load_tokenizer("me/it"),
    "speechbrain": lambda: load_encoder_classifier("me/it", True),
    "model": lambda: AudioExplainer.from_hparams("me/it"),
    "code": lambda: AudioExplainer.from_hparams("me/it", trust_remote_code=True),
}


@contextmanager
def nobody():
    """A port that nobody listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@contextmanager
def silent():
    """A server that takes connections and never answers."""
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
        monkeypatch.setattr(hub, "_answers", {})
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))

    return at


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_nobody_listens(at, caplog, capfd, call):
    with nobody() as endpoint:
        at(endpoint)
        start = time.monotonic()
        with pytest.raises(InputError, match="me/it"):
            call()
        assert time.monotonic() - start < AT_MOST
    assert not caplog.records and capfd.readouterr() == ("", "")


def test_nobody_answers(at, caplog, monkeypatch):
    with silent() as endpoint:
        at(endpoint)
        start = time.monotonic()
        with pytest.raises(InputError, match="me/it"):
            CALLS["fetch"]()
        assert time.monotonic() - start < AT_MOST
        for name in set(CALLS) - {"fetch"}:  # it is known by now
            with pytest.raises(InputError, match="me/it"):
                CALLS[name]()
        assert time.monotonic() - start < AT_MOST + 1
    assert not caplog.records


def test_what_is_found_holds_for_a_minute(at, monkeypatch):
    with nobody() as endpoint:
        at(endpoint)
        assert not hub.hub_answers()
    with answering() as there:
        monkeypatch.setitem(hub._answers, there, hub._answers.pop(endpoint))
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", there)
        assert not hub.hub_answers()
        asked, _ = hub._answers[there]
        hub._answers[there] = asked - hub.HOLDS, False
        assert hub.hub_answers()


def test_a_folder_and_a_wrong_name_need_no_hub(at, tmp_path, monkeypatch):
    with silent() as endpoint:
        at(endpoint)
        start = time.monotonic()
        assert not hub.only_cached(str(tmp_path), "x", "a model")
        with pytest.raises(InputError, match="it is no hub id"):
            fetch("no/such/folder", "model.ckpt")
        assert time.monotonic() - start < 1


def test_without_a_hub_the_cache_is_read(at, tmp_path):
    commit = "0" * 40
    cached = tmp_path / "cache" / "models--me--it"
    (cached / "snapshots" / commit).mkdir(parents=True)
    (cached / "snapshots" / commit / "config.json").write_text("{}")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    with nobody() as endpoint:
        at(endpoint)
        assert fetch("me/it", "config.json").read_text() == "{}"
        assert hub.only_cached("me/it", "config.json", "a model")
        with pytest.raises(InputError, match="not in the cache"):
            hub.only_cached("me/it", "other.json", "a model")
