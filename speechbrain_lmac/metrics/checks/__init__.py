"""Checks: scores of an explanation that need more than its `Evidence`.

A check uses other sounds, another classifier, or the ground truth about the clips. A
mask can satisfy the papers' metrics by encoding its class in its shape; checks detect
that (Jethani et al. 2021, arXiv 2103.01890).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from speechbrain_lmac.data.conditions import GroundTruth
from speechbrain_lmac.domains.masked_audio import MaskedAudio
from speechbrain_lmac.metrics import Score
from speechbrain_lmac.types import Classifier, Evidence, Explanation, MaskDomain


@dataclass(frozen=True)
class ExplainedBatch:
    """The explanations of B clips, and the known facts about these clips.

    Arguments
    ---------
    domain : MaskDomain
    classifier : Classifier
        The explained one.
    explanation : Explanation
        Encoded from waveforms.
    evidence : Evidence
        Of the explanation (`evidence.gather_evidence`).
    labels : sequence of str, optional
        C class names in the order of the logits.
    label : torch.Tensor, optional
        The clips' true classes, (B,), int64.
    stems : (torch.Tensor, torch.Tensor), optional
        Foreground and background, waveforms (B, N), see `GroundTruth`.
    classes : (torch.Tensor, torch.Tensor), optional
        Their class indices, (B,) each, see `GroundTruth`.
    events : (torch.Tensor, torch.Tensor), optional
        Start and end of the event of each clip's true class, seconds, (B,) each.
    method : str, optional
        Name of the explainer, the row of the table.
    """

    domain: MaskDomain
    classifier: Classifier
    explanation: Explanation
    evidence: Evidence
    labels: Sequence[str] | None = None
    label: torch.Tensor | None = None
    stems: tuple[torch.Tensor, torch.Tensor] | None = None
    classes: tuple[torch.Tensor, torch.Tensor] | None = None
    events: tuple[torch.Tensor, torch.Tensor] | None = None
    method: str | None = None

    @property
    def masked_audio(self) -> MaskedAudio:
        """Both parts of the clips, as they were classified for the evidence."""
        parts = self.evidence.masked_audio
        if parts is None:
            raise ValueError("evidence has no masked_audio")
        return parts


class Check(Protocol):
    """Scores of explanations that need more than `Evidence`."""

    def scores(self, domain: MaskDomain, truth: GroundTruth) -> tuple[Score, ...]:
        """Return the columns for explanations in a domain.

        Arguments
        ---------
        domain : MaskDomain
        truth : GroundTruth
            Of the condition: a check that needs stems has no column without.

        Returns
        -------
        scores : tuple
            `Score` objects.
        """

    def __call__(self, batch: ExplainedBatch) -> dict[str, torch.Tensor]:
        """Return the scores of a batch of explanations.

        Arguments
        ---------
        batch : ExplainedBatch
            Explanations of B clips.

        Returns
        -------
        scores : dict
            Name of each of `scores` to its values, (B,).
        """


@runtime_checkable
class LabelledCheck(Check, Protocol):
    """A check that maps class names to something else, e.g. a listener's tags."""

    def check_labels(self, labels: Sequence[str] | None) -> None:
        """Raise InputError unless every class name is known.

        Arguments
        ---------
        labels : sequence of str or None
            C class names. None: the table has class indices only.
        """


def check_labels(checks: Sequence[Check], labels: Sequence[str] | None) -> None:
    """Raise InputError if a check does not know a class name.

    Arguments
    ---------
    checks : sequence of Check
        Those that are no `LabelledCheck` are not called.
    labels : sequence of str or None
        C class names.
    """
    for check in checks:
        if isinstance(check, LabelledCheck):
            check.check_labels(labels)
