"""Weight files: writing, and invalid files."""

import pytest
import torch

from speechbrain_lmac.classifiers import CompactClassifier
from speechbrain_lmac.hub.weights import fetch, load_weights, save_weights
from speechbrain_lmac.utils.errors import InputError


def compact(seed=0):
    torch.manual_seed(seed)
    return CompactClassifier(4, n_mels=16, channels=(3, 4)).eval()


def test_equal_weights_make_equal_files(tmp_path):
    for name in ("a.ckpt", "longer-name.ckpt"):
        save_weights(compact(seed=3), tmp_path / name)
    one, other = (path.read_bytes() for path in tmp_path.iterdir())
    assert one == other


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, number, suffix):
    model = compact()
    model.norm.running_var[3] = number
    path = tmp_path / f"model{suffix}"
    save_weights(model, path)
    with pytest.raises(InputError, match="'norm.running_var' .*NaN"):
        load_weights(compact(), path)


def test_facts_are_in_both_kinds_of_files(tmp_path):
    for suffix in (".ckpt", ".safetensors"):
        save_weights(compact(), tmp_path / f"a{suffix}", classifier="0123")
        assert load_weights(compact(), tmp_path / f"a{suffix}").classifier == "0123"


def test_a_shipped_model_is_a_source():
    path = fetch("esc10-classifier", "model.ckpt")
    assert path.is_file() and path.parent.name == "esc10-classifier"
