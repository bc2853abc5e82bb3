"""Headroom: the scores of a mask as a share of what a mask of its size can reach.

The equal-size optimum is a mask that is optimised for each clip on a smooth grid
(`explainers.optimised.BestMask`), from a flat start: it depends on the clip, the class
and the size alone, and is the same yardstick for all methods.
"""

from collections.abc import Sequence

import torch

from speechbrain_lmac.data.conditions import GroundTruth
from speechbrain_lmac.domains import LearnedDomain
from speechbrain_lmac.evidence import gather_evidence
from speechbrain_lmac.explainers.controls import mask_means, with_mask
from speechbrain_lmac.explainers.optimised import BestMask, flat
from speechbrain_lmac.metrics import AG, AI, Score
from speechbrain_lmac.metrics.checks import ExplainedBatch
from speechbrain_lmac.metrics.checks.carriers import waveforms_of
from speechbrain_lmac.types import Classifier, Explanation, MaskDomain
from speechbrain_lmac.utils.seeding import clip_key

METRICS = (AI, AG)
# Sizes are rounded to this step, so that methods of one size share the optimum.
SIZE_STEP = 1e-4


def share_of_best(score: torch.Tensor, optimum: torch.Tensor) -> torch.Tensor:
    """Return scores as a share of the best known mask's, in percent.

    100 score / max(score, optimum): the optimum is found by few steps, and a method may
    be better.

    Arguments
    ---------
    score, optimum : torch.Tensor
        Scores of the method's mask and of the equal-size optimum, (B,), at least 0.

    Returns
    -------
    share : torch.Tensor
        Shape (B,), 0 to 100, float64; NaN where neither is above 0.

    Example
    -------
    >>> score, optimum = (
    ...     torch.tensor([0.0, 10, 30, 0]),
    ...     torch.tensor([100.0, 40, 20, 0]),
    ... )
    >>> share_of_best(score, optimum)
    tensor([  0.,  25., 100.,  nan], dtype=torch.float64)
    """
    return 100 * score.double() / torch.maximum(score, optimum).double()


class Fixed:
    """An explainer with one explanation, that of a batch already explained.

    Arguments
    ---------
    explanation : Explanation
        Explanation of B clips.
    """

    def __init__(self, explanation: Explanation) -> None:
        self.explanation = explanation

    def explain(
        self,
        wav: torch.Tensor,
        target: torch.Tensor | None = None,
        lens: torch.Tensor | None = None,
    ) -> Explanation:
        """Return the explanation; the arguments are not used.

        They are those of `types.Explainer.explain`: waveforms (B, N).
        """
        return self.explanation


class Headroom:
    """AI and AG as a share of those of the equal-size optimum, per clip.

    A check of `evaluation.evaluate`. AI of a clip is 0 or 100, so the mean of its share
    is the percentage of clips whose confidence rises among those where a mask of that
    size can raise it. Optima are computed once for each clip, class and size.

    Arguments
    ---------
    steps : int
        Of Adam, see `BestMask`.
    learning_rate : float
        Of Adam, in logits.
    cell : tuple
        Frames and mel bands of a cell of the grid.
    """

    def __init__(
        self,
        steps: int = 40,
        learning_rate: float = 0.5,
        cell: Sequence[int] = (8, 4),
    ) -> None:
        self.steps = steps
        self.learning_rate = learning_rate
        self.cell = tuple(cell)
        self._models: tuple[MaskDomain, Classifier] | None = None
        self._optima: dict[tuple, list[float]] = {}  # of clip, class and size

    def scores(self, domain: MaskDomain, truth: GroundTruth) -> tuple[Score, ...]:
        """Return the columns; none in the domain of a codec, which has no mel bands.

        Arguments and returns are those of `Check.scores`.
        """
        if isinstance(domain, LearnedDomain):
            return ()
        return tuple(
            Score(
                name=f"{metric.name} of optimum",
                higher_is_better=True,
                unit="%",
                description=f"{metric.name} as a share of that of the best known mask "
                "of this size; clips that no mask of this size improves do not count",
            )
            for metric in METRICS
        )

    def __call__(self, batch: ExplainedBatch) -> dict[str, torch.Tensor]:
        """Return the scores of a batch of explanations.

        Arguments
        ---------
        batch : ExplainedBatch
            Explanations of B clips.

        Returns
        -------
        scores : dict
            Name of each of `scores` to its values, (B,), 0 to 100, float64; NaN for a
            mask with a NaN, and where neither mask raises the confidence.
        """
        columns = self.scores(batch.domain, GroundTruth())
        if not columns:
            return {}
        optima = self.optima(batch)
        own = [metric(batch.evidence) for metric in METRICS]
        # Neither mask raises the confidence measurably: AG would be rounding noise.
        none = torch.maximum(own[0], optima[0]) == 0
        return {
            column.name: share_of_best(score, optimum).masked_fill(none, torch.nan)
            for column, score, optimum in zip(columns, own, optima, strict=True)
        }

    def optima(self, batch: ExplainedBatch) -> torch.Tensor:
        """Return the scores of the equal-size optima, (2, B): AI and AG, float64.

        Arguments
        ---------
        batch : ExplainedBatch
            Explanations of B clips.

        Returns
        -------
        optima : torch.Tensor
            NaN for a mask with a NaN.
        """
        domain, classifier, given = batch.domain, batch.classifier, batch.explanation
        wav = waveforms_of(given.encoded)
        last = self._models
        if last is None or last[0] is not domain or last[1] is not classifier:
            self._models, self._optima = (domain, classifier), {}
        steps = (mask_means(given) / SIZE_STEP).round()
        keys = [
            (clip_key(clip), wav.shape[1], target, step)
            for clip, target, step in zip(
                wav, given.target.tolist(), steps.tolist(), strict=True
            )
        ]
        if not all(key in self._optima for key in keys):
            sizes = (steps * SIZE_STEP).clamp(0, 1).to(given.mask)
            constant = sizes[:, None, None].expand_as(given.mask)
            best = BestMask(
                domain,
                classifier,
                Fixed(with_mask(given, constant)),
                cell=self.cell,
                steps=self.steps,
                learning_rate=self.learning_rate,
                start=flat,
            ).explain(wav, given.target, given.encoded.lens)
            evidence = gather_evidence(domain, classifier, best)
            found = torch.stack([metric(evidence).double() for metric in METRICS], 1)
            self._optima |= dict(zip(keys, found.tolist(), strict=True))
        optima = [self._optima[key] for key in keys]
        return torch.tensor(optima, dtype=torch.float64, device=wav.device).T
