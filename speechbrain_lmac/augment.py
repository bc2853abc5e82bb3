"""Augmentation for small datasets. Every draw is a function of its key.

A transform of one clip is ``transform(clip, generator)``; the generator is seeded by
(seed, epoch, clip, transform), so that neither the order of the clips nor the number
of processes nor a resumed training changes what is drawn.
"""

import torch

from speechbrain_lmac.draws import generator


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
        """
        wav = apply_each(self.waveform, wav, keys)
        if self.blank is not None:
            wav, targets = self.blank(wav, targets, keys)
        if self.mixup is not None:
            wav, targets = self.mixup(wav, targets, generator(*keys[0], "mixup"))
        return wav, targets

    def features(self, features, keys):
        """Transform a batch of features (B, T, F)."""
        return apply_each(self.feature, features, keys)


def apply_each(transforms, batch, keys):
    """Apply transforms to each item with the item's own draws."""
    if not transforms:
        return batch
    items = []
    for item, key in zip(batch, keys, strict=True):
        for place, transform in enumerate(transforms):
            draw = generator(*key, type(transform).__name__, place)
            item = transform(item, draw)
        items.append(item)
    return torch.stack(items)


def uniform(low, high, draw):
    """One number between two."""
    return low + (high - low) * torch.rand((), generator=draw).item()


class TimeShift:
    """Turn the clip round by a random time: what leaves at the end comes in front.

    Arguments
    ---------
    share : float
        Largest shift as a share of the clip, forwards and backwards.
    """

    def __init__(self, share=0.5):
        self.share = share

    def __call__(self, wav, draw):
        limit = self.share * len(wav)
        return wav.roll(round(uniform(-limit, limit, draw)))


class Gain:
    """A random level.

    Arguments
    ---------
    low_db, high_db : float
        Range in dB.
    """

    def __init__(self, low_db=-12.0, high_db=0.0):
        self.low_db = low_db
        self.high_db = high_db

    def __call__(self, wav, draw):
        return wav * 10 ** (uniform(self.low_db, self.high_db, draw) / 20)


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
        self.probability = probability
        self.snr_db = snr_db
        self.slope = slope

    def __call__(self, wav, draw):
        if uniform(0, 1, draw) >= self.probability:
            return wav
        noise = coloured_noise(len(wav), uniform(*self.slope, draw), draw).to(wav)
        ratio = 10 ** (-uniform(*self.snr_db, draw) / 20)
        return wav + noise * ratio * wav.square().mean().sqrt()


def coloured_noise(n_samples, slope, draw):
    """Gaussian noise (N,) of unit power whose power falls as 1 / f^slope."""
    white = torch.fft.rfft(torch.randn(n_samples, generator=draw))
    frequency = torch.arange(len(white)).clamp(min=1) / len(white)
    noise = torch.fft.irfft(white * frequency ** (-slope / 2), n_samples)
    return noise / noise.square().mean().sqrt()


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
        self.probability = probability
        self.level_db = level_db
        self.slope = slope

    def __call__(self, wav, targets, keys):
        wav, targets = wav.clone(), targets.clone()
        for item, key in enumerate(keys):
            draw = generator(*key, "blank")
            if uniform(0, 1, draw) >= self.probability:
                continue
            noise = coloured_noise(wav.shape[1], uniform(*self.slope, draw), draw)
            ratio = 10 ** (uniform(*self.level_db, draw) / 20)
            level = ratio * wav[item].square().mean().sqrt()
            wav[item] = level * noise.to(wav)
            targets[item] = 1 / targets.shape[1]
        return wav, targets


class Mixup:
    """Mix each clip with another one of the batch, and their targets alike.

    The share is drawn from Beta(alpha, alpha) (Zhang et al. 2018, arXiv 1710.09412).

    Arguments
    ---------
    alpha : float
        Near 0 the shares are near 0 and 1, at 1 they are uniform.
    probability : float
        Share of the batches that are mixed.
    """

    def __init__(self, alpha=0.3, probability=0.5):
        self.alpha = alpha
        self.probability = probability

    def __call__(self, wav, targets, draw):
        if uniform(0, 1, draw) >= self.probability:
            return wav, targets
        concentration = torch.full((2, len(wav)), float(self.alpha))
        # Beta as a ratio of two Gamma draws.
        gamma = torch._standard_gamma(concentration, generator=draw)
        share = (gamma[0] / gamma.sum(0).clamp(min=1e-12)).to(wav)[:, None]
        order = torch.randperm(len(wav), generator=draw)
        mix = share * wav + (1 - share) * wav[order]
        return mix, share * targets + (1 - share) * targets[order]


class SpecAugment:
    """Silence random stretches of time and of frequency (Park et al. 2019).

    Silence is what a mask leaves behind: a classifier that has met it judges masked
    inputs by what is there.

    Arguments
    ---------
    time_masks, frequency_masks : int
        Number of stretches.
    time_share, frequency_share : float
        Largest length of one, as a share of the frames or bands.
    """

    def __init__(
        self, time_masks=2, time_share=0.2, frequency_masks=2, frequency_share=0.2
    ):
        self.time_masks = time_masks
        self.time_share = time_share
        self.frequency_masks = frequency_masks
        self.frequency_share = frequency_share

    def __call__(self, features, draw):
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
