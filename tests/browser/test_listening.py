"""The listening test in a browser, to the scores of 19 simulated participants."""

import json
import random

import pandas as pd
import pytest

from recipes.listening_test import listening_test
from speechbrain_lmac.reporting.listening_test.design import QUESTIONS
from tests.unit.reporting.listening_test.test_listening_test import make

pytestmark = pytest.mark.extras
BASE = {"L-MAC": 70, "random blocks": 30, "silent": 10}
# Sounds are played sixteen times as fast, to their end.
FAST = """
const play = HTMLMediaElement.prototype.play;
HTMLMediaElement.prototype.play = function () {
  this.playbackRate = 16;
  return play.call(this);
};
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("listening") / "test"
    key = make(folder, n_clips=2)
    record = json.loads((folder / "test.json").read_text())
    return folder, key.set_index("stimulus")["method"].to_dict(), record


@pytest.fixture
def begin(open_page, made):
    def begin():
        page = open_page(made[0] / "page" / "index.html")
        page.add_init_script(FAST)
        page.reload()
        return page

    return begin


def play(page, label):
    page.click(f"button[aria-label='play {label}']")
    page.wait_for_selector(f"button[aria-label='play {label}'][data-played]")


def set_to(page, name, value):
    page.eval_on_selector(
        f"input[name='{name}']",
        "(i, v) => { i.value = v; i.dispatchEvent(new Event('input')); }",
        str(value),
    )


def rate_page(page, methods, shift):
    for section in page.locator("section.sound").all():
        name = section.get_attribute("aria-label")
        if name == "input":
            continue
        play(page, name)
        for slider in section.locator("input[type=range]").all():
            stimulus, question = slider.get_attribute("name").split("/")
            value = BASE[methods[stimulus]] + shift + 5 * (question == "quality")
            set_to(page, f"{stimulus}/{question}", value)
    page.click("#next")


def take_part(page, methods, answer, shift=0):
    """Rate all pages of the test; returns the downloaded answers."""
    page.click("#next")
    while not page.locator("input[name=check]").count():
        rate_page(page, methods, shift)
    play(page, "the beeps")
    set_to(page, "check", answer)
    page.click("#next")
    with page.expect_download() as download:
        while page.locator("section.sound").count():
            rate_page(page, methods, shift)
    return json.loads(download.value.path().read_text(encoding="utf-8"))


def test_sliders_are_enabled_after_a_sound_was_played_to_its_end(begin, made):
    page = begin()
    page.click("#next")
    sliders = page.locator("input[type=range]")
    assert sliders.count() == 6 and page.locator("#next").is_disabled()
    assert all(slider.is_disabled() for slider in sliders.all())
    play(page, "sound A")
    first = page.locator("section[aria-label='sound A'] input")
    assert all(slider.is_enabled() for slider in first.all())
    second = page.locator("section[aria-label='sound B'] input")
    assert all(slider.is_disabled() for slider in second.all())
    assert page.locator("#next").is_disabled()
    first.first.focus()
    page.keyboard.press("ArrowRight")
    assert first.first.input_value() == "52"


def test_orders_differ_and_the_method_stays_hidden(begin, made):
    _, methods, record = made
    orders = set()
    for _ in range(4):
        page = begin()
        answers = take_part(page, methods, record["check_answer"])
        text = page.content()
        assert not any(f">{method}<" in text for method in BASE)
        orders.add(json.dumps(answers["order"]))
        assert {r["trial"] for r in answers["ratings"]} == {"t01", "t02"}
        assert len(answers["ratings"]) == 2 * 3 * len(QUESTIONS)
        assert answers["check"] == record["check_answer"]
    assert len(orders) > 1


def test_scores_of_nineteen_participants(begin, made, tmp_path, capsys):
    folder, methods, record = made
    draw = random.Random(0)
    shifts = [draw.randint(-8, 8) for _ in range(19)]
    files = []
    for index, shift in enumerate(shifts):
        answer = record["check_answer"] + (20 if index == 7 else 0)  # one is asleep
        answers = take_part(begin(), methods, answer, shift)
        files.append(tmp_path / f"{index}.json")
        files[-1].write_text(json.dumps(answers))
    listening_test(["score", str(folder), *map(str, files)])
    printed = capsys.readouterr().out
    assert "18 participants, 2 clips" in printed
    assert "attention check" in printed
    valid = [s for i, s in enumerate(shifts) if i != 7]
    mean = sum(valid) / len(valid)
    scores = pd.read_csv(folder / "scores" / "mos.csv").set_index(
        ["question", "method"]
    )
    for method, base in BASE.items():
        assert scores.loc[("match", method), "mos"] == pytest.approx(base + mean)
        assert scores.loc[("quality", method), "mos"] == pytest.approx(base + 5 + mean)
        low, high = scores.loc[("match", method), ["low", "high"]]
        assert low < base + mean < high
    assert (folder / "scores" / "mos.png").stat().st_size > 5000
    pairs = pd.read_csv(folder / "scores" / "pairs.csv")
    assert (pairs["p_holm"] < 0.01).all()
