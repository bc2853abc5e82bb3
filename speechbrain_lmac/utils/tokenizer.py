"""Word tokenizer of `MiniClap`."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from speechbrain_lmac.utils.errors import InputError, some_of

# Prompt template of the papers (LMAC-ZS, Microsoft CLAP).
TEMPLATE = "this is the sound of {}"
PADDING, UNKNOWN = 0, 1  # reserved token ids
N_RESERVED = 2


def words_of(sentence: str) -> list[str]:
    """Return the words of a sentence: lower case, without punctuation.

    A word is a run of letters and digits; an apostrophe within it is dropped.

    Example
    -------
    >>> words_of("A dog's bark, then (two) sea_waves!")
    ['a', 'dogs', 'bark', 'then', 'two', 'sea', 'waves']
    """
    return re.findall(r"[^\W_]+", re.sub(r"['’]", "", str(sentence).lower()))


@dataclass(frozen=True)
class Tokens:
    """P tokenized sentences of at most W words."""

    ids: torch.Tensor  # (P, W) int64, shorter sentences padded with `PADDING`
    unknown: tuple[tuple[str, ...], ...]  # P: the words not in the vocabulary


class Vocabulary:
    """The vocabulary of a text tower.

    Arguments
    ---------
    words : iterable of str
        Distinct, in the form of `words_of`. Word i has the token id i + 2.
    limit : int
        Maximum number of words in a sentence.

    Example
    -------
    >>> tokens = Vocabulary(["a", "dog"], limit=4)(["a dog", "dog, cat"])
    >>> tokens.ids.tolist(), tokens.unknown
    ([[2, 3], [3, 1]], ((), ('cat',)))
    """

    def __init__(self, words: Iterable[object], limit: int) -> None:
        self.words = [str(word) for word in words]
        self.limit = limit
        self.number = {w: i + N_RESERVED for i, w in enumerate(self.words)}
        invalid = [word for word in self.words if words_of(word) != [word]]
        if invalid or len(self.number) < len(self.words):
            raise InputError(
                "a vocabulary must hold distinct words in lower case, without "
                f"punctuation; got {some_of(invalid or self.words)}"
            )

    def __len__(self) -> int:
        return len(self.words)

    def __call__(self, sentences: Sequence[str]) -> Tokens:
        """Return P sentences as `Tokens` with ids of shape (P, W).

        Raises
        ------
        InputError
            When a sentence has no word of the vocabulary, or more than `limit` words.
        """
        split = [words_of(sentence) for sentence in sentences]
        for sentence, words in zip(sentences, split, strict=True):
            if len(words) > self.limit:
                raise InputError(
                    f"a prompt has {len(words)} words, the text tower's limit is "
                    f'{self.limit}: shorten "{" ".join(words[:6])} ..."'
                )
            if not any(word in self.number for word in words):
                raise InputError(
                    f'no word of "{sentence}" is in the vocabulary of the text tower, '
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
