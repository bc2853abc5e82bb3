"""A second listener: another classifier's decision on the audio of an explanation.

The papers' scores come from the explained classifier, which the mask was made for. A
second one, which no training has used, shows whether the class is in the audio.
"""

import logging
from collections.abc import Sequence

import torch

from speechbrain_lmac.data.conditions import UNKNOWN_CLASS, GroundTruth
from speechbrain_lmac.domains.masked_audio import MaskedAudio
from speechbrain_lmac.domains.stft import recorded_samples
from speechbrain_lmac.metrics import Score
from speechbrain_lmac.metrics.checks import ExplainedBatch
from speechbrain_lmac.metrics.checks.listeners import SecondListener
from speechbrain_lmac.types import MaskDomain
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.hashing import content_hash

logger = logging.getLogger(__name__)

LISTENER_INPUT = Score(
    name="listener input",
    unit="%",
    description="share of clips that the second listener classifies as the explained "
    "class; in practice the upper bound of the other two",
)
LISTENER_EXPLANATION = Score(
    name="listener explanation",
    higher_is_better=True,
    unit="%",
    description="share of explanations that the second listener classifies as the "
    "explained class; undefined for a silent one",
)
LISTENER_REST = Score(
    name="listener rest",
    higher_is_better=False,
    unit="%",
    description="share of rests that the second listener classifies as the explained "
    "class; undefined for a silent one",
)
TARGET_INPUT = Score(
    name="listener target over other input",
    unit="%",
    description="share of mixtures for which the second listener scores the explained "
    "class higher than the class of the other source: the chance level",
)
TARGET_EXPLANATION = Score(
    name="listener target over other explanation",
    higher_is_better=True,
    unit="%",
    description="the same for the explanation",
)
TARGET_REST = Score(
    name="listener target over other rest",
    higher_is_better=False,
    unit="%",
    description="the same for the rest",
)
LISTENER_SCORES = (LISTENER_INPUT, LISTENER_EXPLANATION, LISTENER_REST)
TARGET_SCORES = (TARGET_INPUT, TARGET_EXPLANATION, TARGET_REST)


def best_class(scores: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return whether the target has the highest score, in percent.

    100 / n where it shares the highest score with n - 1 other classes, so that the
    order of the classes has no influence.

    Arguments
    ---------
    scores : torch.Tensor
        Shape (B, C).
    target : torch.Tensor
        Shape (B,), int64.

    Returns
    -------
    hit : torch.Tensor
        Shape (B,), 0 to 100, float64; NaN where a score is NaN.

    Example
    -------
    >>> scores = torch.tensor([[0.2, 0.1], [0.2, 0.3], [0.4, 0.4]])
    >>> best_class(scores, torch.tensor([0, 0, 0]))
    tensor([100.,   0.,  50.], dtype=torch.float64)
    """
    highest = scores == scores.amax(1, keepdim=True)
    hit = 100 * highest.gather(1, target[:, None])[:, 0].double() / highest.sum(1)
    return hit.masked_fill(scores.isnan().any(1), torch.nan)


def target_over_other(
    scores: torch.Tensor, target: torch.Tensor, other: torch.Tensor
) -> torch.Tensor:
    """Return whether the target has a higher score than another class, in percent.

    Arguments
    ---------
    scores : torch.Tensor
        Shape (B, C).
    target : torch.Tensor
        Shape (B,), int64.
    other : torch.Tensor
        Class of the other source, shape (B,), int64; `UNKNOWN_CLASS` where there is
        none.

    Returns
    -------
    over : torch.Tensor
        Shape (B,), 0, 100, or 50 for equal scores, float64; NaN where the other class
        is `UNKNOWN_CLASS` or equals the target, and where a score is NaN.

    Example
    -------
    >>> scores = torch.tensor([[0.2, 0.1, 0.9], [0.2, 0.1, 0.9]])
    >>> target_over_other(scores, torch.tensor([0, 0]), torch.tensor([1, 2]))
    tensor([100.,   0.], dtype=torch.float64)
    """
    pair = scores.gather(1, torch.stack([target, other.clamp(min=0)], 1)).double()
    over = 50 * (1 + (pair[:, 0] - pair[:, 1]).sign())
    over = over.masked_fill(pair.isnan().any(1), torch.nan)
    return over.masked_fill((other < 0) | (other == target), torch.nan)


def other_class(
    target: torch.Tensor, first: torch.Tensor, second: torch.Tensor
) -> torch.Tensor:
    """Return the class of the source that is not explained.

    Arguments
    ---------
    target : torch.Tensor
        The explained class, shape (B,), int64.
    first, second : torch.Tensor
        Classes of the two sources of each mixture, shape (B,), int64.

    Returns
    -------
    other : torch.Tensor
        Shape (B,), int64; `UNKNOWN_CLASS` unless the target is exactly one of the two.

    Example
    -------
    >>> two = torch.tensor([1, 1, 3, 1]), torch.tensor([2, 2, 4, 1])
    >>> other_class(torch.tensor([1, 2, 1, 1]), *two)
    tensor([ 2,  1, -1, -1])
    """
    other = torch.where(target == first, second, first)
    known = (target == first) ^ (target == second)
    return other.masked_fill(~known, UNKNOWN_CLASS)


def scores_of(domain: MaskDomain, two_classes: bool = False) -> tuple[Score, ...]:
    """Return the scores that `second_listener_scores` computes.

    Arguments
    ---------
    domain : MaskDomain
        A domain that is not `listenable` has no scores: ().
    two_classes : bool
        Whether the class of the other source is known.

    Returns
    -------
    scores : tuple
        `Score` objects.
    """
    if not domain.listenable:
        return ()
    return (*LISTENER_SCORES, *(TARGET_SCORES if two_classes else ()))


def second_listener_scores(
    listener: SecondListener,
    masked_audio: MaskedAudio,
    target: torch.Tensor,
    labels: Sequence[str],
    level: float | None = None,
    other: torch.Tensor | None = None,
    of_input: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
    """Score the input, the explanation and the rest of a batch by a second listener.

    Each clip gets the scores that it has alone: padding is cut off.

    Arguments
    ---------
    listener : SecondListener
    masked_audio : MaskedAudio
        `Evidence.masked_audio` of B clips.
    target : torch.Tensor
        The explained classes, shape (B,), int64.
    labels : sequence of str
        C class names in the order of the explained classifier.
    level : float, optional
        Peak of the waveforms, above 0 and at most 1. Default: the listener's.
    other : torch.Tensor, optional
        For mixtures: the class of the other source, shape (B,), int64, see
        `other_class`. Adds `TARGET_SCORES`.
    of_input : torch.Tensor, optional
        `SecondListener.class_scores` of the input at this level, shape (B, C), if they
        are known.

    Returns
    -------
    scores : dict
        Name of each of `scores_of(domain)` to its values, (B,), 0 to 100, float64; NaN
        for a silent waveform, and for the scores against an unknown other class.

    Raises
    ------
    InputError
        When the listener has no tag for a class.
    """
    domain = masked_audio.domain
    if not domain.listenable:
        return {}
    lens = masked_audio.encoded.lens

    def score(wav: torch.Tensor) -> torch.Tensor:
        return listener.class_scores(wav, domain.sample_rate, labels, level, lens)

    of_parts = [
        score(masked_audio.wav) if of_input is None else of_input,
        score(masked_audio.explanation),
        score(masked_audio.rest),
    ]
    scores = {
        column.name: best_class(classes, target)
        for column, classes in zip(LISTENER_SCORES, of_parts, strict=True)
    }
    if other is not None:
        for column, classes in zip(TARGET_SCORES, of_parts, strict=True):
            scores[column.name] = target_over_other(classes, target, other)
    return scores


class ListenerCheck:
    """The scores of a second listener as columns of a table.

    A check of `evaluation.evaluate`. The listener scores the input of each clip once
    for all methods.

    Arguments
    ---------
    listener : SecondListener, optional
        Without: no columns, and a warning.
    """

    def __init__(self, listener: SecondListener | None = None) -> None:
        self.listener = listener
        self._of_inputs: dict[tuple, torch.Tensor] = {}
        self._warned = False

    def check_labels(self, labels: Sequence[str] | None) -> None:
        """Raise InputError unless the listener has a tag for each class name.

        Arguments
        ---------
        labels : sequence of str or None
            C class names.

        Raises
        ------
        InputError
            For classes without a tag, with their names, and without class names.
        """
        if self.listener is None:
            return
        if labels is None:
            raise InputError(
                "the second listener needs class names, got None: set `labels` of the "
                "classifier"
            )
        self.listener.tag_indices(labels)

    def scores(self, domain: MaskDomain, truth: GroundTruth) -> tuple[Score, ...]:
        """Return the columns, see `scores_of`.

        With `classes`: also the explained class against that of the other source.
        Arguments and returns are those of `Check.scores`.
        """
        if self.listener is None:
            if not self._warned:
                logger.warning(
                    "no second listener, so no columns of it: set yamnet_folder "
                    "(docs/metrics.md, second listener)"
                )
            self._warned = True
            return ()
        return scores_of(domain, truth.classes is not None)

    @torch.no_grad()
    def __call__(self, batch: ExplainedBatch) -> dict[str, torch.Tensor]:
        """Return the scores of a batch of explanations.

        Arguments
        ---------
        batch : ExplainedBatch
            Of B clips, with labels.

        Returns
        -------
        scores : dict
            Name of each of `scores` to its values, (B,), see `second_listener_scores`.

        Raises
        ------
        InputError
            As `check_labels`.
        """
        if self.listener is None or not batch.domain.listenable:
            return {}
        self.check_labels(batch.labels)
        assert batch.labels is not None  # checked
        audio, target = batch.masked_audio, batch.evidence.target
        other = None
        if batch.classes is not None:
            other = other_class(target, *batch.classes)
        return second_listener_scores(
            self.listener,
            audio,
            target,
            batch.labels,
            other=other,
            of_input=self._score_inputs(self.listener, audio, batch.labels),
        )

    def _score_inputs(
        self, listener: SecondListener, audio: MaskedAudio, labels: Sequence[str]
    ) -> torch.Tensor:
        """Return the listener's class scores (B, C) of the inputs, cached by clip."""
        wav, lens, rate = audio.wav, audio.encoded.lens, audio.domain.sample_rate
        lengths = [wav.shape[1]] * len(wav)
        if lens is not None:
            lengths = recorded_samples(lens, wav.shape[1]).clamp(min=1).tolist()
        keys = [
            (
                rate,
                tuple(labels),
                content_hash(clip[:length].cpu().contiguous().numpy().tobytes()),
            )
            for clip, length in zip(wav, lengths, strict=True)
        ]
        if not all(key in self._of_inputs for key in keys):
            scores = listener.class_scores(wav, rate, labels, lens=lens)
            self._of_inputs.update(zip(keys, scores.cpu(), strict=True))
        return torch.stack([self._of_inputs[key] for key in keys]).to(wav.device)
