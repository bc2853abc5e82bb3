"""Sentences to words, and words to numbers: the tokenizer of the small CLAP."""

import re
from dataclasses import dataclass

import torch

from speechbrain_lmac.utils.errors import InputError, some_of

# The papers' (LMAC-ZS, Microsoft CLAP).
TEMPLATE = "this is the sound of {}"
PADDING, UNKNOWN = 0, 1  # numbers that no word has
N_RESERVED = 2


def words_of(sentence: str) -> list[str]:
    """The words of a sentence: lower case, without punctuation.

    A word is a run of letters and digits; an apostrophe within it is left out.

    Example
    -------
    >>> words_of("A dog's bark, then (two) sea_waves!")
    ['a', 'dogs', 'bark', 'then', 'two', 'sea', 'waves']
    """
    return re.findall(r"[^\W_]+", re.sub(r"['’]", "", str(sentence).lower()))


@dataclass(frozen=True)
class Tokens:
    """Sentences as numbers."""

    ids: torch.Tensor  # (P, W) int64: `PADDING` behind a shorter sentence
    unknown: tuple  # of P tuples: the words of each that the vocabulary lacks


class Vocabulary:
    """The words that a text tower knows.

    Arguments
    ---------
    words : sequence
        As `words_of` gives them, each once. Word i has the number i + 2.
    limit : int
        Most words of a sentence.

    Example
    -------
    >>> tokens = Vocabulary(["a", "dog"], limit=4)(["a dog", "dog, cat"])
    >>> tokens.ids.tolist(), tokens.unknown
    ([[2, 3], [3, 1]], ((), ('cat',)))
    """

    def __init__(self, words, limit: int):
        self.words = [str(word) for word in words]
        self.limit = limit
        self.number = {w: i + N_RESERVED for i, w in enumerate(self.words)}
        strange = [word for word in self.words if words_of(word) != [word]]
        if strange or len(self.number) < len(self.words):
            raise InputError(
                "a vocabulary holds words in lower case, without punctuation, each "
                f"once; got {some_of(strange or self.words)}"
            )

    def __len__(self) -> int:
        return len(self.words)

    def __call__(self, sentences: list[str]) -> Tokens:
        """Sentences to `Tokens`.

        Raises
        ------
        InputError
            When a sentence has no word that is known, or more than `limit`.
        """
        split = [words_of(sentence) for sentence in sentences]
        for sentence, words in zip(sentences, split, strict=True):
            if len(words) > self.limit:
                raise InputError(
                    f"a prompt has {len(words)} words, but the text tower reads "
                    f'{self.limit}: shorten "{" ".join(words[:6])} ..."'
                )
            if not any(word in self.number for word in words):
                raise InputError(
                    f'the text tower knows no word of "{sentence}"; it was trained on '
                    f"{len(self)} words: {some_of(self.words, 20)}"
                )
        ids = [
            torch.tensor([self.number.get(word, UNKNOWN) for word in words])
            for words in split
        ]
        return Tokens(
            torch.nn.utils.rnn.pad_sequence(ids, True, PADDING),
            tuple(tuple(w for w in words if w not in self.number) for words in split),
        )
