"""Augmentation for small datasets. Every draw is a function of its key.

A transform of one clip is ``transform(clip, generator)``; the generator is seeded by
(seed, epoch, clip, transform), so that neither the order of the clips nor the number
of processes nor a resumed training changes what is drawn.
"""

from operator import or_

import torch

from speechbrain_lmac.dsp.noise import unit_power_noise
from speechbrain_lmac.utils.errors import check_numbers
from speechbrain_lmac.utils.seeding import generator, uniform


class Augment:
    """Transforms of waveforms, blanks, mixup, transforms of features, in this order.

    Arguments
    ---------
    waveform : list
        Transforms of a waveform (N,).
    blank : Blank or None
        Puts clips of no class among the others.
    mixup : Mixup or None
        Mixes clips of a batch.
    feature : list
        Transforms of features (T, F).
    """

    def __init__(self, waveform=(), blank=None, mixup=None, feature=()):
        self.waveform = list(waveform)
        self.blank = blank
        self.mixup = mixup
        self.feature = list(feature)

    def waveforms(self, wav, targets, keys):
        """Transform a batch of waveforms, and the targets with them.

        Arguments
        ---------
        wav : torch.Tensor
            Shape (B, N).
        targets : torch.Tensor
            Shares of the classes, (B, C).
        keys : list
            B tuples (seed, epoch, clip).

        Returns
        -------
        wav, targets : torch.Tensor
            Of the same shapes.
        changed : list of bool
            Which of the B waveforms are not as they were.
        """
        wav, changed = apply_each(self.waveform, wav, keys)
        if self.blank is not None:
            wav, targets, blank = self.blank(wav, targets, keys)
            changed = list(map(or_, changed, blank))
        if self.mixup is not None:
            draw = generator(*keys[0], "mixup")
            wav, targets, mixed = self.mixup(wav, targets, draw)
            changed = list(map(or_, changed, mixed))
        return wav, targets, changed

    def features(self, features, keys):
        """Transform a batch of features (B, T, F)."""
        return apply_each(self.feature, features, keys)[0]


def apply_each(transforms, batch, keys):
    """Apply transforms to each item with the item's own draws.

    Returns
    -------
    batch : torch.Tensor
    changed : list of bool
        Which items a transform has changed: one that does not returns what it is given.
    """
    items, changed = [], []
    for given, key in zip(batch, keys, strict=True):
        item = given
        for place, transform in enumerate(transforms):
            draw = generator(*key, type(transform).__name__, place)
            item = transform(item, draw)
        items.append(item)
        changed.append(item is not given)
    return torch.stack(items) if any(changed) else batch, changed


class TimeShift:
    """Turn the clip round by a random time: what leaves at the end comes in front.

    Arguments
    ---------
    share : float
        Largest shift as a share of the clip, forwards and backwards.
    """

    def __init__(self, share=0.5):
        check_numbers(0, 1, share=share)
        self.share = share

    def __call__(self, wav, draw):
        limit = self.share * len(wav)
        return wav.roll(round(uniform(-limit, limit, draw)))


class Gain:
    """A random level.

    Arguments
    ---------
    probability : float
        Share of the clips whose level is changed.
    range_db : tuple
        Of the change, in dB.
    """

    def __init__(self, probability=0.7, range_db=(-20.0, 6.0)):
        check_numbers(0, 1, probability=probability)
        self.probability = probability
        self.range_db = range_db

    def __call__(self, wav, draw):
        if uniform(0, 1, draw) >= self.probability:
            return wav
        return wav * 10 ** (uniform(*self.range_db, draw) / 20)


class ColouredNoise:
    """Add Gaussian noise whose power falls as 1 / f^slope.

    Arguments
    ---------
    probability : float
        Share of the clips that get noise.
    snr_db : tuple
        Range of the clip's energy over the noise's, in dB.
    slope : tuple
        Range of the slope: 0 is white, 1 pink, 2 brown.
    """

    def __init__(self, probability=0.5, snr_db=(5.0, 40.0), slope=(0.0, 2.0)):
        check_numbers(0, 1, probability=probability)
        self.probability = probability
        self.snr_db = snr_db
        self.slope = slope

    def __call__(self, wav, draw):
        if uniform(0, 1, draw) >= self.probability:
            return wav
        noise = unit_power_noise(len(wav), uniform(*self.slope, draw), draw).to(wav)
        ratio = 10 ** (-uniform(*self.snr_db, draw) / 20)
        return wav + noise * ratio * wav.square().mean().sqrt()


class Blank:
    """Replace some clips by noise that belongs to no class: their target is uniform.

    Without it a classifier may hold one class for the default that nothing needs to
    speak for; an explanation of that class is empty.

    Arguments
    ---------
    probability : float
        Share of the clips that are replaced.
    level_db : tuple
        Range of the noise's level against the clip's, in dB.
    slope : tuple
        Range of the slope of its spectrum, see `ColouredNoise`.
    """

    def __init__(self, probability=0.1, level_db=(-60.0, 0.0), slope=(0.0, 2.0)):
        check_numbers(0, 1, probability=probability)
        self.probability = probability
        self.level_db = level_db
        self.slope = slope

    def __call__(self, wav, targets, keys):
        wav, targets = wav.clone(), targets.clone()
        blank = []
        for item, key in enumerate(keys):
            draw = generator(*key, "blank")
            blank.append(uniform(0, 1, draw) < self.probability)
            if not blank[item]:
                continue
            noise = unit_power_noise(wav.shape[1], uniform(*self.slope, draw), draw)
            ratio = 10 ** (uniform(*self.level_db, draw) / 20)
            level = ratio * wav[item].square().mean().sqrt()
            wav[item] = level * noise.to(wav)
            targets[item] = 1 / targets.shape[1]
        return wav, targets, blank


class Mixup:
    """Add to some clips another one of the batch, and mix their targets alike.

    The clip keeps a share of 0.5 to 1 (after Zhang et al. 2018, arXiv 1710.09412,
    with a uniform share).

    Arguments
    ---------
    probability : float
        Share of the clips that are mixed.
    """

    def __init__(self, probability=0.5):
        check_numbers(0, 1, probability=probability)
        self.probability = probability

    def __call__(self, wav, targets, draw):
        order = torch.randperm(len(wav), generator=draw)
        share = 1 - 0.5 * torch.rand(len(wav), generator=draw)
        mixed = torch.rand(len(wav), generator=draw) < self.probability
        share = torch.where(mixed, share, 1.0).to(wav)[:, None]
        wav = share * wav + (1 - share) * wav[order]
        targets = share * targets + (1 - share) * targets[order]
        return wav, targets, mixed.tolist()


class Equalizer:
    """A random smooth frequency response, as another microphone or room would have.

    Arguments
    ---------
    probability : float
        Share of the clips that are filtered.
    deviation_db : float
        Standard deviation of the gain at each node, in dB.
    nodes : int
        Frequencies, evenly spaced over the bands, between which it is interpolated.
    """

    def __init__(self, probability=0.5, deviation_db=6.0, nodes=6):
        check_numbers(0, 1, probability=probability)
        self.probability = probability
        self.deviation_db = deviation_db
        self.nodes = nodes

    def __call__(self, features, draw):
        if uniform(0, 1, draw) >= self.probability:
            return features
        gains_db = self.deviation_db * torch.randn(1, 1, self.nodes, generator=draw)
        curve_db = torch.nn.functional.interpolate(
            gains_db, features.shape[1], mode="linear", align_corners=True
        )[0].to(features)
        return (features.expm1() * 10 ** (curve_db / 20)).log1p()


class SpecAugment:
    """Silence random stretches of time and of frequency (Park et al. 2019).

    Silence is what a mask leaves behind: a classifier that has met it judges masked
    inputs by what is there.

    Arguments
    ---------
    probability : float
        Share of the clips that are masked.
    time_masks, frequency_masks : int
        Number of stretches.
    time_share, frequency_share : float
        Largest length of one, as a share of the frames or bands.
    """

    def __init__(
        self,
        probability=0.4,
        time_masks=2,
        time_share=0.14,
        frequency_masks=2,
        frequency_share=0.15,
    ):
        check_numbers(0, 1, probability=probability)
        self.probability = probability
        self.time_masks = time_masks
        self.time_share = time_share
        self.frequency_masks = frequency_masks
        self.frequency_share = frequency_share

    def __call__(self, features, draw):
        if uniform(0, 1, draw) >= self.probability:
            return features
        keep = torch.ones_like(features)
        frames, bands = features.shape
        for _ in range(self.time_masks):
            start, end = stretch(frames, self.time_share, draw)
            keep[start:end] = 0
        for _ in range(self.frequency_masks):
            start, end = stretch(bands, self.frequency_share, draw)
            keep[:, start:end] = 0
        return features * keep


def stretch(size, share, draw):
    """A random part of at most `share` of an axis, as (start, end)."""
    length = round(uniform(0, share, draw) * size)
    start = round(uniform(0, size - length, draw))
    return start, start + length


class BlockMask:
    """Silence random tiles of a coarse grid over time and frequency.

    Like `SpecAugment`, with holes as a mask has them.

    Arguments
    ---------
    probability : float
        Share of the clips that are masked.
    time_tiles, frequency_tiles : tuple
        Range of the number of tiles along each axis.
    keep : tuple
        Range of the share of tiles that stay.
    """

    def __init__(
        self,
        probability=0.5,
        time_tiles=(3, 19),
        frequency_tiles=(2, 9),
        keep=(0.3, 1.0),
    ):
        check_numbers(0, 1, probability=probability)
        self.probability = probability
        self.time_tiles = time_tiles
        self.frequency_tiles = frequency_tiles
        self.keep = keep

    def __call__(self, features, draw):
        if uniform(0, 1, draw) >= self.probability:
            return features
        grid = [
            round(uniform(*limits, draw))
            for limits in (self.time_tiles, self.frequency_tiles)
        ]
        kept = torch.rand(1, 1, *grid, generator=draw) < uniform(*self.keep, draw)
        tiles = torch.nn.functional.interpolate(kept.float(), features.shape)
        return features * tiles[0, 0].to(features)


class OnSpectrogram:
    """Transforms of features, for a classifier whose features are waveforms.

    A waveform goes to the domain's representation, through the transforms, and back:
    the classifier meets holes as a mask leaves them.

    Arguments
    ---------
    domain : MaskDomain
        That can decode.
    transforms : list
        Of features (T, F): `SpecAugment`, `BlockMask`.
    """

    def __init__(self, domain, transforms):
        self.domain = domain
        self.transforms = list(transforms)

    def __call__(self, wav, draw):
        encoded = self.domain.encode(wav.cpu()[None])
        rep = encoded.rep[0]
        for transform in self.transforms:
            rep = transform(rep, draw)
        return self.domain.decode(encoded.with_rep(rep[None]))[0].to(wav)
