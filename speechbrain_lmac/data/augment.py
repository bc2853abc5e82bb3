"""SpeechBrain's `Augmenter` for classifiers, and the augmentations that it lacks.

All draw from the global generators, which a training seeds before each step, so that a
resumed one draws what an undisturbed one does.
"""

import torch
from speechbrain.augment.augmenter import Augmenter

from speechbrain_lmac.dsp.noise import unit_power_noise
from speechbrain_lmac.utils.errors import InputError, check_numbers
from speechbrain_lmac.utils.seeding import uniform

# Classes that were here until version 0.3, and what does the same in SpeechBrain.
REPLACED = {
    "ColouredNoise": "time_domain.AddNoise",
    "Gain": "time_domain.RandAmp",
    "SpecAugment": "freq_domain.SpectrogramDrop",
    "TimeShift": "freq_domain.RandomShift",
}


def __getattr__(name: str):
    if name in REPLACED:
        return type(name, (Gone,), {})
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class Gone(torch.nn.Module):
    """A class of `REPLACED`: the YAML of an old training can be read, not trained."""

    def __init__(self, **arguments):
        super().__init__()

    def forward(self, batch: torch.Tensor) -> None:
        """Refuse."""
        name = type(self).__name__
        raise InputError(
            f"speechbrain_lmac.data.augment.{name} is gone: take speechbrain.augment."
            f"{REPLACED[name]} among the augmentations of an Augmenter, as "
            "hparams/parts/augment/tiny.yaml does; its arguments are others"
        )


class Augment:
    """Augmenter of waveforms, blanks, mixup, Augmenter of features, in this order.

    Arguments
    ---------
    waveform : speechbrain.augment.augmenter.Augmenter, list or None
        Of waveforms (B, N). Of a list, all augmentations act, one after the other.
    blank : Blank or None
        Puts clips of no class among the others.
    mixup : Mixup or None
        Mixes clips of a batch.
    feature : speechbrain.augment.augmenter.Augmenter, list or None
        Of features (B, T, F), or of waveforms for a classifier that hears these.
    """

    def __init__(
        self,
        waveform=None,
        blank: "Blank | None" = None,
        mixup: "Blank | Mixup | None" = None,
        feature=None,
    ):
        self.waveform = augmenter_of(waveform)
        self.blank = blank
        self.mixup = mixup
        self.feature = augmenter_of(feature)

    def waveforms(
        self, wav: torch.Tensor, lens: torch.Tensor | None, targets: torch.Tensor
    ) -> tuple:
        """Augment a batch of waveforms, and the targets with them.

        Arguments
        ---------
        wav : torch.Tensor
            Shape (B, N).
        lens : torch.Tensor or None
            Relative lengths (B,), see `ClipBatch.lens`.
        targets : torch.Tensor
            Shares of the classes, (B, C).

        Returns
        -------
        wav, lens, targets : torch.Tensor
            As many clips as the Augmenter makes of them.
        """
        wav, lens, targets = augmented(self.waveform, wav, lens, targets)
        if self.blank is not None:
            wav, targets = self.blank(wav, targets)
        if self.mixup is not None:
            wav, targets = self.mixup(wav, targets)
        return wav, reach(wav, lens), targets

    def features(
        self,
        features: torch.Tensor,
        lengths: torch.Tensor | None,
        targets: torch.Tensor,
    ) -> tuple | None:
        """Augment a batch of features, and the targets with them.

        Arguments
        ---------
        features : torch.Tensor
            Shape (B, T, ...).
        lengths : torch.Tensor or None
            Steps of each clip that hold recording, (B,) int64; None for all.
        targets : torch.Tensor
            Shares of the classes, (B, C).

        Returns
        -------
        features, lengths, targets : torch.Tensor
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


def augmenter_of(given):
    """An `Augmenter`, made of a list where that is given; None of nothing."""
    if isinstance(given, list | tuple):
        options = {"min_augmentations": len(given), "augmentations": list(given)}
        return Augmenter(**options) if given else None
    if given is not None and not hasattr(given, "replicate_labels"):
        raise InputError(
            "an augmentation must be an Augmenter (speechbrain.augment.augmenter) or a "
            f"list of what it shall apply, got {type(given).__name__}"
        )
    return given


def augmented(
    augmenter, batch: torch.Tensor, lens: torch.Tensor | None, targets: torch.Tensor
) -> tuple | None:
    """A batch through an `Augmenter`, with its lengths and its targets.

    Arguments
    ---------
    augmenter : speechbrain.augment.augmenter.Augmenter or None
    batch : torch.Tensor
        Shape (B, N) or (B, T, F).
    lens : torch.Tensor or None
        Relative lengths, (B,). None: nothing is padded.
    targets : torch.Tensor
        Shape (B, C).

    Returns
    -------
    batch, lens, targets : torch.Tensor
        Of equally many items; `lens` is None where all are 1.

    Raises
    ------
    InputError
        When it makes more clips than it makes targets, as one Augmenter within another
        can.
    """
    if augmenter is None:
        return batch, lens, targets
    given = batch.new_ones(len(batch)) if lens is None else lens
    batch, lens = augmenter(batch, given.to(batch.device))
    targets = augmenter.replicate_labels(targets)
    if not len(batch) == len(lens) == len(targets):
        raise InputError(
            f"the augmentation makes {len(batch)} clips of {len(targets)} targets: "
            "concatenate in the outermost Augmenter"
        )
    # RandAmp divides a clip by its peak: of silence it makes NaN.
    batch = batch.masked_fill(batch.isnan(), 0.0)
    return batch, None if (lens >= 1).all() else lens, targets


def reach(wav: torch.Tensor, lens: torch.Tensor | None) -> torch.Tensor | None:
    """Relative lengths, 1 for clips that sound behind theirs: that is no padding.

    Arguments
    ---------
    wav : torch.Tensor
        Shape (B, N).
    lens : torch.Tensor or None
        Shape (B,).

    Example
    -------
    >>> reach(torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]]), torch.full((2,), 2 / 3))
    tensor([0.6667, 1.0000])
    """
    if lens is None:
        return None
    ends = (lens * wav.shape[1]).round()[:, None]
    places = torch.arange(wav.shape[1], device=wav.device)
    sounds = ((wav != 0) & (places >= ends)).any(1)
    return lens.masked_fill(sounds, 1.0)


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
        Range of the slope of its power, 1 / f^slope: 0 is white, 1 pink, 2 brown.
    """

    def __init__(
        self,
        probability: float = 0.1,
        level_db: list[float] | tuple[float, float] = (-60.0, 0.0),
        slope: list[float] | tuple[float, float] = (0.0, 2.0),
    ):
        check_numbers(0, 1, probability=probability)
        self.probability = probability
        self.level_db = level_db
        self.slope = slope

    def __call__(
        self, wav: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        wav, targets = wav.clone(), targets.clone()
        for item in (torch.rand(len(wav)) < self.probability).nonzero().flatten():
            noise = unit_power_noise(wav.shape[1], uniform(*self.slope))
            level = 10 ** (uniform(*self.level_db) / 20)
            wav[item] = level * wav[item].square().mean().sqrt() * noise.to(wav)
            targets[item] = 1 / targets.shape[1]
        return wav, targets


class Mixup:
    """Add to some clips another one of the batch, and mix their targets alike.

    The clip keeps a share of 0.5 to 1 (after Zhang et al. 2018, arXiv 1710.09412,
    with a uniform share).

    Arguments
    ---------
    probability : float
        Share of the clips that are mixed.
    """

    def __init__(self, probability: float = 0.5):
        check_numbers(0, 1, probability=probability)
        self.probability = probability

    def __call__(
        self, wav: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        order = torch.randperm(len(wav))
        share = 1 - 0.5 * torch.rand(len(wav))
        mixed = torch.rand(len(wav)) < self.probability
        share = torch.where(mixed, share, 1.0).to(wav)[:, None]
        wav = share * wav + (1 - share) * wav[order]
        targets = share * targets + (1 - share) * targets[order]
        return wav, targets


class OfSomeClips(torch.nn.Module):
    """An augmentation of features for `Augmenter`, drawn for each clip by itself.

    Arguments
    ---------
    probability : float
        Share of the clips that are changed.
    """

    def __init__(self, probability: float):
        super().__init__()
        check_numbers(0, 1, probability=probability)
        self.probability = probability

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features (B, T, F), some of which are changed."""
        chosen = (torch.rand(len(features)) < self.probability).tolist()
        pairs = zip(features, chosen, strict=True)
        return torch.stack([self.change(clip) if c else clip for clip, c in pairs])

    def change(self, features):
        """The features (T, F) of one clip, changed."""
        raise NotImplementedError


class Equalizer(OfSomeClips):
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

    def __init__(
        self, probability: float = 0.5, deviation_db: float = 6.0, nodes: int = 6
    ):
        super().__init__(probability)
        self.deviation_db = deviation_db
        self.nodes = nodes

    def change(self, features: torch.Tensor) -> torch.Tensor:
        """Features (T, F), log(1 + magnitude), with another gain at each frequency."""
        gains_db = self.deviation_db * torch.randn(1, 1, self.nodes)
        curve_db = torch.nn.functional.interpolate(
            gains_db, features.shape[1], mode="linear", align_corners=True
        )[0].to(features)
        return (features.expm1() * 10 ** (curve_db / 20)).log1p()


class BlockMask(OfSomeClips):
    """Silence random tiles of a coarse grid over time and frequency.

    Like SpeechBrain's `SpectrogramDrop`, with holes as a mask has them: a classifier
    that has met silence judges masked inputs by what is there.

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
        probability: float = 0.5,
        time_tiles: tuple[int, int] = (3, 19),
        frequency_tiles: tuple[int, int] = (2, 9),
        keep: list[float] | tuple[float, float] = (0.3, 1.0),
    ):
        super().__init__(probability)
        self.time_tiles = time_tiles
        self.frequency_tiles = frequency_tiles
        self.keep = keep

    def change(self, features: torch.Tensor) -> torch.Tensor:
        """Features (T, F) without some tiles."""
        limits = (self.time_tiles, self.frequency_tiles)
        grid = [round(uniform(*limit)) for limit in limits]
        kept = torch.rand(1, 1, *grid) < uniform(*self.keep)
        tiles = torch.nn.functional.interpolate(kept.float(), features.shape)
        return features * tiles[0, 0].to(features)


class OnSpectrogram(torch.nn.Module):
    """Augmentation of spectrograms, for a classifier whose features are waveforms.

    A waveform goes to the domain's representation, through the augmentations, and back:
    the classifier meets holes as a mask leaves them.

    Arguments
    ---------
    domain : MaskDomain
        That can decode.
    transforms : speechbrain.augment.augmenter.Augmenter or list
        Of representations (B, T, F), without concatenation.
    """

    def __init__(self, domain, transforms):
        super().__init__()
        self.domain = domain
        self.transforms = augmenter_of(transforms)

    def forward(self, wav: torch.Tensor) -> torch.Tensor:
        """Waveforms (B, N) with holes in their spectrograms."""
        encoded = self.domain.encode(wav.cpu())
        rep, _ = self.transforms(encoded.rep, torch.ones(len(wav)))
        return self.domain.decode(encoded.with_rep(rep)).to(wav)
