"""The small CLAP: what it reads, what it refuses, and its folder."""

import json
import logging
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from speechbrain_lmac.classifiers import CompactClassifier, MiniClap, WordBag
from speechbrain_lmac.classifiers.clap.classifier import ClapClassifier
from speechbrain_lmac.classifiers.clap.miniclap import save_clap, trained_clap
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.tokenizer import UNKNOWN, Vocabulary, words_of

ROOT = Path(__file__).resolve().parents[4]
WORDS = ["a", "and", "dog", "is", "loud", "of", "rain", "sound", "the", "this"]
BUDGET_BYTES = 4_000_000  # of CLAP and decoder in half precision
DECODER_PARAMETERS = 150_000


def make_clap(seed=0, channels=(4, 8), words=WORDS, limit=8):
    """A small untrained CLAP of 6 values in eval mode."""
    torch.manual_seed(seed)
    audio = CompactClassifier(n_classes=6, n_mels=20, channels=channels)
    clap = MiniClap(6, audio, WordBag(6, width=5, limit=limit))
    return clap.learn_words(words, seed).eval()


@pytest.fixture
def clap():
    return make_clap()


@pytest.fixture
def features():
    return torch.rand(3, 30, 20, generator=torch.Generator().manual_seed(1))


def test_words_are_lower_case_without_punctuation():
    assert words_of("  The DOG'S “bark”,\tand—rain_drops 2x!") == [
        *("the", "dogs", "bark", "and", "rain", "drops", "2x")
    ]
    assert words_of(" ... ") == []
    assert words_of("Été à Köln") == ["été", "à", "köln"]


@pytest.mark.parametrize("words", [["a", "a"], ["A"], ["two words"], [""], ["x!"]])
def test_a_vocabulary_of_something_else_is_refused(words):
    with pytest.raises(InputError, match="in lower case"):
        Vocabulary(words, limit=4)


def test_embeddings_have_length_one(clap, features):
    heard = clap.audio(features)
    assert heard.embedding.shape == (3, 6)
    torch.testing.assert_close(heard.embedding.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(clap.text(["dog", "rain"]).norm(dim=1), torch.ones(2))


def test_hidden_maps_are_those_of_the_tower(clap, features):
    output = clap.audio_tower(features)
    heard = clap.audio(features)
    assert [h.shape[1] for h in heard.hidden] == clap.hidden_channels == [4, 8]
    for ours, theirs in zip(heard.hidden, output.hidden, strict=True):
        assert torch.equal(ours, theirs)
    assert clap.cam_layer is clap.audio_tower.blocks[-1]
    assert clap.cam_stride == (4, 4)


def test_a_sentence_does_not_depend_on_the_others(clap):
    alone = clap.text(["a dog"])
    among = clap.text(["the sound of rain and a loud", "a dog", "rain"])
    torch.testing.assert_close(among[1:2], alone)


def test_case_and_punctuation_are_not_heard_but_words_are(clap):
    same, other = clap.text(["A dog!", "a loud dog"])
    torch.testing.assert_close(same, clap.text(["a dog"])[0])
    assert (same - other).norm() > 1e-3


def test_unknown_words_are_told_and_read_as_one(clap, caplog):
    with caplog.at_level(logging.WARNING):
        zebra, okapi, dog = clap.text(["a zebra", "a okapi", "a dog"])
    assert "2 unknown words in 2 of 3 prompts" in caplog.text
    assert "okapi, zebra" in caplog.text
    torch.testing.assert_close(zebra, okapi)
    assert (zebra - dog).norm() > 1e-3
    assert clap.unknown_words(["a zebra", "a dog"]) == (("zebra",), ())
    caplog.clear()
    clap.text(["a dog"])
    assert not caplog.text


def test_forgotten_words_are_read_as_unknown(clap):
    ids = clap.vocabulary(["a dog", "dog"]).ids
    forget = torch.tensor([[False, True], [False, True]])  # the last is padding
    read = clap.read(ids, forget)
    torch.testing.assert_close(read[0], clap.text(["a zebra"])[0])
    torch.testing.assert_close(read[1], clap.text(["dog"])[0])


@pytest.mark.parametrize("prompt", ["zebra", "", "...", "zebra okapi"])
def test_a_prompt_without_a_known_word_is_refused(clap, prompt):
    with pytest.raises(InputError, match="no word of"):
        clap.text(["a dog", prompt])


def test_a_prompt_that_is_too_long_is_refused(clap):
    clap.text(["dog " * 8])
    with pytest.raises(InputError, match="9 words, .* 8"):
        clap.text(["dog " * 9])


def test_the_scale_is_learned_and_clamped(clap):
    assert clap.scale.item() == pytest.approx(1 / 0.07, rel=1e-5)
    clap.logit_scale.data.fill_(9.0)  # e^9 is 8103
    assert clap.scale.item() == 100.0


def test_first_vectors_depend_on_seed_and_word_alone():
    one = make_clap(seed=1).words.weight
    fewer = make_clap(seed=1, words=["rain", "dog"]).words.weight
    other = make_clap(seed=2).words.weight
    assert torch.equal(one[2 + WORDS.index("rain")], fewer[2])
    assert not torch.equal(one[2:], other[2:])
    assert one[UNKNOWN].abs().sum() > 0


def test_towers_must_fit():
    audio = CompactClassifier(n_classes=7, n_mels=20, channels=[4])
    with pytest.raises(InputError, match="embedding_dim is 6, .* gives 7 values"):
        MiniClap(6, audio, WordBag(6))


def test_it_is_a_zero_shot_classifier(clap, features):
    classifier = ClapClassifier(clap, ["dog", "rain"])
    output = classifier(features)
    similarity = clap.audio(features).embedding @ clap.text(classifier.prompts).T
    torch.testing.assert_close(output.logits, similarity / 0.07)
    assert classifier.prompts[0] == "this is the sound of dog"


def test_a_folder_gives_back_the_same(clap, features, tmp_path):
    save_clap(clap, tmp_path / "clap")
    again = trained_clap(make_clap(seed=9, words=[]), tmp_path / "clap")
    assert again.vocabulary.words == WORDS
    assert torch.equal(again.text(["a loud dog"]), clap.text(["a loud dog"]))
    heard = clap.audio(features).embedding
    assert torch.equal(again.audio(features).embedding, heard)
    assert sorted(p.name for p in (tmp_path / "clap").iterdir()) == [
        *("clap.json", "model.ckpt")
    ]


def test_a_folder_of_another_setting_is_refused(clap, tmp_path):
    save_clap(clap, tmp_path)
    with pytest.raises(InputError, match=r"was trained with .*'channels': \[4, 8\]"):
        trained_clap(make_clap(channels=(4, 9)), tmp_path)
    with pytest.raises(InputError, match="was trained with .*'limit': 8"):
        trained_clap(make_clap(limit=9), tmp_path)


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"words": 3}', '{"words": ["A B"]}', "null"]
)
def test_a_damaged_folder_is_refused(clap, tmp_path, text):
    save_clap(clap, tmp_path)
    (tmp_path / "clap.json").write_text(text)
    with pytest.raises(InputError):
        trained_clap(clap, tmp_path)


def test_a_word_more_than_weights_is_refused(clap, tmp_path):
    save_clap(clap, tmp_path)
    record = json.loads((tmp_path / "clap.json").read_text())
    record["words"].append("zebra")
    (tmp_path / "clap.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="words.weight is"):
        trained_clap(clap, tmp_path)


def test_nothing_there_is_told(clap, tmp_path):
    with pytest.raises(InputError, match=r"clap\.json.*(\n.*)*train_clap\.py"):
        trained_clap(clap, tmp_path)


@pytest.mark.parametrize("part", ["miniclap", "miniclap_tiny"])
def test_the_part_is_small_enough(part):
    path = ROOT / "hparams" / "parts" / "classifier" / f"{part}.yaml"
    clap = load_hyperpyyaml(f"clap: !include:{path}")["clap"]
    clap.learn_words([f"word{i}" for i in range(2000)], seed=0)
    parameters = sum(p.numel() for p in clap.parameters())
    assert 2 * (parameters + DECODER_PARAMETERS) < BUDGET_BYTES
