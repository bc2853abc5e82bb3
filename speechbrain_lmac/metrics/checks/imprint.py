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
from speechbrain_lmac.metrics import Score
from speechbrain_lmac.metrics.checks import ExplainedBatch
from speechbrain_lmac.metrics.checks.carriers import (
    NOISES,
    ClipPairings,
    check_noises,
    noise_carriers,
)
from speechbrain_lmac.types import Classifier, Encoded, MaskDomain
from speechbrain_lmac.utils.errors import InputError, check_counts

OTHER_CLIPS = "other clips"


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
    """Share of other sounds assigned to the explained class under a mask, per clip.

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
        check_noises("imprint", noises)
        if clips is None and not noises:
            raise InputError(
                "imprint needs noises or clips, got neither: set `noises` or `clips`"
            )
        self.noises = tuple(noises)
        self.seed = seed
        self.pairings = None if clips is None else ClipPairings(clips, n_pairings, seed)

    def scores(
        self, domain: MaskDomain | None = None, truth: GroundTruth | None = None
    ) -> tuple[Score, ...]:
        """Return the columns: one per noise, and one for the other clips.

        Arguments and returns are those of `Check.scores`.
        """
        kinds = [f"{noise} noise" for noise in self.noises]
        kinds += [] if self.pairings is None else ["clips of another class"]
        names = [*self.noises, *([] if self.pairings is None else [OTHER_CLIPS])]
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
        mask, target = batch.explanation.mask, batch.explanation.target
        encoded = batch.explanation.encoded

        def imprint_on(carrier: Encoded) -> torch.Tensor:
            return imprinted(domain, classifier, mask, target, carrier)

        values = [
            imprint_on(noise_carriers(noise, domain, encoded, self.seed))
            for noise in self.noises
        ]
        if self.pairings is not None:
            share = self.pairings.mean_over(
                imprint_on, domain, classifier, encoded, target
            )
            values.append(share)
        return {
            score.name: 100 * value
            for score, value in zip(self.scores(), values, strict=True)
        }
