"""Captions: held-out combinations never occur, facts are true, texts are readable."""

import csv
from collections import Counter

import numpy as np
import pytest

from speechbrain_lmac.data.class_captions import (
    SYNONYMS,
    TEMPLATES,
    ClassCaptions,
    NoAttributes,
    ToyAttributes,
    is_held_out,
    plain_name,
)
from speechbrain_lmac.data_prep.toy_prepare import make_toy
from speechbrain_lmac.dsp.toy_sounds import TOY_CLASSES
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.seeding import generator
from speechbrain_lmac.utils.tokenizer import words_of

VALUES = [value for values in ToyAttributes.values for value in values]


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "toy"
    return make_toy(folder, 120, seconds=1.0, progress=False)


@pytest.fixture(scope="module")
def esc10():
    return ClassCaptions(list(SYNONYMS), NoAttributes())


@pytest.fixture(scope="module")
def of_toy(toy):
    return ClassCaptions(TOY_CLASSES, ToyAttributes(toy))


def many(captions, attributes=(), n=3000):
    """Captions of many draws: (classes, caption)."""
    for number in range(n):
        turn, place = divmod(number, len(captions.categories))
        category = captions.categories[place]
        classes = [category]
        others = captions.partners(category)
        if turn % 2:
            classes.append(others[turn // 2 % len(others)])
        draw = generator("test", number)
        values = attributes if len(classes) == 1 else ()
        yield classes, captions.caption(classes, values, draw)


def stated(captions, category, text):
    """Whether a text has one of the names of a class."""
    return any(f" {name} " in f" {text} " for name in captions.names(category))


def test_about_the_stated_share_is_held_out():
    share = np.mean([is_held_out([f"a{i}", "b"], 0.2) for i in range(4000)])
    assert share == pytest.approx(0.2, abs=0.02)
    assert all(
        is_held_out(["x", f"{i}"], 0.3) == is_held_out([f"{i}", "x"], 0.3)
        for i in range(100)
    )


def test_more_is_held_out_of_what_was_before():
    pairs = [["a", f"{i}"] for i in range(300)]
    fewer = {i for i, pair in enumerate(pairs) if is_held_out(pair, 0.1)}
    more = {i for i, pair in enumerate(pairs) if is_held_out(pair, 0.3)}
    assert fewer < more


def test_held_out_combinations_never_occur(esc10):
    templates, pairs = Counter(), Counter()
    for classes, caption in many(esc10):
        names = [n for c in classes for n in esc10.names(c)]
        phrases = [*names, *(f"{a} and {b}" for a in names for b in names)]
        used = [t for t in TEMPLATES for p in phrases if t.format(p) == caption.text]
        # "the sound of" is in "this is the sound of", but as a whole one fits.
        assert len(set(used)) == 1, caption.text
        templates.update((category, used[0]) for category in classes)
        pairs.update([tuple(sorted(classes))] if len(classes) == 2 else [])
    assert not [c for c in templates if esc10.is_unseen(*c)]
    assert not [p for p in pairs if esc10.is_unseen(*p)]
    every = {(c, t) for c in SYNONYMS for t in TEMPLATES if not esc10.is_unseen(c, t)}
    assert set(templates) == every  # all others occur
    assert 0 < sum(esc10.is_unseen(*pair) for pair in esc10.pairs()) < 20


def test_a_caption_states_its_facts_and_nothing_else(esc10):
    for classes, caption in many(esc10, n=200):
        assert caption.facts == frozenset(classes)
        assert all(stated(esc10, category, caption.text) for category in classes)
        if len(classes) == 1:
            assert " and " not in caption.text


def test_attributes_are_stated_unless_held_out(of_toy):
    counts = Counter()
    for classes, caption in many(of_toy, VALUES):
        for value in VALUES:
            fact = (classes[0], value) in caption.facts
            assert fact == (value in words_of(caption.text)), caption.text
            counts[(classes[0], value)] += fact
    for combination, count in counts.items():
        assert (count == 0) == of_toy.is_unseen(*combination), combination
    assert any(count == 0 for count in counts.values())


def test_every_word_of_a_caption_is_in_the_vocabulary(esc10, of_toy):
    for captions, attributes in ((esc10, ()), (of_toy, VALUES)):
        words = captions.words()
        assert words == sorted(set(words))
        for _, caption in many(captions, attributes, n=1500):
            assert set(words_of(caption.text)) <= set(words)


def test_both_orders_of_a_mixture_occur(esc10):
    draws = [generator("order", i) for i in range(60)]
    texts = [esc10.caption(["dog", "sea_waves"], (), draw).text for draw in draws]
    dog_first = [
        text.index("dog") < text.index("wave") for text in texts if "wave" in text
    ]
    assert 0.2 < np.mean(dog_first) < 0.8


def test_a_draw_gives_the_same_caption(esc10):
    first, second = (
        esc10.caption(["dog"], (), generator(1, 2, "clip")) for _ in range(2)
    )
    assert first == second
    others = {esc10.caption(["dog"], (), generator(1, i, "clip")) for i in range(20)}
    assert len(others) > 5


def test_the_standard_prompt_is_the_papers(esc10):
    assert esc10.standard(["dog"]) == "this is the sound of dog"
    assert esc10.standard(["dog", "rain"]) == "this is the sound of dog and rain"
    assert esc10.standard(["tone"], ["high"]) == "this is the sound of high tone"
    assert esc10.names("clock_tick")[0] == plain_name("clock_tick") == "clock tick"
    assert esc10.names("air_conditioner") == ("air conditioner",)


def test_names_of_different_classes_are_different():
    names = [name for names in SYNONYMS.values() for name in names]
    names += [plain_name(category) for category in SYNONYMS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("share", [-0.1, 1.0, 2])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(InputError, match="held_out"):
        ClassCaptions(["dog"], NoAttributes(), held_out=share)


def test_a_share_that_leaves_no_template_is_refused():
    with pytest.raises(InputError, match="held_out 0.9 .*template"):
        ClassCaptions(list(SYNONYMS), NoAttributes(), held_out=0.9)


def test_attributes_are_the_outer_thirds_of_a_class(toy):
    attributes = ToyAttributes(toy)
    with open(toy / "meta" / "esc50.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 120
    for category in TOY_CLASSES:
        clips = [row for row in rows if row["category"] == category]
        of = {row["filename"][:-4]: attributes(row["filename"][:-4]) for row in clips}
        pitch = {row["filename"][:-4]: float(row["pitch_hz"]) for row in clips}
        low, high, rest = (
            [pitch[clip] for clip in of if test(of[clip])]
            for test in (
                lambda values: "low" in values,
                lambda values: "high" in values,
                lambda values: not {"low", "high"} & set(values),
            )
        )
        assert len(low) >= 4 and len(high) >= 4 and len(rest) >= 4
        assert max(low) < min(rest) and max(rest) < min(high)
        rated = any({"slow", "fast"} & set(values) for values in of.values())
        assert rated == (category not in ("siren", "hum"))  # one sound: no rate
        for values in of.values():
            assert not {"quiet", "loud"} <= set(values)


def test_loud_clips_have_less_background(toy):
    attributes = ToyAttributes(toy)
    with open(toy / "meta" / "esc50.csv", newline="") as file:
        snr = {
            row["filename"][:-4]: float(row["snr_db"]) for row in csv.DictReader(file)
        }
    quiet = [snr[clip] for clip in snr if "quiet" in attributes(clip)]
    loud = [snr[clip] for clip in snr if "loud" in attributes(clip)]
    assert np.mean(loud) - np.mean(quiet) > 4  # dB, of a range of 9


def test_a_table_of_before_is_refused(tmp_path):
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "esc50.csv").write_text(
        "filename,category,snr_db\n1-0-A-0.wav,tone,1.0\n"
    )
    with pytest.raises(InputError, match=r"toy_prepare\.py"):
        ToyAttributes(tmp_path)("1-0-A-0")
    with pytest.raises(InputError, match=r"toy_prepare\.py"):
        ToyAttributes(tmp_path / "nowhere")("1-0-A-0")


def test_a_clip_of_another_folder_is_refused(toy):
    with pytest.raises(InputError, match="clip 9-9-A-9"):
        ToyAttributes(toy)("9-9-A-9")
