"""Captions made from the classes and attributes of clips.

Training a CLAP needs captions, which a dataset of classes does not have. They are built
from facts: the class of a clip, and its attributes (`ToyAttributes`). Every draw
depends only on the key of a clip.

Some combinations are held out of every training: of a class and a template, of a class
and an attribute, and of two classes in a mixture. "Unseen" means such a combination of
words that are known individually. A hash of the names selects them (`is_held_out`), the
same for every seed.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.seeding import generator
from speechbrain_lmac.utils.tokenizer import TEMPLATE, words_of

# The first is the prompt of evaluations.
TEMPLATES = (
    TEMPLATE,
    "the sound of {}",
    "{}",
    "a recording of {}",
    "{} can be heard",
    "i hear {}",
    "there is {} in the background",
    "someone recorded {}",
)
# Synonyms of ESC-10's classes, besides their own names; ours.
SYNONYMS = {
    "chainsaw": ("a chainsaw", "a chainsaw running", "a motor saw cutting wood"),
    "clock_tick": ("a ticking clock", "a clock", "the ticking of a clock"),
    "crackling_fire": ("a crackling fire", "fire", "a fire burning"),
    "crying_baby": ("a crying baby", "a baby", "a baby crying"),
    "dog": ("a dog", "a dog barking", "a barking dog"),
    "helicopter": ("a helicopter", "a helicopter flying", "rotor blades"),
    "rain": ("rain falling", "rain on a roof", "heavy rain"),
    "rooster": ("a rooster", "a rooster crowing", "a crowing cock"),
    "sea_waves": ("waves", "the sea", "waves on a beach"),
    "sneezing": ("a sneeze", "a person sneezing", "someone sneezing"),
}
ATTRIBUTE_SHARE = 0.5  # share of the possible attributes that a caption states

Fact = str | tuple[str, str]  # a class, or (class, attribute)


@dataclass(frozen=True)
class Caption:
    """A sentence, and the facts that it states."""

    text: str
    facts: frozenset[Fact]


class Attributes(Protocol):
    """The attributes of each clip; `values` are the tuples of exclusive attributes."""

    values: Sequence[Sequence[str]]

    def __call__(self, clip: str) -> tuple[str, ...]:
        """Return the attributes of a clip."""


def is_held_out(combination: Sequence[str], share: float) -> bool:
    """Return whether a combination is held out of every training.

    Arguments
    ---------
    combination : sequence of str
        Names, in any order.
    share : float
        Share of held-out combinations, 0 to 1.

    Example
    -------
    >>> is_held_out(["dog", "rain"], 0.0), is_held_out(["dog", "rain"], 1.0)
    (False, True)
    """
    draw = generator("held out", *sorted(combination))
    return bool(torch.rand((), generator=draw) < share)


def choose(options: Sequence[str], draw: torch.Generator) -> str:
    """Draw one of several strings, with equal probability."""
    return options[int(torch.randint(len(options), (), generator=draw))]


def plain_name(category: str) -> str:
    """Return a class name as words.

    Example
    -------
    >>> plain_name("clock_tick")
    'clock tick'
    """
    return " ".join(str(category).replace("_", " ").split())


class NoAttributes:
    """No attributes: captions have classes only."""

    values: Sequence[Sequence[str]] = ()

    def __call__(self, clip: str) -> tuple[str, ...]:
        """Return no attributes."""
        return ()


class ToyAttributes:
    """Pitch, rate and loudness of a generated sound, if they are distinct.

    The third of a class's clips with the lowest values and the third with the highest
    have the attribute; the others have none.

    - "low" or "high": the median frequency of the foreground,
    - "slow" or "fast": events per second, for classes of several events,
    - "quiet" or "loud": foreground over background (clips are normalised).

    The position in time is not an attribute: the audio towers pool by maximum and mean
    over time, which do not depend on it (docs/methods.md, small CLAP).

    Arguments
    ---------
    data_folder : str
        The folder of `toy_prepare.make_toy`; read at the first call.
    """

    values: Sequence[Sequence[str]] = (
        ("low", "high"),
        ("slow", "fast"),
        ("quiet", "loud"),
    )

    def __init__(self, data_folder: Path | str) -> None:
        self.data_folder = data_folder
        self._of_clip: dict[str, tuple[str, ...]] | None = None

    def __call__(self, clip: str) -> tuple[str, ...]:
        """Return the attributes of a clip, a tuple of values."""
        if self._of_clip is None:
            self._of_clip = self._read()
        try:
            return self._of_clip[clip]
        except KeyError:
            raise InputError(
                f"clip {clip} is missing from the table of {self.data_folder}; the "
                "manifests belong to another folder"
            ) from None

    def _read(self) -> dict[str, tuple[str, ...]]:
        path = Path(self.data_folder) / "meta" / "esc50.csv"
        try:
            with open(path, newline="", encoding="utf-8") as file:
                clips = list(csv.DictReader(file))
            measured = [_measured(clip) for clip in clips]
        except (OSError, KeyError, ValueError) as error:
            raise InputError(
                f"{path} has no pitch, events and level of each clip ({error}): make "
                "the dataset again, python data_prep/toy_prepare.py FOLDER"
            ) from error
        words_of_clip: dict[str, list[str]] = {
            Path(clip["filename"]).stem: [] for clip in clips
        }
        for category in {clip["category"] for clip in clips}:
            indices = [i for i, c in enumerate(clips) if c["category"] == category]
            for number, (least, most) in enumerate(self.values):
                of_class = [measured[index][number] for index in indices]
                low, high = np.quantile(of_class, [1 / 3, 2 / 3])
                for index, value in zip(indices, of_class, strict=True):
                    word = least if value < low else most if value > high else None
                    if word is not None:
                        name = Path(clips[index]["filename"]).stem
                        words_of_clip[name].append(word)
        return {clip: tuple(words) for clip, words in words_of_clip.items()}


def _measured(row: dict[str, str]) -> tuple[float, float, float]:
    """Return pitch in Hz, events per second (0 for a single one) and level in dB."""
    events = int(row["n_events"])
    seconds = float(row["end_s"]) - float(row["start_s"])
    rate = events / seconds if events > 1 else 0.0
    return float(row["pitch_hz"]), rate, float(row["snr_db"])


class ClassCaptions:
    """Captions from class names and attributes.

    "this is the sound of a dog barking", "a recording of low slow tone", "rain and a
    rooster can be heard": a template, words for the class, attributes before them.

    Arguments
    ---------
    categories : list
        Class names.
    attributes : Attributes
        `NoAttributes` or `ToyAttributes`.
    held_out : float
        Share of the combinations that are held out of training, 0 to below 1.
    templates : sequence of str
        Sentences with "{}". The first is the prompt of evaluations.

    Example
    -------
    >>> captions = ClassCaptions(["dog", "rain"], NoAttributes(), held_out=0.0)
    >>> captions.caption(["dog"], (), generator(4)).text
    'i hear dog'
    """

    def __init__(
        self,
        categories: Sequence[str],
        attributes: Attributes,
        held_out: float = 0.2,
        templates: Sequence[str] = TEMPLATES,
    ) -> None:
        if not 0 <= held_out < 1:
            raise InputError(f"held_out must be from 0 to below 1, got {held_out}")
        self.categories = sorted(categories)
        self.attributes = attributes
        self.held_out = held_out
        self.templates = list(templates)
        groups: list[tuple[str, ...]] = [(c,) for c in self.categories]
        groups += [pair for pair in self.pairs() if not self.is_unseen(*pair)]
        empty = [
            " and ".join(group) for group in groups if not self.templates_of(group)
        ]
        if empty:
            raise InputError(
                f"held_out {held_out} leaves no template for {some_of(empty)}: lower it"
            )

    def is_unseen(self, *combination: str) -> bool:
        """Return whether a combination is held out of training captions."""
        return is_held_out(combination, self.held_out)

    def templates_of(self, categories: Sequence[str]) -> list[str]:
        """Return the training templates of one class or of a pair."""
        return [
            template
            for template in self.templates
            if not any(self.is_unseen(category, template) for category in categories)
        ]

    def partners(self, category: str) -> list[str]:
        """Return the classes that a class is mixed with in training."""
        others = [other for other in self.categories if other != category]
        return [other for other in others if not self.is_unseen(category, other)]

    def pairs(self) -> list[tuple[str, str]]:
        """Return all pairs of classes, in alphabetical order."""
        return list(combinations(self.categories, 2))

    def names(self, category: str) -> tuple[str, ...]:
        """Return names of a class, its own name first."""
        return (plain_name(category), *SYNONYMS.get(category, ()))

    def facts(self, category: str, attributes: Sequence[str]) -> frozenset[Fact]:
        """Return all true facts of a clip: its class, and (class, attribute) pairs."""
        pairs: list[Fact] = [(category, value) for value in attributes]
        return frozenset([category, *pairs])

    def caption(
        self, categories: list[str], attributes: Sequence[str], draw: torch.Generator
    ) -> Caption:
        """Draw a training caption.

        Arguments
        ---------
        categories : list of str
            One class, or the two of a mixture that is not held out.
        attributes : sequence of str
            Attributes of a single class; empty for a mixture.
        draw : torch.Generator

        Returns
        -------
        caption : Caption
        """
        order = torch.randperm(len(categories), generator=draw).tolist()
        categories = [categories[index] for index in order]
        names = [choose(self.names(category), draw) for category in categories]
        stated = []
        for value in attributes:
            chosen = torch.rand((), generator=draw) < ATTRIBUTE_SHARE
            if chosen and not self.is_unseen(categories[0], value):
                stated.append(value)
        template = choose(self.templates_of(categories), draw)
        text = template.replace("{}", self.phrase(names, stated))
        facts = [self.facts(category, stated) for category in categories]
        return Caption(text, frozenset[Fact]().union(*facts))

    def phrase(self, names: Sequence[str], attributes: Sequence[str] = ()) -> str:
        """Return the words that replace "{}" in a template.

        Example
        -------
        >>> ClassCaptions([], NoAttributes()).phrase(["rain", "a dog"])
        'rain and a dog'
        """
        return " ".join([*attributes, " and ".join(names)])

    def standard(self, names: Sequence[str], attributes: Sequence[str] = ()) -> str:
        """Return the prompt of evaluations, from the first template."""
        return self.templates[0].replace("{}", self.phrase(names, attributes))

    def chance(self) -> dict[str, float]:
        """Return the chance level of each score."""
        return {
            "chance_class": 1 / len(self.categories),
            "chance_pair": 1 / len(self.pairs()),
            "chance_attribute": 0.5,
        }

    def words(self) -> list[str]:
        """Return every possible word of a caption, in alphabetical order."""
        names = [name for category in self.categories for name in self.names(category)]
        values = [value for values in self.attributes.values for value in values]
        texts = ["and", *self.templates, *names, *values]
        return sorted({word for text in texts for word in words_of(text)})
