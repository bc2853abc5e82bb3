"""Zero-shot retrieval of classes, pairs and attributes, seen or unseen in training."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch

from speechbrain_lmac.utils.seeding import generator
from speechbrain_lmac.utils.tokenizer import words_of

if TYPE_CHECKING:
    from speechbrain_lmac.classifiers.clap.miniclap import MiniClap
    from speechbrain_lmac.data.class_captions import ClassCaptions

TIE = 1e-5  # similarities that differ by less count as equal
LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Prompts:
    """Embedded prompts, and the retrieval accuracies of clips with them.

    Arguments
    ---------
    captions : class_captions.ClassCaptions
        Names of the classes, and the held-out combinations.
    clap : MiniClap
        Embeds the prompts.
    """

    def __init__(self, captions: "ClassCaptions", clap: "MiniClap") -> None:
        self.captions = captions
        self.categories = captions.categories
        self.names = [captions.names(category)[0] for category in self.categories]
        with torch.no_grad():
            self.of_templates = [
                self.read(clap, [template.replace("{}", name) for name in self.names])
                for template in captions.templates
            ]
            nonsense = nonsense_names(len(self.names), captions.words())
            self.of_nonsense = self.read(
                clap, [captions.standard([name]) for name in nonsense]
            )
            names = dict(zip(self.categories, self.names, strict=True))
            self.of_pairs = self.read(
                clap,
                [captions.standard([names[c] for c in p]) for p in captions.pairs()],
            )
            self.of_values = {
                values: [
                    self.read(clap, [captions.standard([name], [v]) for v in values])
                    for name in self.names
                ]
                for values in captions.attributes.values
            }

    def read(self, clap: "MiniClap", texts: Iterable[str]) -> torch.Tensor:
        """Return embeddings (P, D) of P sentences; unknown words raise no warning."""
        return clap.read(clap.vocabulary(list(texts)).ids)

    def classes(
        self, sounds: torch.Tensor, categories: Sequence[str]
    ) -> dict[str, list[float]]:
        """Return the top-1 accuracies of retrieving the class of each clip.

        Arguments
        ---------
        sounds : torch.Tensor
            Embeddings of B clips, shape (B, D).
        categories : sequence
            Classes of the B clips.

        Returns
        -------
        accuracies : dict
            Name to B numbers, 0 to 1: "accuracy" with the first template;
            "template_seen" and "template_unseen", means over the templates that were,
            or were not, used for this class in training, NaN if there is none;
            "nonsense" with an invented name for each class, a control.
        """
        target = torch.tensor([self.categories.index(c) for c in categories])
        right = torch.stack(
            [top_one_accuracy(sounds, text, target) for text in self.of_templates],
            dim=1,
        )
        unseen = torch.tensor(
            [
                [self.captions.is_unseen(c, t) for t in self.captions.templates]
                for c in categories
            ]
        )
        return {
            "accuracy": right[:, 0].tolist(),
            "template_seen": masked_mean(right, ~unseen),
            "template_unseen": masked_mean(right, unseen),
            "nonsense": top_one_accuracy(sounds, self.of_nonsense, target).tolist(),
        }

    def pairs(
        self, sounds: torch.Tensor, pairs: Sequence[tuple[str, str]]
    ) -> dict[str, list[float]]:
        """Return the top-1 accuracies of retrieving the caption of each mixture's pair.

        The candidates are the captions of all pairs of classes.

        Arguments
        ---------
        sounds : torch.Tensor
            Embeddings of B mixtures, shape (B, D).
        pairs : sequence
            Pairs of classes of the B mixtures.

        Returns
        -------
        accuracies : dict
            "pair_seen" and "pair_unseen" to B numbers, 0 to 1 or NaN.
        """
        listed = self.captions.pairs()
        target = torch.tensor([listed.index(pair) for pair in pairs])
        right = top_one_accuracy(sounds, self.of_pairs, target)[:, None]
        unseen = torch.tensor([[self.captions.is_unseen(*pair)] for pair in pairs])
        return {
            "pair_seen": masked_mean(right, ~unseen),
            "pair_unseen": masked_mean(right, unseen),
        }

    def attributes(
        self,
        sounds: torch.Tensor,
        categories: Sequence[str],
        attributes: Sequence[Iterable[str]],
    ) -> dict[str, list[float]]:
        """Return the top-1 accuracies of distinguishing attributes from opposites.

        Arguments
        ---------
        sounds : torch.Tensor
            Embeddings of B clips, shape (B, D).
        categories : sequence
            Classes of the B clips.
        attributes : sequence
            Sets of unambiguous attributes of the B clips.

        Returns
        -------
        accuracies : dict
            "attribute_seen" and "attribute_unseen" to B numbers, 0 to 1 or NaN.
        """
        seen: list[float] = []
        unseen: list[float] = []
        for sound, category, present in zip(
            sounds, categories, attributes, strict=True
        ):
            index = self.categories.index(category)
            scores: dict[bool, list[float]] = {False: [], True: []}
            for values, texts in self.of_values.items():
                for value in set(values) & set(present):
                    target = torch.tensor([values.index(value)])
                    right = top_one_accuracy(sound[None], texts[index], target)
                    new = any(self.captions.is_unseen(category, v) for v in values)
                    scores[new].append(right.item())
            seen.append(mean_or_nan(scores[False]))
            unseen.append(mean_or_nan(scores[True]))
        return {"attribute_seen": seen, "attribute_unseen": unseen}


def top_one_accuracy(
    sounds: torch.Tensor, texts: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """Return the top-1 retrieval accuracy of each clip, with ties shared.

    Arguments
    ---------
    sounds : torch.Tensor
        Embeddings of B clips, shape (B, D).
    texts : torch.Tensor
        Embeddings of P texts, shape (P, D).
    target : torch.Tensor
        Index of the right text, shape (B,), 0 to P - 1.

    Returns
    -------
    right : torch.Tensor
        Shape (B,): 1, or 1 / n if n texts are equally similar (`TIE`); otherwise 0.

    Example
    -------
    >>> texts = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> top_one_accuracy(torch.eye(2), texts, torch.tensor([0, 1]))
    tensor([1.0000, 0.5000])
    """
    similarity = (sounds @ texts.T).cpu()
    best = similarity >= similarity.amax(1, keepdim=True) - TIE
    right = best.gather(1, target[:, None]).squeeze(1)
    return right.float() / best.sum(1)


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> list[float]:
    """Return the mean of each row (B, K) over a mask (B, K); NaN for an empty mask."""
    rows = zip(values.tolist(), mask.tolist(), strict=True)
    return [
        mean_or_nan([v for v, included in zip(*row, strict=True) if included])
        for row in rows
    ]


def mean_or_nan(values: list[float]) -> float:
    """Return the mean of a list, NaN for an empty one."""
    return sum(values) / len(values) if values else float("nan")


def nonsense_names(number: int, words: Iterable[str]) -> list[str]:
    """Return invented names of eight letters that are not in `words`; deterministic.

    Example
    -------
    >>> nonsense_names(2, ["dog"])
    ['jsqwqvmd', 'dgcxwlxk']
    """
    draw = generator("nonsense")
    names: list[str] = []
    while len(names) < number:
        letters = torch.randint(len(LETTERS), (8,), generator=draw).tolist()
        name = "".join(LETTERS[letter] for letter in letters)
        if name not in {*words, *names} and words_of(name) == [name]:
            names.append(name)
    return names
