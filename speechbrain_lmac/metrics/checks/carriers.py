"""Carriers: other sounds at the level of a clip, for checks of its mask."""

from collections.abc import Callable, Sequence

import torch

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.data.background import TrainingClips
from speechbrain_lmac.domains.stft import zero_padding
from speechbrain_lmac.dsp.noise import GENERATORS, unit_power_noise
from speechbrain_lmac.dsp.pad_crop import repeat_or_cut
from speechbrain_lmac.types import Classifier, Encoded, MaskDomain
from speechbrain_lmac.utils.errors import InputError, check_counts
from speechbrain_lmac.utils.seeding import clip_key, generator

PINK_SLOPE = 1.0


def pink_noise(key: tuple, n_samples: int, sample_rate: int) -> torch.Tensor:
    """Return Gaussian noise whose power falls as 1 / f, of unit power.

    Arguments
    ---------
    key : tuple
        Seed: strings and numbers (see `seeding.generator`).
    n_samples : int
        Length N.
    sample_rate : int
        Hz. Pink noise is the same at every rate.

    Returns
    -------
    wav : torch.Tensor
        Shape (N,), float32.
    """
    return unit_power_noise(n_samples, PINK_SLOPE, generator(*key, "pink"))


NOISES: dict[str, Callable[[tuple, int, int], torch.Tensor]] = {
    "white": GENERATORS["white"],
    "pink": pink_noise,
    "coloured": GENERATORS["coloured"],
    "babble": GENERATORS["babble"],
}
POOL_BATCH = 16  # clips that are classified at once


def check_noises(check: str, noises: Sequence[str]) -> None:
    """Raise InputError, starting with the name of a check, for an unknown noise."""
    for noise in noises:
        if noise not in NOISES:
            raise InputError(
                f"{check}: unknown noise {noise!r}, expected {', '.join(NOISES)}"
            )


def waveforms_of(encoded: Encoded) -> torch.Tensor:
    """Return the waveforms (B, N) of encoded clips; ValueError where they are lost."""
    if encoded.wav is None:
        raise ValueError("carriers need the waveforms of the encoded clips, got None")
    return encoded.wav


def at_level_of(
    carrier: torch.Tensor, wav: torch.Tensor, lens: torch.Tensor | None = None
) -> torch.Tensor:
    """Return carriers scaled to the RMS of clips, silent in their padding.

    Arguments
    ---------
    carrier : torch.Tensor
        Sounds (B, N). A silent one stays silent.
    wav : torch.Tensor
        Clips (B, N).
    lens : torch.Tensor, optional
        Share of each clip that is recording, (B,), above 0 and at most 1. The RMS is
        that of the recording.

    Returns
    -------
    scaled : torch.Tensor
        Shape (B, N).

    Example
    -------
    >>> at_level_of(torch.tensor([[2.0, -2.0]]), torch.tensor([[0.5, 0.5]]))
    tensor([[ 0.5000, -0.5000]])
    """
    if lens is not None:
        carrier, wav = zero_padding(carrier, lens), zero_padding(wav, lens)
    level, own = (x.square().sum(1, keepdim=True).sqrt() for x in (wav, carrier))
    return carrier * (level / own.clamp(min=torch.finfo(own.dtype).tiny))


def noise_carriers(
    noise: str, domain: MaskDomain, encoded: Encoded, seed: int
) -> Encoded:
    """Return a noise for each clip, at the clip's level.

    Arguments
    ---------
    noise : str
        One of `NOISES`.
    domain : MaskDomain
    encoded : Encoded
        B clips.
    seed : int
        Draws depend on it and on the samples of the clip alone.

    Returns
    -------
    carriers : Encoded
        Of B noises.
    """
    wav = waveforms_of(encoded)
    carriers = [
        # "imprint" for every check, so all get the noise that `Imprint` gets.
        NOISES[noise](
            ("imprint", seed, clip_key(clip)), encoded.length, domain.sample_rate
        )
        for clip in wav
    ]
    return _at_level(torch.stack(carriers), domain, encoded)


def _at_level(carrier: torch.Tensor, domain: MaskDomain, encoded: Encoded) -> Encoded:
    """Return carriers (B, N) as encoded sounds at the level of the clips."""
    wav = waveforms_of(encoded)
    scaled = at_level_of(carrier.to(wav), wav, encoded.lens)
    return domain.encode(scaled, encoded.lens)


class ClipPairings:
    """Clips that the classifier assigns to another class than the explained one.

    Arguments
    ---------
    clips : TrainingClips or callable
        () to waveforms (K, N) of clips of several classes.
    n_pairings : int
        Clips per explained clip, at least 1. Where fewer clips of other classes exist,
        they repeat.
    seed : int
        Draws depend on it and on the samples of the explained clip alone.

    Raises
    ------
    InputError
        For `n_pairings` below 1.
    """

    def __init__(
        self,
        clips: TrainingClips | Callable[[], torch.Tensor],
        n_pairings: int = 5,
        seed: int = 1234,
    ) -> None:
        check_counts(n_pairings=n_pairings)
        self.clips = clips
        self.n_pairings = n_pairings
        self.seed = seed
        self._predicted: tuple[MaskDomain, Classifier, int, torch.Tensor] | None = None

    def mean_over(
        self,
        score: Callable[[Encoded], torch.Tensor],
        domain: MaskDomain,
        classifier: Classifier,
        encoded: Encoded,
        target: torch.Tensor,
    ) -> torch.Tensor:
        """Return the mean of a score over the pairings of each clip.

        Arguments
        ---------
        score : callable
            Encoded carriers, of B sounds at the level of the clips, to scores (..., B).
        domain : MaskDomain
        classifier : Classifier
        encoded : Encoded
            B clips.
        target : torch.Tensor
            The explained classes (B,).

        Returns
        -------
        mean : torch.Tensor
            Shape (..., B). NaN where no clip of another class exists.
        """
        wav = waveforms_of(encoded)
        pool = repeat_or_cut(self.clips(), encoded.length, dim=1)
        predicted = self._classes(domain, classifier, pool.to(wav))
        chosen = self._drawn(predicted, target, [clip_key(clip) for clip in wav])
        scores = [
            score(_at_level(pool[column.clamp(min=0)], domain, encoded))
            for column in chosen.T
        ]
        mean = torch.stack(scores).mean(0)
        return mean.masked_fill((chosen < 0).any(1).to(mean.device), torch.nan)

    def _drawn(
        self, predicted: torch.Tensor, target: torch.Tensor, keys: Sequence[int]
    ) -> torch.Tensor:
        """Draw indices (B, n_pairings) of clips of other classes; -1: none."""
        rows = []
        for key, explained in zip(keys, target.tolist(), strict=True):
            others = (predicted != explained).nonzero().flatten()
            if not len(others):
                rows.append(torch.full((self.n_pairings,), -1))
                continue
            draw = generator("imprint clips", self.seed, key)
            order = torch.randperm(len(others), generator=draw)
            repeated = order.repeat(-(-self.n_pairings // len(order)))
            rows.append(others[repeated[: self.n_pairings]])
        return torch.stack(rows)

    def _classes(
        self, domain: MaskDomain, classifier: Classifier, pool: torch.Tensor
    ) -> torch.Tensor:
        """Return the predicted classes (K,) of the clips (K, N), cached."""
        last, n = self._predicted, pool.shape[1]
        same = last is not None and last[0] is domain and last[1] is classifier
        if last is not None and same and last[2] == n:
            return last[3]
        parts = [
            classify(domain, classifier, domain.encode(part)).logits.argmax(1)
            for part in pool.split(POOL_BATCH)
        ]
        predicted = torch.cat(parts).cpu()
        self._predicted = (domain, classifier, n, predicted)
        return predicted
