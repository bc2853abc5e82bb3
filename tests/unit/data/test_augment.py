"""What each augmentation does to a clip, and that its draws depend on its key alone."""

import pytest
import torch

from speechbrain_lmac.data.augment import (
    Augment,
    Blank,
    BlockMask,
    ColouredNoise,
    Equalizer,
    Gain,
    Mixup,
    OnSpectrogram,
    SpecAugment,
    TimeShift,
    stretch,
)
from speechbrain_lmac.domains.stft import STFTDomain
from speechbrain_lmac.dsp.noise import unit_power_noise
from speechbrain_lmac.utils.seeding import generator

N_SAMPLES, N_CLASSES = 2000, 4


def clips(n_clips):
    draw = torch.Generator().manual_seed(0)
    wav = torch.randn(n_clips, N_SAMPLES, generator=draw)
    return wav, torch.eye(N_CLASSES)[torch.arange(n_clips) % N_CLASSES]


def keys_of(names, epoch=1):
    return [(1234, epoch, name) for name in names]


def draws(n):
    return [generator("test", number) for number in range(n)]


def power_db(values):
    return 10 * torch.log10(values.double().square().mean()).item()


def augment_of(mixup=None):
    return Augment(
        waveform=[TimeShift(0.5), Gain(1.0, (-12, 0)), ColouredNoise(0.5)],
        blank=Blank(probability=0.3),
        mixup=mixup,
        feature=[Equalizer(0.5), SpecAugment(0.5), BlockMask(0.5)],
    )


NAMES = ["a", "b", "c", "d", "e", "f"]


def augmented(names, epoch=1):
    """Each clip's waveform, targets and features by its name, from one batch."""
    augment, keys = augment_of(), keys_of(names, epoch)
    wav, targets = clips(len(NAMES))
    places = [NAMES.index(name) for name in names]
    wav, targets, _ = augment.waveforms(wav[places], targets[places], keys)
    features = augment.features(wav.abs().reshape(-1, 50, 40), keys)
    return dict(zip(names, zip(wav, targets, features, strict=True), strict=True))


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("names", [NAMES[::-1], ["c"], ["c", "e"]])
def test_order_and_neighbours_do_not_change_what_is_drawn(names):
    reference = augmented(NAMES)
    torch.manual_seed(99)  # nor does what was drawn before
    assert all(
        same(result, reference[name]) for name, result in augmented(names).items()
    )


def test_epochs_and_clips_draw_differently():
    first, second = augmented(NAMES), augmented(NAMES, epoch=2)
    assert not any(same(first[name], second[name]) for name in NAMES)
    wav = torch.ones(1, N_SAMPLES).cumsum(1).repeat(6, 1)
    shifted = Augment([TimeShift(0.5)]).waveforms(wav, torch.eye(6), keys_of(NAMES))[0]
    assert len({tuple(item.tolist()) for item in shifted}) == 6


def test_the_same_transform_twice_draws_twice():
    wav = torch.ones(1, 4)
    once = Augment([Gain(1.0, (-12, 0))]).waveforms(wav, None, keys_of("a"))[0]
    twice = Augment([Gain(1.0, (-12, 0))] * 2).waveforms(wav, None, keys_of("a"))[0]
    assert not torch.allclose(twice, once**2)


def test_the_clips_given_are_not_changed():
    wav, targets = clips(4)
    before = wav.clone(), targets.clone()
    keys = keys_of(NAMES[:4])
    augment_of(Mixup(1.0)).waveforms(wav, targets, keys)
    features = torch.rand(4, 50, 40)
    unchanged = features.clone()
    augment_of().features(features, keys)
    assert same((wav, targets), before)
    assert torch.equal(features, unchanged)


def test_no_augmentation_is_nothing():
    wav, targets = clips(3)
    augment, keys = Augment(), keys_of(NAMES[:3])
    heard, shares, changed = augment.waveforms(wav, targets, keys)
    assert same((heard, shares), (wav, targets)) and not any(changed)
    assert torch.equal(
        augment.features(wav[:, :6].reshape(3, 3, 2), keys)[0], wav[0, :6].reshape(3, 2)
    )


@pytest.mark.parametrize(
    "augment",
    [
        Augment([Gain(0.5)]),
        Augment([ColouredNoise(0.5), Gain(0.1)]),
        Augment(blank=Blank(0.5)),
        Augment(mixup=Mixup(0.5)),
        Augment([Gain(0.2)], Blank(0.2), Mixup(0.2)),
    ],
)
def test_it_is_known_which_clips_are_changed(augment):
    wav, targets = clips(40)
    keys = keys_of(str(i) for i in range(40))
    heard, _, changed = augment.waveforms(wav, targets, keys)
    assert changed == (heard != wav).any(1).tolist()
    assert 0 < sum(changed) < 40


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_a_shift_turns_the_clip_by_at_most_its_share(share):
    wav = torch.arange(1000.0)
    starts = []
    for draw in draws(100):
        shifted = TimeShift(share)(wav, draw)
        start = int(shifted.argmin())
        assert torch.equal(shifted, wav.roll(start))
        starts.append(start if start < 500 else start - 1000)
    assert max(map(abs, starts)) <= 1000 * share
    if share:
        assert min(starts) < -0.7 * 1000 * share
        assert max(starts) > 0.7 * 1000 * share or share == 0.5


def test_a_gain_lies_in_its_range_and_spares_its_share():
    wav = clips(1)[0][0]
    gains = [
        power_db(Gain(0.7, (-20.0, 6.0))(wav, draw)) - power_db(wav)
        for draw in draws(300)
    ]
    changed = [gain for gain in gains if abs(gain) > 1e-9]
    assert -20.001 < min(changed) < -17
    assert 3 < max(changed) < 6.001
    # Five standard deviations of a share of 300 clips.
    assert len(changed) / 300 == pytest.approx(0.7, abs=5 * (0.21 / 300) ** 0.5)


def test_noise_has_its_snr_and_spares_its_share():
    wav = clips(1)[0][0]
    noises = [ColouredNoise(0.5, (5.0, 40.0))(wav, draw) - wav for draw in draws(300)]
    snrs = [power_db(wav) - power_db(noise) for noise in noises if noise.any()]
    assert 4.9 < min(snrs) < 8
    assert 37 < max(snrs) < 40.1
    assert len(snrs) / 300 == pytest.approx(0.5, abs=5 * (0.25 / 300) ** 0.5)


def test_silence_gets_no_noise():
    assert not ColouredNoise(1.0)(torch.zeros(100), draws(1)[0]).any()


@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("n_samples", [16000, 15999])
def test_the_power_of_coloured_noise_falls_with_its_slope(slope, n_samples):
    noise = unit_power_noise(n_samples, slope, draws(1)[0])
    assert noise.shape == (n_samples,)
    assert power_db(noise) == pytest.approx(0, abs=1e-3)
    power = torch.fft.rfft(noise.double()).abs().square()
    octaves = [power[first : 2 * first].mean().log2().item() for first in (500, 4000)]
    # Three octaves higher: 3 slope halvings. The means are over 500 cells or more.
    assert octaves[0] - octaves[1] == pytest.approx(3 * slope, abs=0.35)


@pytest.mark.parametrize("n_samples", [1, 2, 3])
def test_noise_of_a_few_samples(n_samples):
    noise = unit_power_noise(n_samples, 1.0, draws(1)[0])
    assert noise.shape == (n_samples,)
    assert torch.isfinite(noise).all()


def test_a_blank_clip_is_noise_of_no_class():
    wav, targets = torch.ones(300, 400), torch.eye(N_CLASSES)[torch.zeros(300).long()]
    keys = keys_of(range(300))
    heard, said, _ = Blank(0.2, (-40.0, -3.0))(wav, targets, keys)
    blank = (heard != wav).all(1)
    assert blank.float().mean().item() == pytest.approx(
        0.2, abs=5 * (0.16 / 300) ** 0.5
    )
    assert torch.equal(heard[~blank], wav[~blank])
    assert torch.equal(said[~blank], targets[~blank])
    assert torch.equal(said[blank], torch.full_like(said[blank], 1 / N_CLASSES))
    levels = [power_db(item) for item in heard[blank]]
    assert -40.01 < min(levels) < max(levels) < -2.99


def test_mixup_mixes_targets_as_it_mixes_sounds():
    # Each clip is a constant in its own channel of samples: shares can be read off.
    n_clips = 40
    wav = torch.eye(n_clips)
    targets = torch.eye(n_clips)
    mixed, shares, _ = Mixup(0.5)(wav, targets, draws(1)[0])
    torch.testing.assert_close(mixed, shares)
    torch.testing.assert_close(shares.sum(1), torch.ones(n_clips))
    own = shares.diagonal()
    assert ((own >= 0.5) & (own <= 1)).all()
    assert ((shares > 0).sum(1) <= 2).all()
    others = shares - shares.diagonal().diag()
    assert ((others > 0).sum(0) <= 1).all()  # nobody is added to two clips
    assert 5 < (own < 1).sum() < 35


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_mixup_of_all_or_of_none(probability):
    wav, targets = clips(8)
    mixed, _, _ = Mixup(probability)(wav, targets, draws(1)[0])
    changed = (mixed != wav).any(1).sum().item()
    # A permutation leaves some clips beside themselves.
    assert changed == 0 if probability == 0 else changed >= 4


def test_mixup_of_one_clip_is_the_clip():
    wav, targets = clips(1)
    mixed, shares, _ = Mixup(1.0)(wav, targets, draws(1)[0])
    torch.testing.assert_close(mixed, wav)
    torch.testing.assert_close(shares, targets)


def test_mixup_is_a_function_of_the_batch():
    wav, targets = clips(6)
    augment = Augment(mixup=Mixup(1.0))
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        results.append(augment.waveforms(wav, targets, keys_of(NAMES))[:2])
    assert same(*results)
    later = augment.waveforms(wav, targets, keys_of(NAMES, epoch=2))
    assert not same(results[0], later[:2])


def test_an_equalizer_changes_bands_alike_in_all_frames():
    magnitude = torch.rand(30, 80) + 0.5
    gains = []
    for draw in draws(50):
        equalized = Equalizer(1.0, deviation_db=4.0)(magnitude.log1p(), draw)
        gain_db = 20 * torch.log10(equalized.expm1() / magnitude)
        assert (gain_db.std(0) < 1e-3).all()
        # Six nodes over 80 bands: linear in between, so no jumps.
        assert gain_db[0].diff().diff().abs().gt(1e-3).sum() <= 2 * 4
        gains.append(gain_db[0])
    assert torch.stack(gains)[:, 0].std().item() == pytest.approx(4.0, rel=0.4)
    assert not Equalizer(1.0)(torch.zeros(3, 80), draws(1)[0]).any()


@pytest.mark.parametrize("masks", [(0, 1), (1, 0), (2, 2)])
def test_spec_augment_silences_stretches_of_both_axes(masks):
    features = torch.ones(100, 80)
    share, lengths = 0.2, []
    for draw in draws(100):
        kept = SpecAugment(1.0, masks[0], share, masks[1], share)(features, draw)
        assert set(kept.unique().tolist()) <= {0.0, 1.0}
        silent_frames = (kept == 0).all(1)
        silent_bands = (kept == 0).all(0)
        # Nothing else is silenced.
        hole = silent_frames[:, None] | silent_bands
        assert torch.equal(kept == 0, hole)
        assert silent_frames.sum() <= masks[0] * share * 100
        assert silent_bands.sum() <= masks[1] * share * 80
        assert silent_frames.int().diff(prepend=torch.zeros(1).int()).eq(1).sum() <= 2
        lengths.append(hole.float().mean().item())
    assert max(lengths) > 0.6 * share * max(masks)


def test_a_block_mask_keeps_its_share_in_tiles():
    features = torch.rand(431, 80) + 0.1
    shares = []
    for draw in draws(200):
        masked = BlockMask(1.0, (3, 19), (2, 9), (0.3, 1.0))(features, draw)
        keep = masked != 0
        assert torch.equal(masked[keep], features[keep])
        # Tiles: along each axis it changes at few places, the same for all lines.
        for axis, tiles in ((0, 19), (1, 9)):
            jumps = keep.int().diff(dim=axis).ne(0).any(1 - axis).sum().item()
            assert jumps <= tiles - 1
        shares.append(keep.float().mean().item())
    assert sum(shares) / 200 == pytest.approx(0.65, abs=0.06)


@pytest.mark.parametrize("transform", [SpecAugment, BlockMask, Equalizer])
def test_a_transform_of_probability_0_changes_nothing(transform):
    features = torch.rand(20, 80)
    for draw in draws(20):
        assert torch.equal(transform(probability=0.0)(features, draw), features)


@pytest.mark.parametrize("transform", [SpecAugment, BlockMask, Equalizer])
@pytest.mark.parametrize("shape", [(1, 80), (3, 1), (2, 3)])
def test_small_features_keep_their_shape(transform, shape):
    features = torch.rand(shape)
    for draw in draws(20):
        changed = transform(probability=1.0)(features, draw)
        assert changed.shape == shape
        assert torch.isfinite(changed).all()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("size", [1, 10, 431])
def test_a_stretch_lies_within_its_axis(share, size):
    for draw in draws(50):
        start, end = stretch(size, share, draw)
        assert 0 <= start <= end <= size
        assert end - start <= round(share * size)


def test_transforms_of_the_spectrogram_act_on_the_waveform():
    domain = STFTDomain(sample_rate=16000)
    wav = clips(1)[0][0]

    def silent_half(rep, draw):
        keep = torch.ones_like(rep)
        keep[len(rep) // 2 :] = 0
        return rep * keep

    same = OnSpectrogram(domain, [])(wav, generator("test"))
    assert power_db(same - wav) < power_db(wav) - 60
    half = OnSpectrogram(domain, [silent_half])(wav, generator("test"))
    assert half.shape == wav.shape
    # 11 frames of 186 samples; the window of 372 reaches one frame further.
    assert power_db(half[:700] - wav[:700]) < power_db(wav) - 60
    assert not half[1200:].any()


def test_holes_in_the_spectrogram_are_drawn_by_the_key():
    holes = OnSpectrogram(STFTDomain(sample_rate=16000), [BlockMask(probability=1.0)])
    augment = Augment(feature=[holes])
    wav = clips(3)[0]
    together = augment.features(wav, keys_of("abc"))
    alone = augment.features(wav[1:2], keys_of("b"))
    assert torch.equal(together[1], alone[0])
    assert not torch.equal(together[1], augment.features(wav, keys_of("aac"))[1])
    assert power_db(together) < power_db(wav)
