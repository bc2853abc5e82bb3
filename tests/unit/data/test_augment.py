"""Augmentations of clips, alone and in SpeechBrain's Augmenter."""

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain.augment.augmenter import Augmenter
from speechbrain.augment.freq_domain import RandomShift, SpectrogramDrop
from speechbrain.augment.time_domain import AddNoise, RandAmp, SpeedPerturb

from speechbrain_lmac.config.inheritance import HPARAMS
from speechbrain_lmac.data.augment import (
    REPLACED,
    Augment,
    Blank,
    BlockMask,
    Equalizer,
    Mixup,
    OnSpectrogram,
)
from speechbrain_lmac.domains.stft import STFTDomain
from speechbrain_lmac.dsp.noise import unit_power_noise
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.seeding import generator

N_SAMPLES, N_CLASSES = 2000, 4


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(7)


def clips(n_clips):
    draw = torch.Generator().manual_seed(0)
    wav = torch.randn(n_clips, N_SAMPLES, generator=draw)
    return wav, torch.eye(N_CLASSES)[torch.arange(n_clips) % N_CLASSES]


def power_db(values):
    return 10 * torch.log10(values.double().square().mean()).item()


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def shipped(name):
    part = HPARAMS / "parts" / "augment" / f"{name}.yaml"
    return load_hyperpyyaml(f"augment: !include:{part} {{}}")["augment"]


def all_of(*augmentations, **options):
    return Augmenter(
        augmentations=list(augmentations),
        min_augmentations=len(augmentations),
        **options,
    )


# --- The batch ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["compact", "tiny", "waveform"])
def test_a_shipped_augmentation_draws_from_the_seed_alone(name):
    augment, (wav, targets) = shipped(name), clips(6)
    before = wav.clone(), targets.clone()

    def draw(seed, threads=1):
        torch.set_num_threads(threads)
        torch.manual_seed(seed)
        augmented, lens, shares = augment.waveforms(wav, None, targets)
        features = (
            augmented if name == "waveform" else augmented.abs().reshape(6, 50, 40)
        )
        assert lens is None
        return augmented, shares, augment.features(features, None, shares)[0]

    at_first = torch.get_num_threads()
    try:
        first = draw(1)
        assert same(first, draw(1))
        for one, other in zip(first, draw(1, threads=2), strict=True):
            torch.testing.assert_close(one, other)
    finally:
        torch.set_num_threads(at_first)
    assert not torch.equal(first[0], draw(2)[0])
    assert same((wav, targets), before)  # the inputs are unchanged
    assert first[0].shape == wav.shape and first[1].shape == targets.shape


@pytest.mark.parametrize("name", ["compact", "tiny", "waveform"])
def test_a_shipped_augmentation_applies_all_that_it_names(name):
    augment = shipped(name)
    for augmenter in (augment.waveform, augment.feature):
        n = len(augmenter.augmentations)
        assert augmenter.min_augmentations == augmenter.max_augmentations == n


def test_no_augmentation_is_nothing():
    wav, targets = clips(3)
    lens = torch.tensor([1.0, 0.5, 0.2])
    wav[1, 1000:], wav[2, 400:] = 0, 0
    assert same(Augment().waveforms(wav, lens, targets), (wav, lens, targets))
    features, lengths = torch.rand(3, 5, 2), torch.tensor([5, 3, 1])
    original = features, lengths, targets
    assert same(Augment().features(*original), original)


def test_silence_stays_silence():
    wav, targets = clips(3)
    wav[1] = 0
    augmented, _, _ = Augment(all_of(RandAmp(), AddNoise())).waveforms(
        wav, None, targets
    )
    assert augmented.isfinite().all()
    assert not augmented[1].any() and augmented[0].any()


@pytest.mark.parametrize(
    "augmentation, expected",
    [
        (RandAmp(), [1.0, 0.5, 0.2]),  # silence behind a clip is silence still
        (RandomShift(500, 500), [1.0, 0.75, 0.45]),
        (RandomShift(-100, -100), [1.0, 1.0, 1.0]),  # its beginning is at the end
        (RandomShift(1800, 1800), [1.0, 1.0, 1.0]),
        (AddNoise(snr_low=20, snr_high=20), [1.0, 1.0, 1.0]),
    ],
)
def test_sound_is_never_padding(augmentation, expected):
    wav, targets = clips(3)
    lens = torch.tensor([1.0, 0.5, 0.2])
    wav[1, 1000:], wav[2, 400:] = 0, 0
    augment = Augment(all_of(augmentation))
    _, found, _ = augment.waveforms(wav, lens, targets)
    found = torch.ones(3) if found is None else found  # None: nothing is padded
    torch.testing.assert_close(found, torch.tensor(expected))


def test_blanks_and_mixtures_are_not_padded():
    wav, targets = torch.zeros(8, 100), torch.eye(8)
    wav[:4], wav[4:, :50] = 1, 1
    lens = torch.tensor([1.0] * 4 + [0.5] * 4)
    for augment in (Augment(blank=Blank(0.5)), Augment(mixup=Mixup(0.5))):
        augmented, found, _ = augment.waveforms(wav, lens, targets)
        assert torch.equal(
            found, torch.where((augmented[:, 50:] != 0).any(1), 1.0, 0.5)
        )
        assert 4 < found.sum() < 8


@pytest.mark.parametrize(
    "augmenter, n",
    [
        (Augmenter(concat_original=True, augmentations=[RandAmp()]), 6),
        (Augmenter(repeat_augment=2, augmentations=[RandAmp()]), 6),
        (all_of(RandAmp(), AddNoise(), parallel_augment=True), 6),
        (
            Augmenter(
                augment_prob=0.0, concat_original=True, augmentations=[RandAmp()]
            ),
            3,
        ),
    ],
)
def test_any_augmenter_of_speechbrain_will_do(augmenter, n):
    wav, targets = clips(3)
    augment = Augment(augmenter, feature=augmenter)
    augmented, lens, shares = augment.waveforms(wav, None, targets)
    assert augmented.shape == (n, N_SAMPLES) and lens is None
    assert torch.equal(shares, targets.repeat(n // 3, 1))
    features, lengths = torch.rand(3, 50, 40), torch.tensor([50, 20, 1])
    features, lengths, shares = augment.features(features, lengths, targets)
    assert features.shape == (n, 50, 40)
    assert lengths.tolist() == [50, 20, 1] * (n // 3)
    assert len(shares) == n


def test_clips_of_another_speed_keep_their_lengths():
    wav, targets = clips(2)
    slower = Augmenter(
        concat_original=True, augmentations=[SpeedPerturb(16000, speeds=[80])]
    )
    augmented, lens, _ = Augment(slower).waveforms(wav, None, targets)
    assert augmented.shape == (4, 2500)
    torch.testing.assert_close(lens, torch.tensor([0.8, 0.8, 1.0, 1.0]))


def test_clips_without_targets_are_refused():
    twice = Augmenter(concat_original=True, augmentations=[RandAmp()])
    augment = Augment(Augmenter(augmentations=[twice]))
    with pytest.raises(InputError, match="6 clips .*3 targets"):
        augment.waveforms(clips(3)[0], None, clips(3)[1])


OF_0_3 = """
augment: !new:speechbrain_lmac.data.augment.Augment
  waveform:
    - !new:speechbrain_lmac.data.augment.TimeShift {share: 0.5}
    - !new:speechbrain_lmac.data.augment.ColouredNoise
      probability: 0.5
      snr_db: [5.0, 40.0]
      slope: [0.0, 2.0]
    - !new:speechbrain_lmac.data.augment.Gain
      probability: 0.7
      range_db: [-8.0, 3.0]
  blank: null
  mixup: !new:speechbrain_lmac.data.augment.Mixup {probability: 0.5}
  feature:
    - !new:speechbrain_lmac.data.augment.OnSpectrogram
      domain: !new:speechbrain_lmac.domains.STFTDomain {sample_rate: 16000}
      transforms:
        - !new:speechbrain_lmac.data.augment.SpecAugment {probability: 0.4}
        - !new:speechbrain_lmac.data.augment.BlockMask {probability: 0.5}
"""


def test_an_old_training_can_be_read_but_not_trained_on():
    augment = load_hyperpyyaml(OF_0_3)["augment"]  # as to publish it
    wav, targets = clips(2)
    with pytest.raises(InputError, match="TimeShift .*RandomShift"):
        augment.waveforms(wav, None, targets)
    with pytest.raises(InputError, match="SpecAugment .*SpectrogramDrop"):
        augment.features(wav, None, targets)


@pytest.mark.parametrize("name", REPLACED.values())
def test_what_is_there_instead_is_there(name):
    load_hyperpyyaml(f"a: !new:speechbrain.augment.{name} {{}}")


def test_of_a_list_all_act():
    wav, targets = torch.ones(1, 400), torch.eye(1)
    augment = Augment([RandAmp(0.5, 0.5), RandAmp(0.25, 0.25)])
    for _ in range(20):  # by itself, Augmenter takes the first of them at times
        assert (augment.waveforms(wav, None, targets)[0] == 0.25).all()
    assert Augment([], feature=[]).waveform is None


def test_what_is_no_augmenter_is_refused():
    with pytest.raises(InputError, match="Augmenter .*got RandAmp"):
        Augment(RandAmp())


# --- What SpeechBrain's parts are built upon ------------------------------------------


def test_a_shift_turns_the_clip():
    wav = torch.arange(1000.0).repeat(2, 1)
    augmented, _ = RandomShift(max_shift=1000)(wav, torch.ones(2))
    start = int(augmented[0].argmin())
    assert start and torch.equal(augmented, wav.roll(start, 1))


def test_a_drop_silences_stretches_of_each_clip():
    features = torch.ones(50, 100, 80)
    for dim, size in ((1, 100), (2, 80)):
        dropped = SpectrogramDrop(0, 20, 2, 2, dim=dim)(features.clone()).mean(3 - dim)
        assert set(dropped.unique().tolist()) == {0.0, 1.0}
        assert (dropped == 0).sum(1).max() <= 2 * 20
        assert len({tuple(clip.tolist()) for clip in dropped}) > 40  # each its own
        assert dropped.shape == (50, size)


# --- Ours -----------------------------------------------------------------------------


@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("n_samples", [16000, 15999])
def test_the_power_of_coloured_noise_falls_with_its_slope(slope, n_samples):
    noise = unit_power_noise(n_samples, slope, generator("test", 0))
    assert noise.shape == (n_samples,)
    assert power_db(noise) == pytest.approx(0, abs=1e-3)
    power = torch.fft.rfft(noise.double()).abs().square()
    octaves = [power[first : 2 * first].mean().log2().item() for first in (500, 4000)]
    # Three octaves higher: 3 slope halvings. The means are over 500 cells or more.
    assert octaves[0] - octaves[1] == pytest.approx(3 * slope, abs=0.35)


@pytest.mark.parametrize("n_samples", [1, 2, 3])
def test_noise_of_a_few_samples(n_samples):
    noise = unit_power_noise(n_samples, 1.0)
    assert noise.shape == (n_samples,)
    assert torch.isfinite(noise).all()


def test_a_blank_clip_is_noise_of_no_class():
    wav, targets = torch.ones(300, 400), torch.eye(N_CLASSES)[torch.zeros(300).long()]
    augmented, labels = Blank(0.2, (-40.0, -3.0))(wav, targets)
    blank = (augmented != wav).all(1)
    assert blank.float().mean().item() == pytest.approx(
        0.2, abs=5 * (0.16 / 300) ** 0.5
    )
    assert torch.equal(augmented[~blank], wav[~blank])
    assert torch.equal(labels[~blank], targets[~blank])
    assert torch.equal(labels[blank], torch.full_like(labels[blank], 1 / N_CLASSES))
    levels = [power_db(item) for item in augmented[blank]]
    assert -40.01 < min(levels) < max(levels) < -2.99


def test_mixup_mixes_targets_as_it_mixes_sounds():
    # Each clip is a constant in its own channel of samples: shares can be read off.
    n_clips = 40
    mixed, shares = Mixup(0.5)(torch.eye(n_clips), torch.eye(n_clips))
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
    mixed, _ = Mixup(probability)(wav, targets)
    changed = (mixed != wav).any(1).sum().item()
    # A permutation leaves some clips beside themselves.
    assert changed == 0 if probability == 0 else changed >= 4


def test_mixup_of_one_clip_is_the_clip():
    wav, targets = clips(1)
    mixed, shares = Mixup(1.0)(wav, targets)
    torch.testing.assert_close(mixed, wav)
    torch.testing.assert_close(shares, targets)


def test_an_equalizer_changes_bands_alike_in_all_frames():
    magnitude = torch.rand(50, 30, 80) + 0.5
    equalized = Equalizer(1.0, deviation_db=4.0)(magnitude.log1p())
    gains_db = 20 * torch.log10(equalized.expm1() / magnitude)
    assert (gains_db.std(1) < 1e-3).all()
    # Six nodes over 80 bands: linear in between, so no jumps.
    bends = gains_db[:, 0].diff().diff().abs().gt(1e-3).sum(1)
    assert (bends <= 2 * 4).all()
    assert gains_db[:, 0, 0].std().item() == pytest.approx(4.0, rel=0.4)
    assert not Equalizer(1.0)(torch.zeros(1, 3, 80)).any()


def test_a_block_mask_keeps_its_share_in_tiles():
    features = torch.rand(200, 431, 80) + 0.1
    masked = BlockMask(1.0, (3, 19), (2, 9), (0.3, 1.0))(features)
    shares = []
    for clip, original in zip(masked, features, strict=True):
        keep = clip != 0
        assert torch.equal(clip[keep], original[keep])
        # Tiles: along each axis it changes at few places, the same for all lines.
        for axis, tiles in ((0, 19), (1, 9)):
            jumps = keep.int().diff(dim=axis).ne(0).any(1 - axis).sum().item()
            assert jumps <= tiles - 1
        shares.append(keep.float().mean().item())
    assert sum(shares) / 200 == pytest.approx(0.65, abs=0.06)


@pytest.mark.parametrize("transform", [BlockMask, Equalizer])
def test_a_transform_changes_its_share_of_the_clips(transform):
    features = torch.rand(200, 20, 80)
    assert torch.equal(transform(probability=0.0)(features), features)
    changed = (transform(probability=0.3)(features) != features).any(2).any(1)
    assert 0.1 < changed.float().mean() < 0.45


@pytest.mark.parametrize("transform", [BlockMask, Equalizer])
@pytest.mark.parametrize("shape", [(1, 80), (3, 1), (2, 3)])
def test_small_features_keep_their_shape(transform, shape):
    features = torch.rand(20, *shape)
    changed = transform(probability=1.0)(features)
    assert changed.shape == features.shape
    assert torch.isfinite(changed).all()


class SilentHalf(torch.nn.Module):
    def forward(self, rep):
        keep = torch.ones_like(rep)
        keep[:, rep.shape[1] // 2 :] = 0
        return rep * keep


def test_augmentations_of_the_spectrogram_act_on_the_waveform():
    domain = STFTDomain(sample_rate=16000)
    wav = clips(2)[0]
    as_it_is = OnSpectrogram(domain, all_of(SpectrogramDrop(0, 1, 0, 0)))(wav)
    assert power_db(as_it_is - wav) < power_db(wav) - 60
    half = OnSpectrogram(domain, all_of(SilentHalf()))(wav)
    assert half.shape == wav.shape
    # 11 frames of 186 samples; the window of 372 reaches one frame further.
    assert power_db(half[:, :700] - wav[:, :700]) < power_db(wav) - 60
    assert not half[:, 1200:].any()
