"""The report in a browser, from disk: playback, filters, sorting, legibility."""

import io
import time

import numpy as np
import pytest
import soundfile

from speechbrain_lmac.reporting.html.images import mask_png, spectrogram_png
from speechbrain_lmac.reporting.html.page import ReportPage, write_page

pytestmark = pytest.mark.extras
SECONDS, RATE = 2.0, 16000
SCRIPT = "<script>document.title='hacked'</script>"


def sound(frequency):
    time_s = np.arange(round(SECONDS * RATE)) / RATE
    content = io.BytesIO()
    wav = 0.2 * np.sin(2 * np.pi * frequency * time_s)
    soundfile.write(content, wav, RATE, "PCM_16", format="WAV")
    return content.getvalue()


def report(folder, n_clips, n_methods, single_file=False):
    """A page of clips whose AD is 10 times their number plus that of the method."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    picture = spectrogram_png(draw.random((173, 257)))
    mask = mask_png(draw.random((173, 257)))
    clips = []
    for index in range(n_clips):
        names = {}
        for number in range(n_methods):
            stem = f"{index}_{number}"
            names[f"method {number}"] = {
                "explained": "dog",
                "explanation": f"{stem}_explanation.wav",
                "rest": f"{stem}_rest.wav",
                "mask": f"{stem}.png",
                **{"p": 0.9, "p_in": 0.8, "p_out": 0.1},
                **{"heard_confidence_in": 0.7, "heard_confidence_out": 0.2},
                "scores": {"AD": 10.0 * index + number, "MM": 0.1},
            }
            for part in ("explanation", "rest"):
                (folder / f"{stem}_{part}.wav").write_bytes(sound(300 + 100 * number))
            (folder / f"{stem}.png").write_bytes(mask)
        (folder / f"{index}.wav").write_bytes(sound(200))
        (folder / f"{index}.png").write_bytes(picture)
        clips.append(
            {
                "condition": "clean" if index % 4 < 3 else "noise",
                "block": "STFT",
                "id": f"clip {index}",
                "seconds": SECONDS,
                "top_hz": RATE / 2,
                "input": f"{index}.wav",
                "picture": f"{index}.png",
                "label": ["dog", "rain", SCRIPT][index % 3],
                "predicted": "dog",
                "methods": names,
            }
        )
    cells = [[3.0, 0.5], [1.0, 0.9], [None, 0.7]]
    rows = [
        {
            "method": f"method {i}",
            "n": 8,
            "cells": [
                {"mean": "–" if v is None else f"{v}", "interval": "", "value": v}
                for v in values
            ],
        }
        for i, values in enumerate(cells)
    ]
    heads = [{"name": name, "about": name} for name in ("AD ↓", "Fid-In ↑")]
    page = ReportPage(
        title=f"a report {SCRIPT}",
        facts=[SCRIPT],
        tables=[{"title": "clean, STFT", "scores": heads, "rows": rows}],
        confusions=[
            {
                "title": "t",
                "labels": ["dog", SCRIPT],
                "counts": [[3, 1], [0, 2]],
                "most": 3,
            }
        ],
        clips=clips,
    )
    return write_page(page, folder, single_file)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return report(tmp_path_factory.mktemp("report"), n_clips=8, n_methods=3)


def pressed(page):
    return page.eval_on_selector_all(
        "button[aria-pressed=true]", "bs => bs.map(b => b.getAttribute('aria-label'))"
    )


def heads(page):
    lefts = page.eval_on_selector_all(".head", "hs => hs.map(h => h.style.left)")
    return [float(left.strip("%")) for left in lefts]


def listed(page):
    return page.eval_on_selector_all("#list b", "bs => bs.map(b => b.textContent)")


def title_of(page):
    return page.text_content("#detail h3")


def test_a_sound_plays_and_the_playhead_moves_over_all_spectrograms(open_page, small):
    page = open_page(small)
    page.click("button[aria-label='play the explanation by method 1']")
    page.wait_for_function(
        "parseFloat(document.querySelector('.head').style.left) > 20"
    )
    assert pressed(page) == ["play the explanation by method 1"]
    assert len(heads(page)) == 4
    assert max(heads(page)) - min(heads(page)) < 3
    assert page.locator(".method.current").get_attribute("aria-label") == "method 1"
    page.wait_for_function(
        "!document.querySelector('button[aria-pressed=true]')", timeout=5000
    )  # it ends by itself
    assert min(heads(page)) == 100
    page.keyboard.press(" ")
    page.wait_for_timeout(100)
    assert max(heads(page)) < 50  # it begins anew


def test_another_sound_continues_at_the_same_position(open_page, small):
    page = open_page(small)
    page.keyboard.press("i")
    page.wait_for_function(
        "parseFloat(document.querySelector('.head').style.left) > 30"
    )
    at = heads(page)[0]
    page.keyboard.press("e")
    assert pressed(page) == ["play the explanation by method 0"]
    page.wait_for_timeout(150)
    assert at <= heads(page)[0] < at + 25
    page.keyboard.press("a")  # A/B: back to the input
    assert pressed(page) == ["play the input"]
    page.keyboard.press(" ")
    assert pressed(page) == []
    stopped = heads(page)[0]
    assert stopped > at - 1
    page.keyboard.press(" ")
    page.wait_for_timeout(100)
    assert heads(page)[0] >= stopped - 1  # it goes on where it stopped


def test_a_click_on_the_spectrogram_seeks(open_page, small):
    page = open_page(small)
    picture = page.locator(".method[data-row='2'] .picture")
    picture.scroll_into_view_if_needed()
    width = picture.bounding_box()["width"]
    picture.click(position={"x": 0.75 * width, "y": 20})
    page.wait_for_function(
        "parseFloat(document.querySelector('.head').style.left) > 76"
    )
    assert pressed(page) == ["play the explanation by method 1"]


def test_arrows_change_clip_and_method(open_page, small):
    page = open_page(small)
    assert title_of(page).startswith("clip 0")
    page.keyboard.press("ArrowRight")
    assert title_of(page) == "clip 1, rain, predicted dog"
    for key in ("ArrowDown", "ArrowDown", "ArrowUp"):
        page.keyboard.press(key)
    assert page.locator(".method.current").get_attribute("aria-label") == "method 0"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")  # there is none before the first
    assert title_of(page).startswith("clip 0")


def test_the_keyboard_alone_reaches_a_button_and_plays(open_page, small):
    page = open_page(small)
    button = page.locator("button[aria-label='play the rest by method 2']")
    button.focus()
    page.keyboard.press(" ")
    assert pressed(page) == ["play the rest by method 2"]
    page.keyboard.press("Enter")
    assert pressed(page) == []


def test_filters_filter_and_orders_order(open_page, small):
    page = open_page(small)
    assert listed(page) == [f"clip {i}" for i in (0, 1, 2, 4, 5, 6)]  # clean
    page.select_option("#f-condition", "noise, STFT")
    assert listed(page) == ["clip 3", "clip 7"]
    page.select_option("#f-condition", "clean, STFT")
    page.select_option("#f-class", "rain")
    assert listed(page) == ["clip 1", "clip 4"]
    page.select_option("#f-right", "right")
    assert listed(page) == []
    assert page.locator("#detail .none").count() == 1
    page.select_option("#f-class", "")
    assert listed(page) == ["clip 0", "clip 6"]
    page.select_option("#f-right", "")
    page.select_option("#f-score", "AD")  # lower is better
    page.select_option("#f-order", "worst")
    assert listed(page) == [f"clip {i}" for i in (6, 5, 4, 2, 1, 0)]
    page.select_option("#f-order", "best")
    assert listed(page)[0] == "clip 0"
    assert "6 of 8 clips" in page.text_content("#f-count")


def test_tables_sort_with_aria_sort(open_page, small):
    page = open_page(small)
    rows = "rs => rs.map(r => r.cells[0].textContent)"

    def order():
        return page.eval_on_selector_all(".sortable tbody tr", rows)

    button = page.locator(".sortable thead button", has_text="AD")
    button.click()
    assert order() == ["method 0", "method 1", "method 2"]  # none is last
    head = page.locator(".sortable thead th", has_text="AD")
    assert head.get_attribute("aria-sort") == "descending"
    button.click()
    assert order() == ["method 1", "method 0", "method 2"]
    assert head.get_attribute("aria-sort") == "ascending"
    page.locator(".sortable thead button", has_text="Fid-In").click()
    assert order() == ["method 1", "method 2", "method 0"]
    assert head.get_attribute("aria-sort") is None


def test_names_are_text_whatever_they_are(open_page, small):
    page = open_page(small)
    assert page.title().startswith("a report <script>")
    page.select_option("#f-class", SCRIPT)
    assert SCRIPT in page.text_content("#detail h3")
    assert SCRIPT in page.text_content("#confusion")


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_and_all_is_legible(open_page, small, width, scheme):
    page = open_page(small, width=width, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    contrasts = page.evaluate(CONTRASTS)
    assert min(contrasts.values()) >= 4.5, contrasts
    small_targets = page.eval_on_selector_all(
        "#detail button, #list button",
        "bs => bs.filter(b => b.getBoundingClientRect().height < 24).length",
    )
    assert small_targets == 0
    unnamed = page.eval_on_selector_all(
        "button, select, img, a",
        "es => es.filter(e => !(e.textContent.trim() || e.ariaLabel || e.alt"
        " || e.labels?.length || e.ariaHidden)).length",
    )
    assert unnamed == 0


# WCAG 2: contrast of text and what is behind it, of each kind of text.
CONTRASTS = """() => {
  const parse = (c) => c.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => rgb.slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const rgb = parse(getComputedStyle(e).backgroundColor);
      if (rgb.length < 4 || rgb[3] > 0) return rgb;
    }
    return [255, 255, 255];
  };
  const found = {};
  for (const kind of ["body", "h2", ".how", ".says", ".scores span", "#list span",
      "#list .wrong", "#list button[aria-current]", "td small", "a", ".hz span",
      ".filters label", "select", "kbd", "footer"]) {
    const e = document.querySelector(kind);
    if (!e) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))];
    found[kind] = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }
  return found;
}"""


def test_a_single_file_needs_nothing_beside_it(open_page, tmp_path):
    path = report(tmp_path / "report", n_clips=2, n_methods=2, single_file=True)
    alone = tmp_path / "alone.html"
    alone.write_bytes(path.read_bytes())
    page = open_page(alone)
    page.click("button[aria-label='play the rest by method 1']")
    page.wait_for_function(
        "parseFloat(document.querySelector('.head').style.left) > 10"
    )
    assert page.eval_on_selector_all(
        ".picture img", "is => is.every(i => i.complete && i.naturalWidth > 0)"
    )


def test_hundreds_of_clips_open_at_once_and_stay_small(chromium, tmp_path):
    path = report(tmp_path / "report", n_clips=400, n_methods=6)
    page = chromium.new_page()
    start = time.perf_counter()
    page.goto(path.as_uri())
    page.wait_for_selector("#detail .method[data-row='6']")
    assert time.perf_counter() - start < 2
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    session.send("HeapProfiler.collectGarbage")
    metrics = session.send("Performance.getMetrics")["metrics"]
    heap = {metric["name"]: metric["value"] for metric in metrics}
    assert heap["JSHeapUsedSize"] < 300e6
    assert heap["Nodes"] < 20000
    page.close()
