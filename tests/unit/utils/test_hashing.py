"""Changes that a fingerprint depends on, and others."""

import functools
import hashlib

import pytest
import torch

from speechbrain_lmac.classifiers import CompactClassifier
from speechbrain_lmac.domains.stft import MagnitudeSTFTDomain, STFTDomain
from speechbrain_lmac.explainers import AllOnesExplainer, RandomExplainer, Remembered
from speechbrain_lmac.utils.hashing import (
    content_hash,
    file_hash,
    fingerprint_of,
    json_hash,
)
from tests.warm import warm_output


def model(seed=0, **options):
    torch.manual_seed(seed)
    return CompactClassifier(n_classes=3, channels=[4, 8], **options)


def ones(**options):
    return AllOnesExplainer(STFTDomain(sample_rate=16000, **options), model())


def test_the_same_settings_and_weights_have_the_same_fingerprint():
    assert fingerprint_of(ones()) == fingerprint_of(ones())
    assert fingerprint_of(Remembered(ones())) == fingerprint_of(Remembered(ones()))


def test_another_process_finds_the_same():
    code = (
        "import functools; from speechbrain_lmac.utils.hashing import fingerprint_of;"
        "from speechbrain_lmac.domains.stft import STFTDomain;"
        "print(fingerprint_of(STFTDomain(16000), {'a': functools.partial(sum, 1)}))"
    )
    here = fingerprint_of(STFTDomain(16000), {"a": functools.partial(sum, 1)})
    assert warm_output("-c", code).strip() == here


def test_a_cache_and_the_mode_do_not_count():
    explainer = Remembered(ones())
    before = fingerprint_of(explainer)
    explainer.explainer.classifier.eval()
    explainer.explain(torch.zeros(1, 4000))
    assert fingerprint_of(explainer) == before


def test_a_reference_cycle_ends():
    first = RandomExplainer(None)
    first.reference = first
    assert len(fingerprint_of(first)) == 16


def running_mean_moved():
    moved = model()
    moved.norm.running_mean += 1e-3
    return moved


@pytest.mark.parametrize(
    "one, other",
    [
        (model(seed=0), model(seed=1)),
        (model(), model(dropout=0.5)),
        (model(), running_mean_moved()),
        (STFTDomain(16000), STFTDomain(16000, n_mels=64)),
        (STFTDomain(16000), MagnitudeSTFTDomain(16000)),
        (RandomExplainer(None, seed=1), RandomExplainer(None, seed=2)),
        (RandomExplainer(None, (1, 2)), RandomExplainer(None, (2, 1))),
        (functools.partial(sum, start=1), functools.partial(sum, start=2)),
        (torch.zeros(2, 3), torch.zeros(3, 2)),
        ([[1], 2], [1, [2]]),
        (None, 0),
        (1, True),
    ],
)
def test_what_matters_changes_it(one, other):
    assert fingerprint_of(one) != fingerprint_of(other)


def test_types_devices_and_sets_count_by_what_they_are():
    # Configurations of transformers hold such.
    things = [torch.float32, torch.bfloat16, torch.device("cpu"), {"a", "b"}, {"a"}]
    assert len({fingerprint_of(thing) for thing in things}) == len(things)
    assert fingerprint_of({"x", "y", "z"}) == fingerprint_of({"z", "y", "x"})


def test_digests_are_those_of_hashlib(tmp_path):
    path = tmp_path / "sound.wav"
    path.write_bytes(b"sound")
    for n_bytes in (4, 16, 64):
        expected = hashlib.blake2b(b"sound", digest_size=n_bytes).hexdigest()
        assert file_hash(path, n_bytes) == content_hash("so", b"und", n_bytes=n_bytes)
        assert file_hash(path, n_bytes) == expected
    for kind in ("md5", "sha256"):
        expected = hashlib.new(kind, b"sound").hexdigest()
        assert (
            file_hash(path, kind=kind) == content_hash("sound", kind=kind) == expected
        )


def test_the_order_of_keys_is_no_content():
    expected = hashlib.blake2b(
        b'{"a": [2.5, null], "b": 1}', digest_size=16
    ).hexdigest()
    assert json_hash({"b": 1, "a": [2.5, None]}) == expected
