"""Trained interpreters: where they come from, and that they stay as they are."""

import huggingface_hub.constants
import pytest
import torch

from speechbrain_lmac.hub.weights import save_weights
from speechbrain_lmac.interpreters import TrainedInterpreter
from speechbrain_lmac.interpreters.trained import load_interpreter
from speechbrain_lmac.utils.errors import InputError


def assert_equal_states(one, other):
    one, other = one.state_dict(), other.state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_trained_interpreter_is_frozen(tmp_path):
    torch.manual_seed(0)
    trained = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout())
    save_weights(trained, tmp_path / "interpreter.ckpt")
    fresh = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout())
    loaded = TrainedInterpreter(fresh, tmp_path / "interpreter.ckpt")
    assert_equal_states(loaded.interpreter, trained)
    assert not any(module.training for module in loaded.modules())
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_a_missing_interpreter_is_named(tmp_path):
    with pytest.raises(InputError) as error:
        TrainedInterpreter(torch.nn.Linear(1, 1), tmp_path / "none.ckpt")
    assert str(tmp_path / "none.ckpt") in str(error.value)
    assert "train_lmac.py" in str(error.value)


def test_an_interpreter_comes_from_a_folder_or_from_the_hub(tmp_path, monkeypatch):
    trained = torch.nn.Linear(2, 2)
    save_weights(trained, tmp_path / "interpreter.ckpt")
    assert_equal_states(load(tmp_path), trained)
    asked = []

    def hub(repository, filename):
        asked.append((repository, filename))
        return tmp_path / filename

    name = "speechbrain_lmac.hub.weights.hub_file"
    monkeypatch.setattr(name, hub)
    assert_equal_states(load("someone/lmac"), trained)
    assert asked == [("someone/lmac", "interpreter.ckpt")]


def load(source):
    fresh = torch.nn.Linear(2, 2)
    load_interpreter(fresh, source)
    return fresh


def test_a_hub_id_of_an_interpreter_without_network(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", tmp_path / "hub")
    with pytest.raises(InputError) as error:
        load_interpreter(torch.nn.Linear(1, 1), "me/lmac", "pretrained_interpreter")
    message = str(error.value)
    assert "interpreter.ckpt" in message and "'me/lmac'" in message
    assert "--pretrained_interpreter" in message
