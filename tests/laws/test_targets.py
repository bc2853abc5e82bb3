"""Laws of mixtures of two clips in a training, and of their random targets."""

import pytest
import torch
import torch.nn.functional as F

from speechbrain_lmac.classifiers import CompactClassifier
from speechbrain_lmac.data.dataset import ClipDataset, ClipsById
from speechbrain_lmac.data.online_noise import (
    CorpusNoise,
    GeneratedNoise,
    OtherClips,
    Sometimes,
)
from speechbrain_lmac.data_prep.toy_prepare import make_toy, prepare_toy
from speechbrain_lmac.domains.stft import STFTDomain
from speechbrain_lmac.dsp.mixing import measured_snr
from speechbrain_lmac.dsp.toy_sounds import TOY_CLASSES
from speechbrain_lmac.losses.lmac import (
    mask_in,
    mask_out,
    supported_mask_in,
    supported_mask_out,
    unsupported_mask_in,
)
from speechbrain_lmac.training.targets import PredictedClass, RandomTargets
from speechbrain_lmac.types import Evidence
from speechbrain_lmac.utils.errors import InputError

PARTS = ("train", "valid", "test")
CLASSES = list(TOY_CLASSES)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A clip of each class and fold, by name."""
    folder = tmp_path_factory.mktemp("toy")
    make_toy(folder / "toy", n_clips=30, seconds=1.0, progress=False)
    dataset = ClipDataset(
        prepare_toy, folder / "toy", CLASSES, len(CLASSES), 16000, 1.0
    )
    dataset.prepare_manifests(folder / "json")
    return ClipsById(dataset, folder / "json")


def keys_of(clips, part, epochs=(1,)):
    return [(7, epoch, name) for epoch in epochs for name in clips.categories(part)]


@pytest.fixture(scope="module")
def targets(clips):
    """`targets(any_class, probability)` of an untrained classifier."""
    torch.manual_seed(0)
    domain = STFTDomain(sample_rate=16000)
    classifier = CompactClassifier(len(CLASSES), channels=(4, 8)).eval()

    def targets(any_class=0.5, probability=0.5):
        sources = Sometimes(OtherClips(clips), probability)
        return RandomTargets(clips, sources, domain, classifier, any_class)

    return targets


@pytest.mark.parametrize("part", PARTS)
def test_other_clips_are_of_the_same_part_and_of_another_class(clips, part):
    categories = clips.categories(part)
    for key in keys_of(clips, part, range(20)):
        clip, other = OtherClips(clips).sources(key, part)
        assert clip == key[-1]
        assert categories[other] != categories[clip]  # a KeyError: of another part
    for other_part in set(PARTS) - {part}:
        assert not set(categories) & set(clips.categories(other_part))


def test_every_clip_of_another_class_is_drawn(clips):
    key = keys_of(clips, "train")[0]
    own = clips.categories("train")[key[-1]]
    drawn = {OtherClips(clips).sources((7, e, key[-1]), "train")[1] for e in range(300)}
    wanted = {n for n, c in clips.categories("train").items() if c != own}
    assert drawn == wanted


def test_a_mixture_is_made_of_the_sources_that_it_names(clips):
    noise, keys = OtherClips(clips, snr_db=6.0), keys_of(clips, "valid")
    wav = torch.stack([clips.wav(key[-1], "valid") for key in keys])
    for mixture, key in zip(noise.mix(wav, keys, "valid")[0], keys, strict=True):
        first, second = (clips.wav(n, "valid") for n in noise.sources(key, "valid"))
        # The mixture is a combination of both; which one, least squares says.
        basis = torch.stack([first, second], 1).double()
        gains = torch.linalg.lstsq(basis, mixture.double()[:, None]).solution[:, 0]
        torch.testing.assert_close(basis @ gains, mixture.double(), atol=1e-5, rtol=0)
        stems = [g * w for g, w in zip(gains, (first, second), strict=True)]
        assert measured_snr(*stems) == pytest.approx(6.0, abs=1e-3)
        assert mixture.abs().max() == pytest.approx(1, abs=1e-6)


def test_sometimes_names_both_sources_exactly_where_it_mixes(clips):
    noise, keys = Sometimes(OtherClips(clips), 0.5), keys_of(clips, "train", range(3))
    wav = torch.stack([clips.wav(key[-1], "train") for key in keys])
    mixed = (noise.mix(wav, keys, "train")[0] != wav).any(1).tolist()
    assert mixed == [len(noise.sources(key, "train")) == 2 for key in keys]
    assert 0.3 < sum(mixed) / len(mixed) < 0.7


def test_a_noise_is_no_source():
    for noise in (GeneratedNoise(16000), CorpusNoise(None, 16000)):
        assert noise.sources((7, 1, "a"), "train") == ("a",)
        assert Sometimes(noise, 1.0).sources((7, 1, "a"), "train") == ("a",)


def test_one_class_alone_cannot_be_mixed(clips, monkeypatch):
    monkeypatch.setattr(clips, "categories", lambda part: {"a": "dog", "b": "dog"})
    with pytest.raises(InputError, match="mix with a: .* test"):
        OtherClips(clips).sources((7, 1, "a"), "test")


def test_targets_are_a_function_of_the_key(targets, clips):
    keys = keys_of(clips, "train", (1, 2))
    first = targets().sample(keys, "train")
    again = targets().sample(keys[::-1], "train")
    assert torch.equal(first.target, again.target.flip(0))
    assert torch.equal(first.support, again.support.flip(0))
    half = len(keys) // 2  # the two epochs
    assert not torch.equal(first.target[:half], first.target[half:])
    for key, target in zip(keys[:3], first.target[:3], strict=True):
        assert targets().sample([key], "train").target.item() == target


def test_probabilities_are_of_a_source_alone(targets, clips):
    choice = targets()
    domain, classifier = choice.domain, choice.classifier
    names = list(clips.categories("test"))
    wav = torch.stack([clips.wav(name, "test") for name in names])
    with torch.no_grad():
        expected = classifier(domain.features(domain.encode(wav))).logits.softmax(1)
    found = torch.stack([choice.probabilities(name, "test") for name in names])
    torch.testing.assert_close(found, expected)
    assert (found[0] - found[1]).abs().max() > 1e-4  # or any clip would do


class TwoSources:
    """Always the same two."""

    def sources(self, key, part):
        return "a", "b"


def sampled(any_class):
    """400 targets of two sources with known probabilities."""
    known = {"a": [0.9, 0.1, 0.0, 0.0, 0.0, 0.0], "b": [0.0, 0.3, 0.7, 0.0, 0.0, 0.0]}
    choice = RandomTargets(None, TwoSources(), None, None, any_class)
    choice.probabilities = lambda name, part: torch.tensor(known[name])
    return choice.sample([(7, epoch, "a") for epoch in range(400)], "valid")


def test_classes_are_drawn_from_the_probabilities_of_the_sources():
    drawn = sampled(any_class=0.0)
    counts = torch.bincount(drawn.target, minlength=6) / len(drawn.target)
    # The mean of both sources' probabilities; 400 draws deviate by 0.025.
    expected = torch.tensor([0.45, 0.2, 0.35, 0.0, 0.0, 0.0])
    torch.testing.assert_close(counts, expected, atol=0.08, rtol=0)
    assert counts[3:].sum() == 0


def test_any_class_is_equally_likely_and_has_the_support_of_a_source():
    drawn = sampled(any_class=1.0)
    counts = torch.bincount(drawn.target, minlength=6) / len(drawn.target)
    torch.testing.assert_close(counts, torch.full((6,), 1 / 6), atol=0.08, rtol=0)
    support = torch.tensor([0.9, 0.3, 0.7, 0.0, 0.0, 0.0])
    torch.testing.assert_close(drawn.support, support[drawn.target])


def test_without_draws_the_predicted_class_is_the_target():
    drawn = PredictedClass().sample([(7, 1, "a")], "train")
    assert drawn.target is None and drawn.support.tolist() == [1.0]


def test_invalid_arguments(targets):
    with pytest.raises(InputError, match="any_class .*1.5"):
        targets(any_class=1.5)
    with pytest.raises(InputError, match="noise .* null"):
        RandomTargets(None, None, None, None)


def evidence(support, logits_in, target=0):
    logits_in = torch.tensor([logits_in])
    return Evidence(
        mask=torch.zeros(1, 1, 1),
        target=torch.tensor([target]),
        logits=logits_in,
        logits_in=logits_in,
        logits_out=logits_in,
        support=torch.tensor([support]),
    )


@pytest.mark.parametrize("support", [0.0, 0.3, 1.0])
def test_support_against_the_binary_cross_entropy_of_torch(support):
    item = evidence(support, [0.5, -1.0, 2.0], target=2)
    p_in = item.logits_in.softmax(1)[:, 2]
    expected = F.binary_cross_entropy(p_in, item.support, reduction="none")
    found = supported_mask_in(item) + unsupported_mask_in(item)
    torch.testing.assert_close(found, expected)


def test_the_objective_of_a_present_class_is_that_of_lmac():
    item = evidence(1.0, [0.5, -1.0, 2.0], target=1)
    assert torch.equal(supported_mask_in(item), mask_in(item))
    assert torch.equal(supported_mask_out(item), mask_out(item))
    assert unsupported_mask_in(item) == 0


def test_an_absent_class_has_no_explanation():
    absent = evidence(0.0, [5.0, 0.0])
    assert supported_mask_in(absent) == 0 and supported_mask_out(absent) == 0
    assert unsupported_mask_in(absent) > unsupported_mask_in(evidence(0.0, [0.0, 5.0]))
    assert unsupported_mask_in(evidence(1.0, [5.0, 0.0])) == 0


def test_confident_predictions_stay_finite():
    for logits in ([200.0, 0.0], [-200.0, 0.0]):
        for term in (supported_mask_in, unsupported_mask_in, supported_mask_out):
            assert torch.isfinite(term(evidence(0.5, logits))).all()
