"""Prompts of a batch of clips, and their embeddings.

A prompt sampler has ``of(batch) -> sentences``, one for each clip. Equal sentences are
embedded once, and counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from speechbrain_lmac.data.dataset import ClipBatch


class ClassPrompts:
    """The prompt of each clip's class.

    Arguments
    ---------
    classifier : ClapClassifier
        Its prompts are the classes, in the order of the labels.
    """

    def __init__(self, classifier: Any) -> None:
        self.prompts = classifier.prompts

    def of(self, batch: ClipBatch) -> list[str]:
        """Return the prompt of each clip of a batch with labels, B sentences."""
        assert batch.label is not None
        return [self.prompts[label] for label in batch.label.tolist()]


@dataclass(frozen=True)
class UniquePrompts:
    """The unique prompts of a batch of B clips."""

    text: torch.Tensor  # (P, D), unit vectors
    counts: torch.Tensor  # (P,), how many clips have each; their sum is B
    own: torch.Tensor  # (B,) int64, the index of each clip's prompt


class PromptMemory:
    """A cache of text embeddings.

    Each sentence is embedded alone: in a batch its rounding would depend on the others,
    and a resumed training would differ from an uninterrupted one.

    Arguments
    ---------
    classifier : ClapClassifier
        Embeds the sentences.
    """

    def __init__(self, classifier: Any) -> None:
        self.classifier = classifier
        self._embedded: dict[str, torch.Tensor] = {}

    def embed(self, sentences: Sequence[str]) -> UniquePrompts:
        """Return the unique prompts of B clips, in the order of first appearance.

        Arguments
        ---------
        sentences : sequence of str
            One for each clip.

        Returns
        -------
        prompts : UniquePrompts
            On the classifier's device.
        """
        different = list(dict.fromkeys(sentences))
        for prompt in different:
            if prompt not in self._embedded:
                self._embedded[prompt] = self.classifier.embed([prompt])[0]
        device = self.classifier.text.device
        own = torch.tensor([different.index(prompt) for prompt in sentences])
        return UniquePrompts(
            text=torch.stack([self._embedded[prompt] for prompt in different]),
            counts=own.bincount().to(device),
            own=own.to(device),
        )
