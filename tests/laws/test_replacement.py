"""Masking operators: explanations whose removed cells hold another sound."""

import pytest
import torch

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.domains import (
    LearnedDomain,
    MelDomain,
    STFTDomain,
    WaveformSTFTDomain,
)
from speechbrain_lmac.domains.codec import Codec
from speechbrain_lmac.metrics import AD, FF
from speechbrain_lmac.metrics.checks.carriers import noise_carriers
from speechbrain_lmac.metrics.checks.imprint import OTHER_CLIPS, Imprint
from speechbrain_lmac.metrics.checks.replacement import (
    OPERATORS,
    NoiseReplacement,
    Replacement,
    filled,
    filled_evidence,
)
from speechbrain_lmac.types import ClassifierOutput, Explanation
from speechbrain_lmac.utils.errors import InputError
from tests.explained import explained

RATE, N = 16000, 4000
LOW, HIGH = 0, 1
IN, OUT = "replacement in", "replacement out"
DOMAINS = {
    "STFT": lambda: STFTDomain(RATE),
    "Mel": lambda: MelDomain(RATE),
    "waveform": lambda: WaveformSTFTDomain(RATE),
    "codec": lambda: LearnedDomain(STFTDomain(RATE), Codec(RATE, 32, 16)),
}


class LowOrHigh:
    """Class HIGH where the upper half of the bands is louder than the lower half."""

    masks_padding = False

    def __call__(self, features):
        if features.dim() == 2:  # waveforms
            features = torch.fft.rfft(features).abs()[:, None, 1:]
        low, high = features.mean(1).chunk(2, dim=1)
        return ClassifierOutput(torch.stack([low.mean(1), high.mean(1)], 1), ())


@pytest.fixture(scope="module")
def domain():
    return STFTDomain(RATE)


def tones(*frequencies):
    """Waveforms (B, N) of one tone each."""
    time = torch.arange(N) / RATE
    return torch.stack([torch.sin(2 * torch.pi * f * time) for f in frequencies])


def pool():
    return tones(300, 400, 6500, 7000)


def explanation_of(domain, wav, mask, lens=None, target=None):
    """The explanation of a mask (T, F) or of a number for all cells."""
    encoded = domain.encode(wav, lens)
    logits = classify(domain, LowOrHigh(), encoded).logits
    target = logits.argmax(1) if target is None else torch.tensor(target)
    return Explanation(torch.ones_like(encoded.rep) * mask, target, encoded, logits)


def scores_of(check, domain, *arguments, **options):
    explanation = explanation_of(domain, *arguments, **options)
    return check(explained(domain, LowOrHigh(), explanation))


def of_bins(first, last):
    """A mask (1, 513) that keeps some bins."""
    mask = torch.zeros(1, 513)
    mask[:, first:last] = 1
    return mask


@pytest.mark.parametrize("make", DOMAINS.values(), ids=DOMAINS)
def test_ones_give_the_clip_and_zeros_the_other_sound(make):
    torch.manual_seed(0)
    domain, classifier = make(), LowOrHigh()
    # the encoded tone itself, decoded where the domain decodes: not its waveform
    clip, other = (domain.encode(tones(f)) for f in (300, 6500))
    for value, same in ((1.0, clip), (0.0, other)):
        mask = torch.full_like(clip.rep, value)
        mixed = filled(domain, clip, mask, other)
        torch.testing.assert_close(mixed.rep, same.rep, rtol=0, atol=0)
        whole = domain.apply_mask(same, torch.ones_like(same.rep))
        logits = [classify(domain, classifier, part).logits for part in (mixed, whole)]
        torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-4)
    assert mixed.wav is None and mixed.sound is None


def test_every_cell_has_the_phase_of_its_sound():
    domain = WaveformSTFTDomain(RATE)
    low, high = (domain.encode(tones(f)) for f in (500, 6000))
    mixed = filled(domain, low, torch.ones_like(low.rep) * of_bins(0, 256), high)
    both = tones(500, 6000).sum(0)
    middle = slice(N // 4, -N // 4)
    error = (domain.decode(mixed)[0] - both)[middle].square().mean()
    assert error < 1e-3 * both[middle].square().mean()


def test_masks_of_ones_and_zeros_have_their_bounds(domain):
    wav, check = tones(350, 5500), Replacement(pool, n_pairings=2)
    ones = scores_of(check, domain, wav, 1)
    zeros = scores_of(check, domain, wav, 0)
    for scores, kept, replaced in ((ones, IN, OUT), (zeros, OUT, IN)):
        assert scores[kept].tolist() == [100, 100]
        assert scores[replaced].tolist() == [0, 0]
    assert ones["AD replacement"].tolist() == [0, 0]  # bit for bit
    assert zeros["FF replacement"].tolist() == [0, 0]
    # p of the clip less p of the others, from either side
    logits = classify(domain, LowOrHigh(), domain.encode(wav)).logits
    p = logits.double().softmax(1).amax(1)
    drop = zeros["AD replacement"] / 100 * p
    torch.testing.assert_close(drop, ones["FF replacement"])


def test_only_what_decides_is_sufficient_and_necessary(domain):
    wav, check = tones(350, 5500), Replacement(pool, n_pairings=2)
    decisive = explanation_of(domain, wav, 1)
    half = torch.stack([of_bins(0, 513), of_bins(0, 0)])
    # The mask of the first clip keeps what decides; that of the second keeps nothing.
    explanation = Explanation(
        decisive.mask * half, decisive.target, decisive.encoded, decisive.logits
    )
    scores = check(explained(domain, LowOrHigh(), explanation))
    assert scores[IN].tolist() == [100, 0]
    assert scores[OUT].tolist() == [0, 100]


def test_scores_depend_on_the_clip_alone(domain):
    wav, lens = tones(350, 700, 5500), torch.tensor([1.0, 0.6, 0.8])
    mask = 0.7 * of_bins(20, 400)
    for check in (Replacement(pool, n_pairings=3), NoiseReplacement()):
        together = scores_of(check, domain, wav, mask, lens)
        turned = scores_of(check, domain, wav.flip(0), mask, lens.flip(0))
        assert list(together) == [score.name for score in check.scores()]
        for name, values in together.items():
            torch.testing.assert_close(values, turned[name].flip(0), rtol=0, atol=1e-6)
        for index in range(3):
            only = slice(index, index + 1)
            alone = scores_of(check, domain, wav[only], mask, lens[only])
            for name, values in together.items():
                assert alone[name].item() == pytest.approx(values[index].item()), name


def test_fillers_are_those_of_the_imprint(domain):
    """A mask of zeros leaves the filler: argmax f(Z) = y is the imprint of ones."""
    wav, target = tones(350, 5500, 900), [HIGH, LOW, LOW]
    zeros = scores_of(Replacement(pool, seed=5), domain, wav, 0, target=target)
    ones = scores_of(Imprint(pool, [], seed=5), domain, wav, 1, target=target)
    assert zeros[IN].tolist() == ones[f"imprint {OTHER_CLIPS}"].tolist()
    quiet = scores_of(Replacement(pool), domain, 0.01 * wav, 0.5)
    assert all(values.isfinite().all() for values in quiet.values())


def test_noise_has_the_level_of_the_clip_and_depends_on_the_seed(domain):
    wav = torch.cat([tones(350), 0.05 * tones(5500)])
    batch = explained(domain, LowOrHigh(), explanation_of(domain, wav, of_bins(9, 300)))
    encoded, values = batch.explanation.encoded, []
    for noise, seed in (("white", 3), ("white", 4), ("coloured", 3)):
        carriers = noise_carriers(noise, domain, encoded, seed)
        rms = [x.square().mean(1).sqrt() for x in (carriers.wav, wav)]
        torch.testing.assert_close(*rms)
        evidence = filled_evidence(domain, LowOrHigh(), batch.explanation, carriers)
        scores = NoiseReplacement(noise, seed)(batch)
        assert scores["AD noise"].tolist() == AD(evidence).tolist()
        assert scores["FF noise"].tolist() == FF(evidence).tolist()
        values.append(scores["FF noise"][0].item())
    assert len(set(values)) == 3


def test_what_has_no_score_is_nan(domain):
    holes = explanation_of(domain, tones(350, 5500), 1)
    holes.mask[0, 0, 0] = torch.nan
    batch = explained(domain, LowOrHigh(), holes)
    for check in (Replacement(pool, n_pairings=1), NoiseReplacement()):
        for values in check(batch).values():
            assert values.isnan().tolist() == [True, False]
    # No clip of another class than LOW exists.
    only_low = Replacement(lambda: tones(300), n_pairings=1)
    for values in scores_of(only_low, domain, tones(350, 5500), 1).values():
        assert values.isnan().tolist() == [True, False]


def test_each_operator_has_its_own_columns():
    names = [score.name for pair in OPERATORS.values() for score in pair]
    assert len(set(names)) == len(names) == 6
    assert all(drop.higher_is_better is False for drop, _ in OPERATORS.values())
    assert all(fall.higher_is_better for _, fall in OPERATORS.values())


@pytest.mark.parametrize(
    "make, named",
    [
        (lambda: Replacement(pool, n_pairings=0), "n_pairings"),
        (lambda: NoiseReplacement("brown"), "'brown'.*white"),
    ],
)
def test_wrong_arguments_are_named(make, named):
    with pytest.raises(InputError, match=named):
        make()
