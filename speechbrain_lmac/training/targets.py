"""Classes to explain in a training: the predicted ones, or random ones.

A target sampler has ``sample(keys, part) -> Targets``. Random targets are a function of
the clip's key, (seed, epoch, clip): a resumed training draws the same ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.types import MaskDomain
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.seeding import generator

Key = tuple[int, int | str | None, str]  # (seed, epoch, clip)


@dataclass(frozen=True)
class Targets:
    """The class to explain in each clip of a batch."""

    target: torch.Tensor | None  # (B,) class indices; None: the predicted ones
    support: torch.Tensor  # (B,), see `types.Evidence`


class PredictedClass:
    """The class that the classifier predicts (L-MAC as published)."""

    def sample(self, keys: Sequence[Key], part: str) -> Targets:
        """Return target None, for the predicted classes, and support 1, (B,)."""
        return Targets(target=None, support=torch.ones(len(keys)))


class RandomTargets:
    """Random classes: mostly ones that the classifier predicts for a source.

    The classifier is applied to each source alone, the clip and the one mixed with it.
    A class is drawn from its probabilities for one of the sources, each equally likely;
    or, with probability `any_class`, uniformly from all classes, most of which are
    absent. Its support is its largest probability for any source: near 0 for an absent
    class, whose mask should be empty. Labels are not used.

    Arguments
    ---------
    clips : data.dataset.ClipsById
        Clips of the dataset, unmixed.
    sources : data.online_noise.OtherClips, Sometimes or another noise
        The noise that mixes them: ``sources.sources(key, part)`` lists the clips
        in a mixture.
    domain : MaskDomain
    classifier : Classifier
        Frozen.
    any_class : float
        Probability, 0 to 1.
    """

    def __init__(
        self,
        clips: Any,
        sources: Any,
        domain: MaskDomain,
        classifier: Any,
        any_class: float = 0.25,
    ) -> None:
        if sources is None:
            raise InputError("random targets need mixtures: noise must not be null")
        if not 0 <= any_class <= 1:
            raise InputError(f"any_class must be from 0 to 1, got {any_class}")
        self.clips = clips
        self.sources = sources
        self.domain = domain
        self.classifier = classifier
        self.any_class = any_class
        self._probabilities: dict[tuple[str, str], torch.Tensor] = {}

    def sample(self, keys: Sequence[Key], part: str) -> Targets:
        """Return targets and support, (B,) each, on the classifier's device.

        Arguments
        ---------
        keys : sequence of tuple
            B tuples (seed, epoch, clip).
        part : str
            "train", "valid" or "test".

        Returns
        -------
        targets : Targets
        """
        target, support = zip(*(self.draw(key, part) for key in keys), strict=True)
        return Targets(torch.stack(target), torch.stack(support))

    def draw(self, key: Key, part: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the class of a clip and its support, both of shape ()."""
        names = self.sources.sources(key, part)
        probabilities = torch.stack([self.probabilities(name, part) for name in names])
        rng = generator("target", part, *key)
        if torch.rand((), generator=rng) < self.any_class:
            weights = torch.ones(probabilities.shape[1])
        else:
            source = torch.randint(len(names), (), generator=rng)
            weights = probabilities[source].cpu()
        target = torch.multinomial(weights, 1, generator=rng)[0]
        target = target.to(probabilities.device)
        return target, probabilities[:, target].amax()

    def probabilities(self, name: str, part: str) -> torch.Tensor:
        """Return the class probabilities, (C,), of an unmixed clip."""
        if (part, name) not in self._probabilities:
            device = next(self.classifier.parameters()).device
            wav = self.clips.wav(name, part)[None].to(device)
            share = self.clips.lens(name, part)
            lens = None if share == 1 else torch.tensor([share], device=device)
            with torch.no_grad(), torch.autocast(device.type, enabled=False):
                encoded = self.domain.encode(wav, lens)
                logits = classify(self.domain, self.classifier, encoded).logits
            self._probabilities[part, name] = logits.float().softmax(1)[0]
        return self._probabilities[part, name]
