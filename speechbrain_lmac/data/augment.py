"""Augmentations for classifiers, in addition to those of SpeechBrain's `Augmenter`.

All use the global generators, which a training seeds before each step, so a resumed
training has the same draws.
"""

from collections.abc import Sequence
from typing import Any

import torch
from speechbrain.augment.augmenter import Augmenter

from speechbrain_lmac.dsp.noise import unit_power_noise
from speechbrain_lmac.types import MaskDomain
from speechbrain_lmac.utils.errors import InputError, check_numbers
from speechbrain_lmac.utils.seeding import uniform

# Classes of this module up to version 0.3, and their equivalents in SpeechBrain.
REPLACED = {
    "ColouredNoise": "time_domain.AddNoise",
    "Gain": "time_domain.RandAmp",
    "SpecAugment": "freq_domain.SpectrogramDrop",
    "TimeShift": "freq_domain.RandomShift",
}


def __getattr__(name: str) -> type:
    if name in REPLACED:
        return type(name, (Removed,), {})
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class Removed(torch.nn.Module):
    """A class of `REPLACED`, so that old YAMLs can be loaded, but not trained."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__()

    def forward(self, batch: torch.Tensor) -> None:
        """Raise InputError for any batch (B, ...)."""
        name = type(self).__name__
        raise InputError(
            f"speechbrain_lmac.data.augment.{name} was removed: use "
            f"speechbrain.augment.{REPLACED[name]} in an Augmenter, as in "
            "hparams/parts/augment/tiny.yaml; its arguments differ"
        )


class Augment:
    """Waveform Augmenter, blanks, mixup and feature Augmenter, in this order.

    Arguments
    ---------
    waveform : speechbrain.augment.augmenter.Augmenter, list or None
        Augmenter of waveforms (B, N). All augmentations of a list are applied in order.
    blank : Blank or None
        Replaces some clips by noise without a class.
    mixup : Mixup or None
        Mixes clips of a batch.
    feature : speechbrain.augment.augmenter.Augmenter, list or None
        Augmenter of features (B, T, F), or of waveforms (B, N) for a classifier of
        waveforms.
    """

    def __init__(
        self,
        waveform: Augmenter | Sequence | None = None,
        blank: "Blank | None" = None,
        mixup: "Mixup | None" = None,
        feature: Augmenter | Sequence | None = None,
    ) -> None:
        self.waveform = augmenter_of(waveform)
        self.blank = blank
        self.mixup = mixup
        self.feature = augmenter_of(feature)

    def waveforms(
        self, wav: torch.Tensor, lens: torch.Tensor | None, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
        """Augment a batch of waveforms and its targets.

        Arguments
        ---------
        wav : torch.Tensor
            Shape (B, N).
        lens : torch.Tensor or None
            Relative lengths (B,), see `ClipBatch.lens`.
        targets : torch.Tensor
            Class probabilities, (B, C).

        Returns
        -------
        wav, lens, targets : torch.Tensor
            Shapes (B', N), (B',) or None, (B', C); an Augmenter may change B and N.
        """
        wav, lens, targets = augmented(self.waveform, wav, lens, targets)
        if self.blank is not None:
            wav, targets = self.blank(wav, targets)
        if self.mixup is not None:
            wav, targets = self.mixup(wav, targets)
        return wav, lens_with_sound(wav, lens), targets

    def features(
        self,
        features: torch.Tensor,
        lengths: torch.Tensor | None,
        targets: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
        """Augment a batch of features and its targets.

        Arguments
        ---------
        features : torch.Tensor
            Shape (B, T, ...).
        lengths : torch.Tensor or None
            Valid steps of each clip, (B,) int64; None: all.
        targets : torch.Tensor
            Class probabilities, (B, C).

        Returns
        -------
        features, lengths, targets : torch.Tensor
            Shapes (B', T, ...), (B',) or None, (B', C); an Augmenter may change B.
        """
        if self.feature is None:
            return features, lengths, targets
        lens = None
        if lengths is not None:
            lens = lengths.expand(len(features)) / features.shape[1]
        features, lens, targets = augmented(self.feature, features, lens, targets)
        if lens is not None:
            steps = features.shape[1]
            lengths = (lens * steps).round().long().clamp(1, steps)
        return features, None if lens is None else lengths, targets


def augmenter_of(value: Augmenter | Sequence | None) -> Augmenter | None:
    """Return an `Augmenter`, built from a list if necessary; None: no augmentations."""
    if isinstance(value, list | tuple):
        options = {"min_augmentations": len(value), "augmentations": list(value)}
        return Augmenter(**options) if value else None
    if value is not None and not hasattr(value, "replicate_labels"):
        raise InputError(
            "an augmentation must be an Augmenter (speechbrain.augment.augmenter) or a "
            f"list of augmentations, got {type(value).__name__}"
        )
    return value


def augmented(
    augmenter: Augmenter | None,
    batch: torch.Tensor,
    lens: torch.Tensor | None,
    targets: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
    """Apply an `Augmenter` to a batch, its lengths and its targets.

    Arguments
    ---------
    augmenter : speechbrain.augment.augmenter.Augmenter or None
    batch, lens : torch.Tensor
        Shape (B, N) or (B, T, F), relative lengths (B,) or None.
    targets : torch.Tensor
        Shape (B, C).

    Returns
    -------
    batch, lens, targets : torch.Tensor
        With the same first dimension B'; `lens` is None if all are 1.

    Raises
    ------
    InputError
        It returns more clips than targets, as a nested Augmenter can.
    """
    if augmenter is None:
        return batch, lens, targets
    lengths = batch.new_ones(len(batch)) if lens is None else lens
    batch, lengths = augmenter(batch, lengths.to(batch.device))
    targets = augmenter.replicate_labels(targets)
    if not len(batch) == len(lengths) == len(targets):
        raise InputError(
            f"the augmentation returned {len(batch)} clips for {len(targets)} targets: "
            "concatenate in the outermost Augmenter only"
        )
    # RandAmp divides a clip by its peak, so silence becomes NaN.
    batch = batch.masked_fill(batch.isnan(), 0.0)
    return batch, None if (lengths >= 1).all() else lengths, targets


def lens_with_sound(
    wav: torch.Tensor, lens: torch.Tensor | None
) -> torch.Tensor | None:
    """Return relative lengths, 1 for clips with sound in their padding.

    Shapes: (B, N) and (B,) or None to (B,) or None.

    Example
    -------
    >>> wav = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    >>> lens_with_sound(wav, torch.full((2,), 2 / 3))
    tensor([0.6667, 1.0000])
    """
    if lens is None:
        return None
    ends = (lens * wav.shape[1]).round()[:, None]
    positions = torch.arange(wav.shape[1], device=wav.device)
    sounds = ((wav != 0) & (positions >= ends)).any(1)
    return lens.masked_fill(sounds, 1.0)


class Blank:
    """Replace some clips by noise without a class, with a uniform target.

    Without it a class may become the default for noise, with empty explanations.

    Arguments
    ---------
    probability : float
        Probability that a clip is replaced, 0 to 1.
    level_db : (float, float)
        Range of the noise's level relative to the clip's, in dB.
    slope : (float, float)
        Range of the slope of its power 1 / f^slope: 0 is white, 1 pink, 2 brown.
    """

    def __init__(
        self,
        probability: float = 0.1,
        level_db: Sequence[float] = (-60.0, 0.0),
        slope: Sequence[float] = (0.0, 2.0),
    ) -> None:
        check_numbers(0, 1, probability=probability)
        self.probability = probability
        self.level_db = level_db
        self.slope = slope

    def __call__(
        self, wav: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return waveforms (B, N) and targets (B, C), some replaced."""
        wav, targets = wav.clone(), targets.clone()
        for item in (torch.rand(len(wav)) < self.probability).nonzero().flatten():
            noise = unit_power_noise(wav.shape[1], _draw(self.slope))
            level = 10 ** (_draw(self.level_db) / 20)
            wav[item] = level * wav[item].square().mean().sqrt() * noise.to(wav)
            targets[item] = 1 / targets.shape[1]
        return wav, targets


class Mixup:
    """Mix some clips and their targets with another clip of the batch.

    The weight of the clip itself is uniform in 0.5 to 1 (after Zhang et al. 2018, arXiv
    1710.09412).

    Arguments
    ---------
    probability : float
        Probability that a clip is mixed, 0 to 1.
    """

    def __init__(self, probability: float = 0.5) -> None:
        check_numbers(0, 1, probability=probability)
        self.probability = probability

    def __call__(
        self, wav: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return waveforms (B, N) and targets (B, C), some mixed."""
        order = torch.randperm(len(wav))
        share = 1 - 0.5 * torch.rand(len(wav))
        mixed = torch.rand(len(wav)) < self.probability
        share = torch.where(mixed, share, 1.0).to(wav)[:, None]
        wav = share * wav + (1 - share) * wav[order]
        targets = share * targets + (1 - share) * targets[order]
        return wav, targets


class OfSomeClips(torch.nn.Module):
    """An augmentation of features for `Augmenter`, drawn for each clip separately.

    Arguments
    ---------
    probability : float
        Probability that a clip is changed, 0 to 1.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        check_numbers(0, 1, probability=probability)
        self.probability = probability

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return features (B, T, F), some of them changed."""
        chosen = (torch.rand(len(features)) < self.probability).tolist()
        pairs = zip(features, chosen, strict=True)
        return torch.stack([self.change(clip) if c else clip for clip, c in pairs])

    def change(self, features: torch.Tensor) -> torch.Tensor:
        """Change the features (T, F) of one clip."""
        raise NotImplementedError


class Equalizer(OfSomeClips):
    """A random smooth frequency response, like that of another microphone or room.

    Arguments
    ---------
    probability : float
        Probability that a clip is filtered, 0 to 1.
    deviation_db : float
        Standard deviation of the gain at each node, in dB.
    nodes : int
        Number of nodes, evenly spaced over the bands; gains are interpolated between.
    """

    def __init__(
        self, probability: float = 0.5, deviation_db: float = 6.0, nodes: int = 6
    ) -> None:
        super().__init__(probability)
        self.deviation_db = deviation_db
        self.nodes = nodes

    def change(self, features: torch.Tensor) -> torch.Tensor:
        """Apply a gain at each frequency to features (T, F), log(1 + magnitude)."""
        gains_db = self.deviation_db * torch.randn(1, 1, self.nodes)
        curve_db = torch.nn.functional.interpolate(
            gains_db, features.shape[1], mode="linear", align_corners=True
        )[0].to(features)
        return (features.expm1() * 10 ** (curve_db / 20)).log1p()


class BlockMask(OfSomeClips):
    """Silence random tiles of a coarse grid over time and frequency.

    Like SpeechBrain's `SpectrogramDrop`, with holes like those of a mask, so that a
    classifier learns to classify masked inputs.

    Arguments
    ---------
    probability : float
        Probability that a clip is masked, 0 to 1.
    time_tiles, frequency_tiles : (int, int)
        Range of the number of tiles along each axis.
    keep : (float, float)
        Range of the share of tiles that are kept.
    """

    def __init__(
        self,
        probability: float = 0.5,
        time_tiles: Sequence[int] = (3, 19),
        frequency_tiles: Sequence[int] = (2, 9),
        keep: Sequence[float] = (0.3, 1.0),
    ) -> None:
        super().__init__(probability)
        self.time_tiles = time_tiles
        self.frequency_tiles = frequency_tiles
        self.keep = keep

    def change(self, features: torch.Tensor) -> torch.Tensor:
        """Set some tiles of features (T, F) to 0."""
        limits = (self.time_tiles, self.frequency_tiles)
        grid = [round(_draw(limit)) for limit in limits]
        stays = torch.rand(1, 1, *grid) < _draw(self.keep)
        tiles = torch.nn.functional.interpolate(stays.float(), features.shape)
        return features * tiles[0, 0].to(features)


class OnSpectrogram(torch.nn.Module):
    """Augmentation of spectrograms for a waveform classifier: encode, change, decode.

    Arguments
    ---------
    domain : MaskDomain
        With `decode`.
    transforms : speechbrain.augment.augmenter.Augmenter or list
        Augmentations of representations (B, T, F), without concatenation.
    """

    def __init__(self, domain: MaskDomain, transforms: Augmenter | Sequence) -> None:
        super().__init__()
        self.domain = domain
        self.transforms = augmenter_of(transforms)

    def forward(self, wav: torch.Tensor) -> torch.Tensor:
        """Return waveforms (B, N) with holes in their spectrograms."""
        encoded = self.domain.encode(wav.cpu())
        rep = encoded.rep
        if self.transforms is not None:
            rep, _ = self.transforms(rep, torch.ones(len(wav)))
        return self.domain.decode(encoded.with_rep(rep)).to(wav)


def _draw(limits: Sequence[float]) -> float:
    low, high = limits
    return uniform(low, high)
