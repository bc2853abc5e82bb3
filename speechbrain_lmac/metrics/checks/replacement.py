"""Masking operators: explanations whose removed cells hold another sound.

The papers multiply by the mask: removed cells become zero, and a spectrogram with holes
is out of the classifier's distribution (Hase et al. 2021, arXiv 2106.00786). Here
another sound Z fills them: noise, or a clip of another class. The order of methods may
depend on the operator (Rong et al. 2022, arXiv 2202.00449).
"""

from collections.abc import Callable
from dataclasses import replace

import torch

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.data.background import TrainingClips
from speechbrain_lmac.data.conditions import GroundTruth
from speechbrain_lmac.metrics import AD, FF, TARGET_IN, Score
from speechbrain_lmac.metrics.checks import ExplainedBatch
from speechbrain_lmac.metrics.checks.carriers import (
    ClipPairings,
    check_noises,
    noise_carriers,
)
from speechbrain_lmac.types import (
    Classifier,
    Encoded,
    Evidence,
    Explanation,
    MaskDomain,
)

REPLACEMENT_IN = Score(
    name="replacement in",
    higher_is_better=True,
    unit="%",
    description="share of clips that keep the explained class with a clip of another "
    "class in the cells outside the explanation",
)
REPLACEMENT_OUT = Score(
    name="replacement out",
    higher_is_better=False,
    unit="%",
    description="share of clips that keep the explained class with a clip of another "
    "class in the cells of the explanation",
)


def _average_drop(operator: str, filler: str) -> Score:
    """Return the column of the average drop under a masking operator."""
    return Score(
        name=f"AD {operator}",
        higher_is_better=False,
        unit="%",
        description=f"AD with {filler} in the cells outside the explanation",
    )


def _faithfulness(operator: str, filler: str) -> Score:
    """Return the column of the faithfulness under a masking operator."""
    return Score(
        name=f"FF {operator}",
        higher_is_better=True,
        description=f"FF with {filler} in the cells of the explanation",
    )


OF_NOISE = ("noise", "noise at the clip's level")
OF_CLIPS = ("replacement", "a clip of another class")
AD_NOISE, FF_NOISE = _average_drop(*OF_NOISE), _faithfulness(*OF_NOISE)
AD_REPLACEMENT, FF_REPLACEMENT = _average_drop(*OF_CLIPS), _faithfulness(*OF_CLIPS)
# The scores of the explanation and of the rest under each masking operator.
OPERATORS: dict[str, tuple[Score, Score]] = {
    "zero": (AD, FF),
    "noise": (AD_NOISE, FF_NOISE),
    "replacement": (AD_REPLACEMENT, FF_REPLACEMENT),
}


def filled(
    domain: MaskDomain, encoded: Encoded, mask: torch.Tensor, filler: Encoded
) -> Encoded:
    """Return clips whose removed cells hold another sound, M * X + (1 - M) * Z.

    Where the representation has a phase, a cell has that of the larger summand.

    Arguments
    ---------
    domain : MaskDomain
    encoded : Encoded
        X, of B clips.
    mask : torch.Tensor
        M, shape (B, T, F), in 0..1. Ones give X, zeros give Z.
    filler : Encoded
        Z, of B sounds with the lengths of the clips.

    Returns
    -------
    mixed : Encoded
        Of B sounds.

    Example
    -------
    >>> from speechbrain_lmac.domains import MelDomain
    >>> x, z = torch.tensor([[[4.0, 2.0]]]), torch.tensor([[[8.0, 6.0]]])
    >>> mask = torch.tensor([[[1.0, 0.25]]])
    >>> filled(MelDomain(16000), Encoded(x, None, 1), mask, Encoded(z, None, 1)).rep
    tensor([[[4., 5.]]])
    """
    kept = domain.apply_mask(encoded, mask)
    added = domain.apply_mask(filler, 1 - mask)
    mixed = kept.with_rep(kept.rep + added.rep)
    if kept.phasor is None or added.phasor is None:
        return mixed
    phasor = torch.where(kept.rep >= added.rep, kept.phasor, added.phasor)
    return replace(mixed, phasor=phasor)


@torch.no_grad()
def filled_evidence(
    domain: MaskDomain,
    classifier: Classifier,
    explanation: Explanation,
    filler: Encoded,
) -> Evidence:
    """Return the evidence of explanations whose removed cells hold another sound.

    `logits_in` are f(M * X + (1 - M) * Z), `logits_out` are f((1 - M) * X + M * Z).
    Metrics of `Evidence` become those of another masking operator.

    Arguments
    ---------
    domain : MaskDomain
    classifier : Classifier
        f.
    explanation : Explanation
        X and M, of B clips.
    filler : Encoded
        Z, of B sounds.

    Returns
    -------
    evidence : Evidence
        Logits (B, C); NaN in the parts of a mask with a NaN.
    """
    mask, encoded = explanation.mask, explanation.encoded
    undefined = mask.isnan().flatten(1).any(1, keepdim=True)
    logits_in, logits_out = (
        classify(domain, classifier, part).logits.masked_fill(undefined, torch.nan)
        for part in (
            filled(domain, encoded, mask, filler),
            filled(domain, filler, mask, encoded),
        )
    )
    return Evidence(
        mask=mask,
        target=explanation.target,
        logits=explanation.logits,
        logits_in=logits_in,
        logits_out=logits_out,
        frames=encoded.frames,
    )


def replacement_scores(evidence: Evidence) -> dict[str, torch.Tensor]:
    """Return the scores of `Replacement` from its evidence.

    Arguments
    ---------
    evidence : Evidence
        Of B clips, from `filled_evidence` with clips of another class.

    Returns
    -------
    scores : dict
        Name to values (B,), float64: `replacement in`, 100 [argmax f(M * X + (1 - M) *
        Z) = y]; `replacement out`, 100 [argmax f((1 - M) * X + M * Z) = y], both 0 to
        100; `AD replacement`, 0 to 100; `FF replacement`, -1 to 1.

    Example
    -------
    The explained class 0 has p = 0.8, 0.4 with the rest replaced (now it is class 1),
    and 0.1 with the explanation replaced:

    >>> logits = torch.tensor([[[0.8, 0.2]], [[0.4, 0.6]], [[0.1, 0.9]]]).log()
    >>> evidence = Evidence(torch.ones(1, 1, 1), torch.tensor([0]), *logits)
    >>> for name, value in replacement_scores(evidence).items():
    ...     print(name, round(value.item(), 3))
    replacement in 0.0
    replacement out 0.0
    AD replacement 50.0
    FF replacement 0.7
    """
    swapped = replace(evidence, logits_in=evidence.logits_out)
    return {
        REPLACEMENT_IN.name: 100 * TARGET_IN(evidence),
        REPLACEMENT_OUT.name: 100 * TARGET_IN(swapped),
        AD_REPLACEMENT.name: AD(evidence),
        FF_REPLACEMENT.name: FF(evidence),
    }


class Replacement:
    """Scores of explanations whose removed cells hold a clip of another class.

    A check of `evaluation.evaluate`. Each score is the mean over `n_pairings` clips
    that the classifier assigns to another class, scaled to the level of the explained
    clip. With the same seed they are the clips of `Imprint`. The scores measure the
    sufficiency and the necessity of the explanation without holes in the spectrogram.

    Arguments
    ---------
    clips : TrainingClips or callable
        () to waveforms (K, N) of clips of several classes.
    n_pairings : int
        Clips of other classes per clip.
    seed : int
        Of the draws, which depend on the samples of the clip, too.

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
        self.pairings = ClipPairings(clips, n_pairings, seed)

    def scores(
        self, domain: MaskDomain | None = None, truth: GroundTruth | None = None
    ) -> tuple[Score, ...]:
        """Return the four columns, the same in every domain and condition.

        Arguments and returns are those of `Check.scores`.
        """
        return (REPLACEMENT_IN, REPLACEMENT_OUT, AD_REPLACEMENT, FF_REPLACEMENT)

    @torch.no_grad()
    def __call__(self, batch: ExplainedBatch) -> dict[str, torch.Tensor]:
        """Return the scores of a batch of explanations.

        Arguments
        ---------
        batch : ExplainedBatch
            Of B clips.

        Returns
        -------
        scores : dict
            Name of each of `scores()` to its values, (B,), float64. NaN for a mask with
            a NaN, and where no clip of another class exists.
        """
        domain, classifier = batch.domain, batch.classifier
        explanation = batch.explanation

        def stacked(filler: Encoded) -> torch.Tensor:
            evidence = filled_evidence(domain, classifier, explanation, filler)
            return torch.stack(list(replacement_scores(evidence).values()))

        means = self.pairings.mean_over(
            stacked, domain, classifier, explanation.encoded, explanation.target
        )
        return {
            score.name: mean for score, mean in zip(self.scores(), means, strict=True)
        }


class NoiseReplacement:
    """AD and FF of explanations whose removed cells hold noise.

    A check of `evaluation.evaluate`; a noise is drawn for each clip, that of `Imprint`
    with the same seed.

    Arguments
    ---------
    noise : str
        One of `carriers.NOISES`.
    seed : int
        Of the draws, which depend on the samples of the clip, too.

    Raises
    ------
    InputError
        For an unknown noise.
    """

    def __init__(self, noise: str = "coloured", seed: int = 1234) -> None:
        check_noises("noise replacement", [noise])
        self.noise = noise
        self.seed = seed

    def scores(
        self, domain: MaskDomain | None = None, truth: GroundTruth | None = None
    ) -> tuple[Score, ...]:
        """Return the two columns, the same in every domain and condition.

        Arguments and returns are those of `Check.scores`.
        """
        return (AD_NOISE, FF_NOISE)

    def __call__(self, batch: ExplainedBatch) -> dict[str, torch.Tensor]:
        """Return the scores of a batch of explanations.

        Arguments
        ---------
        batch : ExplainedBatch
            Of B clips.

        Returns
        -------
        scores : dict
            Name of each of `scores()` to its values, (B,), float64. NaN for a mask with
            a NaN.
        """
        domain, explanation = batch.domain, batch.explanation
        noise = noise_carriers(self.noise, domain, explanation.encoded, self.seed)
        evidence = filled_evidence(domain, batch.classifier, explanation, noise)
        return {AD_NOISE.name: AD(evidence), FF_NOISE.name: FF(evidence)}
