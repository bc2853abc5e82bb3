"""What is found with prompts: a CLAP that knows all, and one that knows nothing."""

import math

import pytest
import torch

from speechbrain_lmac.data.class_captions import ClassCaptions, NoAttributes
from speechbrain_lmac.evaluation.retrieval import (
    Prompts,
    masked_mean,
    nonsense_names,
    top_one_accuracy,
)
from speechbrain_lmac.utils.tokenizer import Vocabulary, words_of

CLASSES = ["burst", "hum", "siren", "tone"]
VALUES = (("low", "high"), ("slow", "fast"))


class Attributes:
    """Of clips that are called after theirs."""

    values = VALUES

    def __call__(self, clip):
        return tuple(clip.split())


@pytest.fixture(scope="module")
def captions():
    return ClassCaptions(CLASSES, Attributes(), held_out=0.3)


class Bag:
    """A text tower that counts the words that matter; unknown ones are nothing."""

    def __init__(self, captions):
        self.vocabulary = Vocabulary(captions.words(), limit=20)
        self.basis = [*CLASSES, "low", "high", "slow", "fast"]

    def read(self, ids):
        words = ["", "", *self.vocabulary.words]
        counts = [[[words[i] for i in row].count(b) for b in self.basis] for row in ids]
        # A little of everything, so that no prompt has length 0.
        return torch.nn.functional.normalize(torch.tensor(counts) + 0.01, dim=1)

    def audio_of(self, text):
        """The embedding (1, D) of a clip with the sounds of these words."""
        counts = [words_of(text).count(b) for b in self.basis]
        return torch.nn.functional.normalize(torch.tensor([counts]) + 0.01, dim=1)


@pytest.fixture(scope="module")
def bag(captions):
    return Bag(captions)


def test_matching_embeddings_retrieve_all(captions, bag):
    prompts = Prompts(captions, bag)
    sounds = torch.cat([bag.audio_of(c) for c in CLASSES])
    scores = prompts.classes(sounds, CLASSES)
    assert scores["accuracy"] == [1.0] * 4
    assert scores["nonsense"] == [0.25] * 4
    for name in ("template_seen", "template_unseen"):
        assert all(s == 1 or math.isnan(s) for s in scores[name])
    pairs = captions.pairs()
    mixed = torch.cat([bag.audio_of(" and ".join(pair)) for pair in pairs])
    scores = prompts.pairs(mixed, pairs)
    for seen, unseen, pair in zip(
        scores["pair_seen"], scores["pair_unseen"], pairs, strict=True
    ):
        assert (math.isnan(seen), math.isnan(unseen)) == (
            (True, False) if captions.is_unseen(*pair) else (False, True)
        )
        assert 1 in (seen, unseen)
    assert sum(captions.is_unseen(*pair) for pair in pairs) > 0


def test_embeddings_of_another_class_retrieve_nothing(captions, bag):
    prompts = Prompts(captions, bag)
    sounds = torch.cat([bag.audio_of(c) for c in reversed(CLASSES)])
    scores = prompts.classes(sounds, CLASSES)
    assert scores["accuracy"] == [0.0] * 4
    assert scores["nonsense"] == [0.25] * 4


def test_attributes_are_scored_one_by_one(captions, bag):
    prompts = Prompts(captions, bag)
    attributes = [("low", "fast"), ("high",), (), ("slow",)]
    texts = ["burst low fast", "hum high", "siren low", "tone fast"]
    sounds = torch.cat([bag.audio_of(text) for text in texts])
    scores = prompts.attributes(sounds, CLASSES, attributes)
    for place, category in enumerate(CLASSES):
        by_novelty = {True: [], False: []}
        for value in attributes[place]:
            (values,) = (v for v in VALUES if value in v)
            new = any(captions.is_unseen(category, v) for v in values)
            by_novelty[new].append(float(category != "tone"))  # tone sounds fast
        for name, new in (("attribute_seen", False), ("attribute_unseen", True)):
            score, right = scores[name][place], by_novelty[new]
            if right:
                assert score == sum(right) / len(right)
            else:
                assert math.isnan(score)


def test_ties_are_shared():
    texts = torch.ones(4, 2) / 2**0.5
    target = torch.tensor([0, 3])
    assert top_one_accuracy(torch.eye(2), texts, target).tolist() == [0.25, 0.25]
    # Rounding makes no winner.
    texts[1] += 1e-7
    assert top_one_accuracy(torch.eye(2), texts, target).tolist() == [0.25, 0.25]


def test_means_skip_masked_values():
    values = torch.tensor([[1.0, 0.0, 0.5], [1.0, 1.0, 1.0]])
    mask = torch.tensor([[True, False, True], [False, False, False]])
    first, second = masked_mean(values, mask)
    assert first == 0.75 and math.isnan(second)


def test_nonsense_is_no_word_and_always_the_same():
    names = nonsense_names(40, ["dog"])
    assert names == nonsense_names(40, ["dog"])
    assert len(set(names)) == 40
    assert all(words_of(name) == [name] for name in names)
    assert names[0] not in nonsense_names(40, [names[0]])


def test_without_attributes_scores_are_nan():
    captions = ClassCaptions(CLASSES, NoAttributes(), held_out=0.0)
    prompts = Prompts(captions, Bag(captions))
    scores = prompts.attributes(torch.ones(2, 8), ["hum", "tone"], [(), ()])
    assert all(math.isnan(s) for values in scores.values() for s in values)
