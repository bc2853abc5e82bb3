"""What is found with prompts: classes, pairs, attributes; seen in training or not."""

import torch

from speechbrain_lmac.utils.seeding import generator
from speechbrain_lmac.utils.tokenizer import words_of

TIE = 1e-5  # similarities that differ by rounding only
LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Prompts:
    """The prompts of an evaluation, embedded, and what is found with them.

    Arguments
    ---------
    captions : captions.ClassCaptions
        What the classes are called, and what was held out.
    clap : MiniClap
        Reads the prompts.
    """

    def __init__(self, captions, clap):
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

    def read(self, clap, texts: list[str]) -> torch.Tensor:
        """Sentences to (P, D), unknown words as such and without a warning."""
        return clap.read(clap.vocabulary(list(texts)).ids)

    def classes(self, sounds: torch.Tensor, categories: list[str]) -> dict:
        """Class prompts: standard, by template, and made up."""
        target = torch.tensor([self.categories.index(c) for c in categories])
        right = torch.stack(
            [found(sounds, text, target) for text in self.of_templates], dim=1
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
            "nonsense": found(sounds, self.of_nonsense, target).tolist(),
        }

    def pairs(self, sounds: torch.Tensor, pairs: list) -> dict:
        """Mixtures against the captions of all pairs."""
        listed = self.captions.pairs()
        target = torch.tensor([listed.index(pair) for pair in pairs])
        right = found(sounds, self.of_pairs, target)[:, None]
        unseen = torch.tensor([[self.captions.is_unseen(*pair)] for pair in pairs])
        return {
            "pair_seen": masked_mean(right, ~unseen),
            "pair_unseen": masked_mean(right, unseen),
        }

    def attributes(
        self, sounds: torch.Tensor, categories: list[str], attributes: list
    ) -> dict:
        """Each clear attribute against its opposite."""
        seen, unseen = [], []
        for sound, category, told in zip(sounds, categories, attributes, strict=True):
            place, scores = self.categories.index(category), {False: [], True: []}
            for values, texts in self.of_values.items():
                for value in set(values) & set(told):
                    target = torch.tensor([values.index(value)])
                    right = found(sound[None], texts[place], target)
                    new = any(self.captions.is_unseen(category, v) for v in values)
                    scores[new].append(right.item())
            seen.append(mean_or_nan(scores[False]))
            unseen.append(mean_or_nan(scores[True]))
        return {"attribute_seen": seen, "attribute_unseen": unseen}


def found(
    sounds: torch.Tensor, texts: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """1 where the text of a sound is the most similar one, else 0: (B,).

    Among equal similarities each is as good: 1 divided by their number.

    Example
    -------
    >>> texts = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> found(torch.eye(2), texts, torch.tensor([0, 1]))
    tensor([1.0000, 0.5000])
    """
    similarity = (sounds @ texts.T).cpu()
    best = similarity >= similarity.amax(1, keepdim=True) - TIE
    right = best.gather(1, target[:, None]).squeeze(1)
    return right.float() / best.sum(1)


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> list[float]:
    """The mean of each row (B, K) where the mask is; NaN where it is nowhere."""
    rows = zip(values.tolist(), mask.tolist(), strict=True)
    return [
        mean_or_nan([v for v, there in zip(*row, strict=True) if there]) for row in rows
    ]


def mean_or_nan(values: list[float]) -> float:
    """The mean of a list, NaN of an empty one."""
    return sum(values) / len(values) if values else float("nan")


def nonsense_names(number: int, words: list[str]) -> list[str]:
    """Names of eight letters that are none of the words; the same in every process.

    Example
    -------
    >>> nonsense_names(2, ["dog"])
    ['jsqwqvmd', 'dgcxwlxk']
    """
    draw, names = generator("nonsense"), []
    while len(names) < number:
        letters = torch.randint(len(LETTERS), (8,), generator=draw).tolist()
        name = "".join(LETTERS[letter] for letter in letters)
        if name not in {*words, *names} and words_of(name) == [name]:
            names.append(name)
    return names
