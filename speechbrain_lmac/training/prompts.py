"""Which sentences a batch of clips is asked about, and their embeddings.

A choice is an object with ``of(batch) -> sentences``, one for each clip. Equal
sentences are asked once, and counted.
"""

from dataclasses import dataclass

import torch


class ClassPrompts:
    """Each clip is asked about its class.

    Arguments
    ---------
    classifier : ClapClassifier
        Whose prompts are the classes, in the order of the labels.
    """

    def __init__(self, classifier):
        self.prompts = classifier.prompts

    def of(self, batch) -> list[str]:
        """The prompt of each clip of a `ClipBatch` with labels, B sentences."""
        return [self.prompts[label] for label in batch.label.tolist()]


@dataclass(frozen=True)
class AskedPrompts:
    """The different prompts of a batch."""

    text: torch.Tensor  # (P, D), each of length 1
    counts: torch.Tensor  # (P,), how many clips have each; their sum is B
    own: torch.Tensor  # (B,) int64, which one each clip has


class PromptMemory:
    """Embeds every sentence once, however often it is asked.

    Each by itself: in a batch rounding would depend on what else is in it, and a
    resumed training would not be the undisturbed one.

    Arguments
    ---------
    classifier : ClapClassifier
        What embeds them.
    """

    def __init__(self, classifier):
        self.classifier = classifier
        self._embedded = {}

    def ask(self, sentences: list[str]) -> AskedPrompts:
        """B sentences to an `AskedPrompts`, in the order of their first appearance.

        Arguments
        ---------
        sentences : list
            One of each clip.

        Returns
        -------
        asked : AskedPrompts
            On the classifier's device.
        """
        different = list(dict.fromkeys(sentences))
        for prompt in different:
            if prompt not in self._embedded:
                self._embedded[prompt] = self.classifier.embed([prompt])[0]
        device = self.classifier.text.device
        own = torch.tensor([different.index(prompt) for prompt in sentences])
        return AskedPrompts(
            text=torch.stack([self._embedded[prompt] for prompt in different]),
            counts=own.bincount().to(device),
            own=own.to(device),
        )
