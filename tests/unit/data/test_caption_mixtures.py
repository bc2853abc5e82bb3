"""Clips with captions: alone or mixed, as their key says."""

import math

import pytest
import torch

from speechbrain_lmac.data.caption_mixtures import CaptionedClips
from speechbrain_lmac.data.class_captions import ClassCaptions, NoAttributes
from speechbrain_lmac.utils.errors import InputError

CLASSES = ["dog", "rain", "rooster", "sea_waves"]
N = 400
KEYS = [(1234, 1, f"{category}-{i}") for category in CLASSES for i in range(3)]


class Clips:
    """Three clips of each class; each class fills a frequency of its own."""

    def categories(self, split):
        return {name: name.split("-")[0] for _, _, name in KEYS}

    def wav(self, name, split):
        cycles = 10 * (1 + CLASSES.index(name.split("-")[0]))
        return torch.sin(2 * math.pi * cycles * torch.arange(N) / N)


@pytest.fixture
def clips():
    return Clips()


@pytest.fixture
def wav(clips):
    return torch.stack([clips.wav(key[-1], "train") for key in KEYS])


def make(clips, held_out=0.2, **options):
    captions = ClassCaptions(CLASSES, NoAttributes(), held_out=held_out)
    return CaptionedClips(clips, captions, **options)


def energies(wav):
    """Of each class in each clip, (B, C)."""
    spectrum = torch.fft.rfft(wav).abs().square()
    return torch.stack([spectrum[:, 10 * (1 + i)] for i in range(len(CLASSES))], 1)


def heard_in(wav):
    """The classes in each clip."""
    power = energies(wav)
    there = power > 0.05 * power.amax(1, keepdim=True)
    return [{c for c, t in zip(CLASSES, row, strict=True) if t} for row in there]


def test_the_caption_names_what_is_heard(clips, wav):
    captioned = make(clips)(wav, KEYS, "train")
    assert [set(facts) for facts in captioned.facts] == heard_in(captioned.wav)
    assert [set(c.facts) for c in captioned.captions] == heard_in(captioned.wav)
    sizes = {len(facts) for facts in captioned.facts}
    assert sizes == {1, 2}


def test_pairs_that_are_held_out_are_never_mixed_in_training(clips, wav):
    captioned = make(clips, mixed=1.0)
    unseen = {p for p in captioned.captions.pairs() if captioned.captions.is_unseen(*p)}
    assert unseen
    trained, evaluated = set(), set()
    for epoch in range(25):
        keys = [(1234, epoch, clip) for *_, clip in KEYS]
        trained |= {tuple(sorted(f)) for f in captioned(wav, keys, "train").facts}
        evaluated |= set(captioned.pairs(wav, keys, "test")[1])
    assert trained == set(captioned.captions.pairs()) - unseen
    assert evaluated == set(captioned.captions.pairs())


def test_pairs_are_what_is_heard(clips, wav):
    mixtures, pairs = make(clips).pairs(wav, KEYS, "test")
    assert [set(pair) for pair in pairs] == heard_in(mixtures)
    assert all(pair == tuple(sorted(pair)) for pair in pairs)


def test_levels_are_within_the_stated_range(clips, wav):
    mixtures, _ = make(clips, snr_db=(4.0, 5.0)).pairs(wav, KEYS, "test")
    power = energies(mixtures)
    for place, row in enumerate(power):
        own = row[CLASSES.index(KEYS[place][-1].split("-")[0])]
        other = row.sum() - own
        assert 4 <= 10 * math.log10(own / other) <= 5


def test_a_clip_does_not_depend_on_its_batch(clips, wav):
    whole = make(clips)(wav, KEYS, "train")
    for place in (0, 7):
        alone = make(clips)(wav[place : place + 1], KEYS[place : place + 1], "train")
        assert torch.equal(alone.wav[0], whole.wav[place])
        assert alone.captions[0] == whole.captions[place]


def test_epochs_differ(clips, wav):
    other = [(1234, 2, clip) for *_, clip in KEYS]
    first, second = (make(clips)(wav, keys, "train") for keys in (KEYS, other))
    assert first.captions != second.captions


@pytest.mark.parametrize("share, sizes", [(0.0, {1}), (1.0, {2})])
def test_the_share_of_mixtures(clips, wav, share, sizes):
    captioned = make(clips, mixed=share)(wav, KEYS, "train")
    assert captioned.mixed == (captioned.wav != wav).any(1).tolist()
    assert {len(facts) for facts in captioned.facts} == sizes
    if not share:
        assert torch.equal(captioned.wav, wav)


def test_an_impossible_share_is_refused(clips):
    with pytest.raises(InputError, match="mixed .*1.5"):
        make(clips, mixed=1.5)
