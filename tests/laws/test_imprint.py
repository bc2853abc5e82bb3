"""The imprint: masks that draw a class are found, masks that select sound are not."""

import pytest
import torch

from speechbrain_lmac.domains.stft import STFTDomain
from speechbrain_lmac.metrics.checks.carriers import NOISES, at_level_of
from speechbrain_lmac.metrics.checks.imprint import OTHER_CLIPS, Imprint
from speechbrain_lmac.types import ClassifierOutput, Explanation
from speechbrain_lmac.utils.errors import InputError
from tests.explained import explained

RATE, N = 16000, 8000
LOW, HIGH = 0, 1
OTHERS = f"imprint {OTHER_CLIPS}"


class LowOrHigh:
    """Class HIGH where the upper half of the bands is louder than the lower half."""

    masks_padding = False

    def __call__(self, features):
        low, high = features.mean(1).chunk(2, dim=1)
        return ClassifierOutput(torch.stack([low.mean(1), high.mean(1)], 1), ())


@pytest.fixture(scope="module")
def domain():
    return STFTDomain(RATE)


def tones(*frequencies):
    """Waveforms (B, N) of one tone each."""
    time = torch.arange(N) / RATE
    return torch.stack([torch.sin(2 * torch.pi * f * time) for f in frequencies])


def explanation_of(domain, wav, target, mask=None, lens=None):
    encoded = domain.encode(wav, lens)
    mask = torch.ones_like(encoded.rep) if mask is None else mask(encoded.rep)
    return Explanation(mask, torch.tensor(target), encoded, torch.zeros(len(wav), 2))


def keep_bins(first, last):
    """A mask (B, T, F) that keeps some bins."""

    def make(rep):
        mask = torch.zeros_like(rep)
        mask[:, :, first:last] = 1
        return mask

    return make


def pool():
    return tones(300, 400, 5000, 6000)


def test_a_mask_that_draws_its_class_has_a_full_imprint(domain):
    check = Imprint(pool, n_pairings=2)
    wav = tones(300, 5000)
    drawn = explanation_of(domain, wav, [LOW, HIGH], keep_bins(200, 500))
    scores = check(explained(domain, LowOrHigh(), drawn))
    for noise in NOISES:
        assert scores[f"imprint {noise}"].tolist() == [0, 100]
    # Kept of a low tone is next to nothing, but only at high frequencies.
    assert scores[OTHERS][1] == 100


def test_a_mask_of_ones_has_the_chance_level(domain):
    wav = tones(300, 5000)
    ones = explanation_of(domain, wav, [LOW, HIGH])
    scores = Imprint(pool, n_pairings=2)(explained(domain, LowOrHigh(), ones))
    assert scores[OTHERS].tolist() == [0, 0]  # each is of the other class
    # Mel bands widen: pink noise is in class HIGH, whatever the explained class is.
    assert scores["imprint pink"].tolist() == [0, 100]


def test_scores_are_those_of_the_columns_and_of_the_clip_alone(domain):
    check = Imprint(pool, noises=["white", "babble"])
    wav = tones(300, 700, 5000)
    target = [LOW, LOW, HIGH]
    mask = keep_bins(20, 400)
    together = check(
        explained(domain, LowOrHigh(), explanation_of(domain, wav, target, mask))
    )
    assert list(together) == [score.name for score in check.scores()]
    for index in range(3):
        one = explanation_of(domain, wav[[index]], target[index : index + 1], mask)
        alone = check(explained(domain, LowOrHigh(), one))
        for name, values in together.items():
            assert values[index] == alone[name][0], name


def test_the_seed_alone_chooses_the_sounds(domain):
    wav, mask = torch.randn(1, N), keep_bins(0, 513)
    carriers = []

    class Recorder(LowOrHigh):
        def __call__(self, features):
            carriers.append(features)
            return super().__call__(features)

    batch = explained(domain, Recorder(), explanation_of(domain, wav, [LOW], mask))
    carriers.clear()
    for seed in (1, 1, 2):
        Imprint(noises=["white"], seed=seed)(batch)
    torch.testing.assert_close(carriers[0], carriers[1], rtol=0, atol=0)
    assert not torch.equal(carriers[0], carriers[2])


def test_the_clips_are_classified_once_for_all_batches(domain):
    sizes = []

    class Counter(LowOrHigh):
        def __call__(self, features):
            sizes.append(len(features))
            return super().__call__(features)

    classifier, check = Counter(), Imprint(pool, noises=[], n_pairings=1)
    batches = [
        explained(domain, classifier, explanation_of(domain, wav, [LOW]))
        for wav in (tones(300), tones(5000))
    ]
    sizes.clear()
    for batch in batches:
        check(batch)
    assert sizes == [len(pool()), 1, 1]


def test_carriers_have_the_level_of_the_recording():
    wav = torch.cat([torch.full((1, 60), 0.5), torch.zeros(1, 40)], 1)
    scaled = at_level_of(torch.randn(1, 100), wav, torch.tensor([0.6]))
    assert scaled[0, 60:].abs().max() == 0
    assert scaled[0, :60].square().mean().sqrt() == pytest.approx(0.5)
    assert not at_level_of(torch.zeros(1, 100), wav).any()  # silence, not NaN


def test_what_has_no_score_is_nan(domain):
    wav = tones(300, 5000)
    holes = explanation_of(domain, wav, [LOW, HIGH])
    holes.mask[0, 0, 0] = torch.nan
    scores = Imprint(lambda: tones(300), n_pairings=1)(
        explained(domain, LowOrHigh(), holes)
    )
    assert scores["imprint white"].isnan().tolist() == [True, False]
    # No clip of another class than LOW exists.
    low = explanation_of(domain, wav, [LOW, HIGH])
    scores = Imprint(lambda: tones(300), n_pairings=1)(
        explained(domain, LowOrHigh(), low)
    )
    assert scores[OTHERS].isnan().tolist() == [True, False]


@pytest.mark.parametrize(
    "arguments, named",
    [
        ({"noises": ["brown"]}, "'brown'.*white"),
        ({"noises": []}, "noises"),
        ({"n_pairings": 0}, "n_pairings"),
    ],
)
def test_wrong_arguments_are_named(arguments, named):
    with pytest.raises(InputError, match=named):
        Imprint(**arguments)
