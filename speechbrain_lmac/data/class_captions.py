"""What is said of a clip: sentences made of its class, its attributes, its neighbours.

A training of a CLAP needs captions; a dataset of classes has none. So they are made of
facts: which class is heard, and how (`ToyAttributes`). Every draw is a function of the
key of a clip.

Some combinations never occur in a training: of a class and a template, of a class and
an attribute, and of two classes in one mixture. "Unseen" means such a new combination
of words that are known one by one. Which ones is a hash of their names
(`is_held_out`), the same for every seed.
"""

import csv
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.seeding import generator
from speechbrain_lmac.utils.tokenizer import TEMPLATE, words_of

# The first is what evaluations ask with.
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
# Other words for a class, next to its own name. ESC-10's; ours.
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
ATTRIBUTE_SHARE = 0.5  # how often a caption tells an attribute that could be told


@dataclass(frozen=True)
class Caption:
    """A sentence, and the facts that it states."""

    text: str
    facts: frozenset  # of classes, and of (class, attribute)


def is_held_out(combination: tuple[str, str], share: float) -> bool:
    """Whether a combination never occurs in a training.

    Arguments
    ---------
    combination : sequence of str
        Names, whose order does not count.
    share : float
        Of all combinations, 0 to 1.

    Example
    -------
    >>> is_held_out(["dog", "rain"], 0.0), is_held_out(["dog", "rain"], 1.0)
    (False, True)
    """
    draw = generator("held out", *sorted(combination))
    return bool(torch.rand((), generator=draw) < share)


def choose(options: list[str] | tuple[str, ...], draw: torch.Generator) -> str:
    """One of several, each as likely."""
    return options[torch.randint(len(options), (), generator=draw).item()]


def plain_name(category: str) -> str:
    """A class name as words.

    Example
    -------
    >>> plain_name("clock_tick")
    'clock tick'
    """
    return " ".join(str(category).replace("_", " ").split())


class NoAttributes:
    """Clips of which nothing but the class is known."""

    values = ()

    def __call__(self, clip: str) -> tuple:
        """Attributes of a clip: none."""
        return ()


class ToyAttributes:
    """Pitch, rate and loudness of a generated sound, where they are clear.

    Of the clips of a class, the third with the lowest and the third with the highest
    value have the attribute; of the others nothing is said.

    - "low" or "high": the median frequency of the foreground,
    - "slow" or "fast": sounds per second, for classes of several sounds,
    - "quiet" or "loud": foreground over background (clips are brought to one level).

    Where a sound lies in its clip is none of them: the audio towers take maximum and
    mean over time, which do not know it (docs/methods.md, small CLAP).

    Arguments
    ---------
    data_folder : str
        As `toy_prepare.make_toy` fills it; read when the first clip is asked for.
    """

    values = (("low", "high"), ("slow", "fast"), ("quiet", "loud"))

    def __init__(self, data_folder: Path | str):
        self.data_folder = data_folder
        self._of_clip = None

    def __call__(self, clip: str) -> tuple[str, ...]:
        """Attributes of a clip: a tuple of values."""
        if self._of_clip is None:
            self._of_clip = self._read()
        try:
            return self._of_clip[clip]
        except KeyError:
            raise InputError(
                f"the table of {self.data_folder} has no clip {clip}: the manifests "
                "are of another folder"
            ) from None

    def _read(self) -> dict:
        path = Path(self.data_folder) / "meta" / "esc50.csv"
        try:
            with open(path, newline="", encoding="utf-8") as file:
                clips = list(csv.DictReader(file))
            measured = [_measured(clip) for clip in clips]
        except (OSError, KeyError, ValueError) as error:
            raise InputError(
                f"{path} does not tell pitch, events and level of each clip ({error}): "
                "make the sounds anew, python data_prep/toy_prepare.py FOLDER"
            ) from error
        told = {Path(clip["filename"]).stem: [] for clip in clips}
        for category in {clip["category"] for clip in clips}:
            places = [i for i, c in enumerate(clips) if c["category"] == category]
            for number, (least, most) in enumerate(self.values):
                of_class = [measured[place][number] for place in places]
                low, high = np.quantile(of_class, [1 / 3, 2 / 3])
                for place, value in zip(places, of_class, strict=True):
                    word = least if value < low else most if value > high else None
                    if word is not None:
                        told[Path(clips[place]["filename"]).stem].append(word)
        return {clip: tuple(words) for clip, words in told.items()}


def _measured(row: dict[str, str]) -> tuple[float, float, float]:
    """Pitch in Hz, sounds per second (0 where there is one) and level in dB."""
    events = int(row["n_events"])
    seconds = float(row["end_s"]) - float(row["start_s"])
    rate = events / seconds if events > 1 else 0.0
    return float(row["pitch_hz"]), rate, float(row["snr_db"])


class ClassCaptions:
    """Captions from class names, and from attributes where there are any.

    "this is the sound of a dog barking", "a recording of low slow tone", "rain and a
    rooster can be heard": a template, words for the class, attributes before them.

    Arguments
    ---------
    categories : list
        Class names.
    attributes : callable
        Clip to a tuple of its attributes; with `values`, the tuples of those that
        exclude each other.
    held_out : float
        Share of the combinations that no training hears of.
    templates : sequence
        Sentences with "{}" in them. The first is the evaluations'.

    Example
    -------
    >>> captions = ClassCaptions(["dog", "rain"], NoAttributes(), held_out=0.0)
    >>> captions.caption(["dog"], (), generator(4)).text
    'i hear dog'
    """

    def __init__(
        self,
        categories: list,
        attributes,
        held_out: float = 0.2,
        templates: tuple[str, ...] = TEMPLATES,
    ):
        if not 0 <= held_out < 1:
            raise InputError(f"held_out must be from 0 to below 1, got {held_out}")
        self.categories = sorted(categories)
        self.attributes = attributes
        self.held_out = held_out
        self.templates = list(templates)
        said = [[c] for c in self.categories]
        said += [pair for pair in self.pairs() if not self.is_unseen(*pair)]
        mute = [" and ".join(names) for names in said if not self.templates_of(names)]
        if mute:
            raise InputError(
                f"held_out {held_out} leaves no template for {some_of(mute)}: lower it"
            )

    def is_unseen(self, *combination) -> bool:
        """Whether no training caption has these together."""
        return is_held_out(combination, self.held_out)

    def templates_of(self, categories: list[str] | tuple[str, str]) -> list[str]:
        """Those that trainings say of these classes."""
        return [
            template
            for template in self.templates
            if not any(self.is_unseen(category, template) for category in categories)
        ]

    def partners(self, category: str) -> list[str]:
        """The classes that trainings mix with a class."""
        others = [other for other in self.categories if other != category]
        return [other for other in others if not self.is_unseen(category, other)]

    def pairs(self) -> list:
        """All pairs of classes, in the order of their names."""
        return list(combinations(self.categories, 2))

    def names(self, category: str) -> tuple[str, ...]:
        """Words for a class, its own name first."""
        return (plain_name(category), *SYNONYMS.get(category, ()))

    def facts(
        self, category: str, attributes: list[str] | tuple[str, ...]
    ) -> frozenset[str]:
        """All that could be said of a clip: of a class alone, or with an attribute."""
        return frozenset({category, *((category, value) for value in attributes)})

    def caption(
        self, categories: list[str], attributes: tuple[str, ...], draw: torch.Generator
    ) -> Caption:
        """A caption of a training.

        Arguments
        ---------
        categories : list
            One class, or two of a mixture that is not held out.
        attributes : sequence
            Of a class that is alone.
        draw : torch.Generator

        Returns
        -------
        caption : Caption
        """
        order = torch.randperm(len(categories), generator=draw).tolist()
        categories = [categories[place] for place in order]
        names = [choose(self.names(category), draw) for category in categories]
        told = []
        for value in attributes:
            tell = torch.rand((), generator=draw) < ATTRIBUTE_SHARE
            if tell and not self.is_unseen(categories[0], value):
                told.append(value)
        template = choose(self.templates_of(categories), draw)
        text = template.replace("{}", self.phrase(names, told))
        facts = [self.facts(category, told) for category in categories]
        return Caption(text, frozenset.union(*facts))

    def phrase(self, names: list[str], attributes: list[str] | tuple = ()) -> str:
        """What stands in a template.

        Example
        -------
        >>> ClassCaptions([], NoAttributes()).phrase(["rain", "a dog"])
        'rain and a dog'
        """
        return " ".join([*attributes, " and ".join(names)])

    def standard(self, names: list[str], attributes: list[str] | tuple = ()) -> str:
        """The evaluations' prompt: the first template."""
        return self.templates[0].replace("{}", self.phrase(names, attributes))

    def chance(self) -> dict[str, float]:
        """What guessing would reach, by the name of the score."""
        return {
            "chance_class": 1 / len(self.categories),
            "chance_pair": 1 / len(self.pairs()),
            "chance_attribute": 0.5,
        }

    def words(self) -> list[str]:
        """Every word that a caption may have, in alphabetical order."""
        names = [name for category in self.categories for name in self.names(category)]
        values = [value for values in self.attributes.values for value in values]
        texts = ["and", *self.templates, *names, *values]
        return sorted({word for text in texts for word in words_of(text)})
