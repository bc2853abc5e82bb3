"""Which class is asked for in a training: the predicted one, or one that is drawn.

A choice is an object with ``ask(keys, part) -> Asked``. What is drawn is a function of
the key of a clip, (seed, epoch, clip), so that a resumed training asks the same.
"""

from dataclasses import dataclass

import torch

from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.seeding import generator


@dataclass(frozen=True)
class Asked:
    """The questions about a batch of clips."""

    target: torch.Tensor | None  # (B,) class indices; None: what is predicted
    support: torch.Tensor  # (B,), see `types.Evidence`


class PredictedClass:
    """The class that the classifier predicts for what it hears (L-MAC as published)."""

    def ask(self, keys: list, part: str) -> Asked:
        """No target: the explainer takes the predicted class, which is heard."""
        return Asked(target=None, support=torch.ones(len(keys)))


class RandomTargets:
    """Any class: mostly one that the classifier hears in a source, sometimes any.

    The classifier hears each source of the sound alone, the clip and what was mixed
    with it. A class is drawn from its probabilities for one of the sources, both with
    equal chance; or, with probability `any_class`, all classes alike, most of which are
    not there. Its support is the largest probability that any source gives it: what the
    right answer, an empty mask for an absent class, can be told by. No label is looked
    at.

    Arguments
    ---------
    clips : dataio.ClipsById
        The sources alone.
    sources : noise.OtherClips, noise.Sometimes or another noise
        What mixes them: ``sources(key, part)`` names the clips that are heard.
    domain : MaskDomain
    classifier : Classifier
        Frozen.
    any_class : float
        Probability, 0 to 1.
    """

    def __init__(self, clips, sources, domain, classifier, any_class: float = 0.25):
        if sources is None:
            raise InputError(
                "random targets are drawn from what a noise mixes: the key noise must "
                "not be null"
            )
        if not 0 <= any_class <= 1:
            raise InputError(f"any_class must be from 0 to 1, got {any_class}")
        self.clips = clips
        self.sources = sources
        self.domain = domain
        self.classifier = classifier
        self.any_class = any_class
        self._heard = {}

    def ask(self, keys: list, part: str) -> Asked:
        """Targets and support, on the classifier's device.

        Arguments
        ---------
        keys : list
            B tuples (seed, epoch, clip).
        part : str
            "train", "valid" or "test".
        """
        target, support = zip(*(self.draw(key, part) for key in keys), strict=True)
        return Asked(torch.stack(target), torch.stack(support))

    def draw(
        self, key: tuple[int, int, str], part: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The class asked for and its support, two scalars."""
        names = self.sources.sources(key, part)
        heard = torch.stack([self.probabilities(name, part) for name in names])
        draw = generator("target", part, *key)
        if torch.rand((), generator=draw) < self.any_class:
            chances = torch.ones(heard.shape[1])
        else:
            chances = heard[torch.randint(len(names), (), generator=draw)].cpu()
        target = torch.multinomial(chances, 1, generator=draw)[0].to(heard.device)
        return target, heard[:, target].amax()

    def probabilities(self, name: str, part: str) -> torch.Tensor:
        """What the classifier gives each class, (C,), for a clip alone."""
        if (part, name) not in self._heard:
            device = next(self.classifier.parameters()).device
            wav = self.clips.wav(name, part)[None].to(device)
            share = self.clips.lens(name, part)
            lens = None if share == 1 else torch.tensor([share], device=device)
            with torch.no_grad(), torch.autocast(device.type, enabled=False):
                encoded = self.domain.encode(wav, lens)
                logits = classify(self.domain, self.classifier, encoded).logits
            self._heard[part, name] = logits.float().softmax(1)[0]
        return self._heard[part, name]
