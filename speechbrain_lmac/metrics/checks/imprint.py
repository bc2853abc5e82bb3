"""Imprint: whether a mask makes the classifier predict its class on other sounds.

A mask that only selects sound has no class of its own: laid on noise or on a clip of
another class, it should not make the classifier predict the explained class. A mask
that does so encodes the class in its shape (Jethani et al. 2021, arXiv 2103.01890;
Puli et al. 2024, arXiv 2411.02664). All-ones masks have the chance level.
"""

from collections.abc import Callable, Sequence

import torch

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.data.background import TrainingClips
from speechbrain_lmac.data.conditions import GroundTruth
from speechbrain_lmac.domains.masked_audio import MaskedAudio
from speechbrain_lmac.domains.stft import zero_padding
from speechbrain_lmac.dsp.noise import GENERATORS, unit_power_noise
from speechbrain_lmac.dsp.pad_crop import repeat_or_cut
from speechbrain_lmac.metrics import Score
from speechbrain_lmac.metrics.checks import ExplainedBatch
from speechbrain_lmac.types import Classifier, Encoded, MaskDomain
from speechbrain_lmac.utils.errors import InputError, check_counts
from speechbrain_lmac.utils.seeding import clip_key, generator

PINK_SLOPE = 1.0


def pink_noise(key: tuple, n_samples: int, sample_rate: int) -> torch.Tensor:
    """Return Gaussian noise whose power falls as 1 / f, of unit power.

    Arguments
    ---------
    key : tuple
        Strings and numbers (see `seeding.generator`).
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
OTHER_CLIPS = "other clips"
POOL_BATCH = 16  # clips that are classified at once


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
        Share of each clip before the padding, (B,), above 0 and at most 1. The RMS is
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


@torch.no_grad()
def logits_on(
    domain: MaskDomain, classifier: Classifier, mask: torch.Tensor, carrier: Encoded
) -> torch.Tensor:
    """Return the logits of masked carriers, f(M * Z).

    Arguments
    ---------
    domain : MaskDomain
    classifier : Classifier
    mask : torch.Tensor
        M, shape (B, T, F), in 0..1.
    carrier : Encoded
        Z, of B sounds.

    Returns
    -------
    logits : torch.Tensor
        Shape (B, C).
    """
    masked = MaskedAudio(domain, carrier, mask).masked_in
    return classify(domain, classifier, masked).logits


def imprinted(
    domain: MaskDomain,
    classifier: Classifier,
    mask: torch.Tensor,
    target: torch.Tensor,
    carrier: Encoded,
) -> torch.Tensor:
    """Return whether masked carriers are classified as the explained class.

    [argmax f(M * Z) = y], Z the representation of the carrier.

    Arguments
    ---------
    domain : MaskDomain
    classifier : Classifier
    mask : torch.Tensor
        M, shape (B, T, F), in 0..1.
    target : torch.Tensor
        y, the explained classes (B,).
    carrier : Encoded
        Z, of B sounds.

    Returns
    -------
    imprint : torch.Tensor
        Shape (B,), 0 or 1, float64; NaN where a mask has a NaN.
    """
    logits = logits_on(domain, classifier, mask, carrier)
    same = (logits.argmax(1) == target).double()
    return same.masked_fill(mask.isnan().flatten(1).any(1), torch.nan)


class Imprint:
    """Share of other sounds on which a mask draws its class, per clip.

    A check of `evaluation.evaluate`: it returns a score per kind of sound. A noise is
    drawn for each clip. `n_pairings` other clips are drawn from those that the
    classifier assigns to another class than the explained one; chance is near 0 for
    them (not 0, since they are scaled to the RMS of the clip). Draws depend on the seed
    and the samples of the clip alone.

    Arguments
    ---------
    clips : TrainingClips or callable, optional
        () to waveforms (K, N) of clips of several classes. Without: noises only.
    noises : sequence of str
        Names in `NOISES`.
    n_pairings : int
        Clips of other classes per clip.
    seed : int
        Seed of the draws.

    Raises
    ------
    InputError
        For an unknown noise, no sound at all, or `n_pairings` below 1.
    """

    def __init__(
        self,
        clips: TrainingClips | Callable[[], torch.Tensor] | None = None,
        noises: Sequence[str] = tuple(NOISES),
        n_pairings: int = 5,
        seed: int = 1234,
    ) -> None:
        check_counts(n_pairings=n_pairings)
        for noise in noises:
            if noise not in NOISES:
                raise InputError(
                    f"imprint: unknown noise {noise!r}, expected {', '.join(NOISES)}"
                )
        if clips is None and not noises:
            raise InputError("imprint: neither noises nor clips to lay the masks on")
        self.clips = clips
        self.noises = tuple(noises)
        self.n_pairings = n_pairings
        self.seed = seed
        self._predicted: tuple[MaskDomain, Classifier, int, torch.Tensor] | None = None

    def scores(
        self, domain: MaskDomain | None = None, truth: GroundTruth | None = None
    ) -> tuple[Score, ...]:
        """Return the columns: one per noise, and one for the other clips.

        Arguments
        ---------
        domain, truth
            Not used: the columns are the same everywhere.

        Returns
        -------
        scores : tuple
            `Score` objects.
        """
        kinds = [f"{noise} noise" for noise in self.noises]
        kinds += [] if self.clips is None else ["clips of another class"]
        names = [*self.noises, *([] if self.clips is None else [OTHER_CLIPS])]
        return tuple(
            Score(
                name=f"imprint {name}",
                higher_is_better=False,
                unit="%",
                description=f"share of {kind} that the mask makes the classifier "
                "assign to the explained class; chance: the row of all-ones masks",
            )
            for name, kind in zip(names, kinds, strict=True)
        )

    @torch.no_grad()
    def __call__(self, batch: ExplainedBatch) -> dict[str, torch.Tensor]:
        """Return the scores of a batch of explanations.

        Arguments
        ---------
        batch : ExplainedBatch
            Explanations of B clips.

        Returns
        -------
        scores : dict
            Name of each of `scores()` to its values, (B,), 0 to 100, float64. NaN for
            a mask with a NaN, and where no clip of another class exists.
        """
        domain, classifier = batch.domain, batch.classifier
        explanation, encoded = batch.explanation, batch.explanation.encoded
        wav, lens, n = batch.wav, encoded.lens, batch.wav.shape[1]
        keys = [clip_key(clip) for clip in wav]

        def drawn(carrier: torch.Tensor) -> torch.Tensor:
            scaled = at_level_of(carrier.to(wav), wav, lens)
            return imprinted(
                domain,
                classifier,
                explanation.mask,
                explanation.target,
                domain.encode(scaled, lens),
            )

        values = []
        for noise in self.noises:
            make = NOISES[noise]
            carriers = [
                make(("imprint", self.seed, key), n, domain.sample_rate) for key in keys
            ]
            values.append(drawn(torch.stack(carriers)))
        if self.clips is not None:
            pool = repeat_or_cut(self.clips(), n, dim=1)
            predicted = self._classes(domain, classifier, pool.to(wav))
            chosen = self._pairings(predicted, explanation.target, keys)
            shares = [drawn(pool[column.clamp(min=0)]) for column in chosen.T]
            share = torch.stack(shares).mean(0)
            none = (chosen < 0).any(1).to(share.device)
            values.append(share.masked_fill(none, torch.nan))
        return {
            score.name: 100 * value
            for score, value in zip(self.scores(), values, strict=True)
        }

    def _pairings(
        self, predicted: torch.Tensor, target: torch.Tensor, keys: Sequence[int]
    ) -> torch.Tensor:
        """Draw indices (B, n_pairings) of clips of other classes; -1 where none is."""
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
