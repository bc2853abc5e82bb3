"""Figures for papers: panels, axes and units."""

import logging

import matplotlib.font_manager
import numpy as np
import pandas as pd
import pytest
import torch
from fontTools.fontBuilder import FontBuilder
from fontTools.ttLib.tables._g_l_y_f import Glyph
from matplotlib.text import Text
from PIL import Image

from speechbrain_lmac.plots import charts, figures, imprint_figure


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are drawn."""
    made, new_figure = [], figures.new_figure

    def remember(*args, **kwargs):
        made.append(new_figure(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(figures, "new_figure", remember)
    monkeypatch.setattr(charts, "new_figure", remember)
    monkeypatch.setattr(imprint_figure, "new_figure", remember)
    return made


def panels(n_frames=40, n_bins=33):
    magnitude = torch.zeros(n_frames, n_bins)
    magnitude[10, 5] = 2.0
    magnitude[30, 20] = 0.02  # 40 dB below
    mask = torch.zeros(n_frames, n_bins)
    mask[10, 5] = 1.0
    return {"input": magnitude, "mask": mask, "explanation": magnitude * mask}


def assert_picture(path):
    with Image.open(path) as picture:
        picture.verify()
        assert picture.format == "PNG"
        assert 300 <= picture.width <= 3000
        assert 300 <= picture.height <= 3000


def test_an_explanation_is_three_readable_panels(tmp_path, drawn):
    path = tmp_path / "new" / "clip.png"
    figures.write_explanation_picture(path, panels(), (5.0, 8000.0), "dog: 0.93")
    assert_picture(path)
    assert [p.name for p in path.parent.iterdir()] == ["clip.png"]
    (figure,) = drawn
    axes = [a for a in figure.axes if a.images and a.get_ylabel() == "frequency (kHz)"]
    assert [a.get_title(loc="left") for a in axes] == ["input", "mask", "explanation"]
    assert axes[-1].get_xlabel() == "time (s)"
    for panel in axes:
        assert panel.get_xlim() == (0, 5)
        assert panel.get_ylim() == (0, 8)
    assert figure.get_suptitle() == "dog: 0.93"


def test_low_frequencies_lie_below_and_early_frames_on_the_left(tmp_path, drawn):
    figures.write_explanation_picture(tmp_path / "a.png", panels(), (4.0, 3300.0), "")
    image = drawn[0].axes[0].images[0]
    assert image.origin == "lower"
    assert list(image.get_extent()) == [0, 4, 0, 3.3]
    drawn = np.asarray(image.get_array())
    assert drawn.shape == (33, 40)  # rows are frequencies
    assert drawn.argmax() == 5 * 40 + 10


def test_levels_are_db_below_the_loudest_cell_and_masks_are_0_to_1(tmp_path, drawn):
    loud = panels()
    loud["explanation"] = 0.1 * loud["explanation"]
    figures.write_explanation_picture(tmp_path / "a.png", loud, (1.0, 1.0), "")
    images = {a.get_title(loc="left"): a.images[0] for a in drawn[0].axes if a.images}
    level = np.asarray(images["input"].get_array())
    assert level.max() == pytest.approx(0)
    assert level[20, 30] == pytest.approx(-40)
    # The explanation is drawn against the input's loudest cell, not against its own.
    assert np.asarray(images["explanation"].get_array()).max() == pytest.approx(-20)
    assert images["mask"].get_clim() == (0, 1)
    assert images["input"].get_clim() == images["explanation"].get_clim() == (-80, 0)


def test_silence_can_be_drawn(tmp_path):
    silent = {name: torch.zeros(1, 33) for name in ("input", "mask", "explanation")}
    figures.write_explanation_picture(tmp_path / "a.png", silent, (0.01, 8e3), "")
    assert_picture(tmp_path / "a.png")


def test_names_with_dollars_are_titles_too(tmp_path):
    title = "$_$ a_\\frac{.wav: $, 0.93"  # no formula
    figures.write_explanation_picture(tmp_path / "a.png", panels(), (1.0, 8e3), title)
    assert_picture(tmp_path / "a.png")


def font(path, family, letters):
    """Write a font with empty glyphs for a few letters."""
    glyphs = [".notdef", *(f"uni{ord(letter):04X}" for letter in letters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(glyphs)
    builder.setupCharacterMap(dict(zip(map(ord, letters), glyphs[1:], strict=True)))
    builder.setupGlyf({name: Glyph() for name in glyphs})
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)


@pytest.fixture
def fonts(monkeypatch, tmp_path):
    """A function that installs a font; until then there is none of `CJK_FONTS`."""
    manager, installed = matplotlib.font_manager.fontManager, []
    wide = [f for f in manager.ttflist if f.name in figures.CJK_FONTS]
    monkeypatch.setattr(
        manager, "ttflist", [f for f in manager.ttflist if f not in wide]
    )
    monkeypatch.setattr(
        matplotlib.font_manager, "findSystemFonts", lambda: [*installed]
    )
    monkeypatch.setattr(figures, "_warned", set())
    figures._find_new_fonts.cache_clear()

    def install(family, letters):
        installed.append(str(tmp_path / f"{family}.ttf"))
        font(installed[-1], family, letters)
        figures._find_new_fonts.cache_clear()

    yield install
    figures._find_new_fonts.cache_clear()
    manager._findfont_cached.cache_clear()


NAMES = ["$x_1$", "雨 {a}", "\x1b[31m_b", "개", "}{ \\frac"]


def confusion(folder):
    charts.write_confusion(np.eye(len(NAMES), dtype=int), NAMES, folder)


def at_ticks(figure):
    return [label.get_text() for label in figure.axes[0].get_xticklabels()]


def test_letters_without_a_font_are_escapes_with_one_warning(
    tmp_path, drawn, fonts, caplog
):
    confusion(tmp_path)
    figures.write_explanation_picture(tmp_path / "a.png", panels(), (1, 1), "雨\n犬")
    legible = ["$x_1$", "\\u96e8 {a}", "\\x1b[31m_b", "\\uac1c", "}{ \\frac"]
    assert at_ticks(drawn[0]) == legible
    assert drawn[1].get_suptitle() == "\\u96e8\n\\u72ac"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "雨, 개" in caplog.text and "Noto Sans CJK" in caplog.text


def test_letters_are_drawn_with_the_fonts_that_have_them(
    tmp_path, drawn, fonts, caplog, recwarn
):
    confusion(tmp_path)
    caplog.clear()
    # This font is not in matplotlib's list of fonts yet.
    fonts("Noto Sans CJK SC", "雨犬")
    fonts("Malgun Gothic", "개")
    fonts("Yu Gothic", "猫")
    confusion(tmp_path)
    assert at_ticks(drawn[1]) == [NAMES[0], NAMES[1], "\\x1b[31m_b", *NAMES[3:]]
    families = ["sans-serif", "Noto Sans CJK SC", "Malgun Gothic"]
    assert drawn[1].axes[0].get_xticklabels()[1].get_fontfamily() == families
    assert caplog.text == "" and [str(w.message) for w in recwarn] == []


def test_no_name_is_a_formula(tmp_path, drawn):
    confusion(tmp_path)
    runs = {"$_$": epochs(), "_hidden": epochs()}
    figures.write_training_curves(runs, tmp_path / "curves.png")
    for figure in drawn:
        assert not any(text.get_parse_math() for text in figure.findobj(Text))
    (legend,) = drawn[1].legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "$_$, train",
        "$_$, valid",
        " _hidden, train",
        " _hidden, valid",
    ]


def test_a_long_title_stays_above_the_panels(tmp_path, drawn):
    title = "dog: 0.93\nchainsaw: 0.02\nthird line"
    figures.write_explanation_picture(tmp_path / "a.png", panels(), (5, 22050), title)
    (figure,) = drawn
    figure.draw_without_rendering()
    title = figure._suptitle.get_window_extent()
    first = figure.axes[0]
    assert title.y0 > first._left_title.get_window_extent().y1
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    for box in [title, *boxes]:
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes if other is not box)


@pytest.mark.parametrize("kind, begins", [("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_figures_for_papers(tmp_path, kind, begins):
    path = tmp_path / f"a.{kind}"
    figures.write_explanation_picture(path, panels(), (1.0, 8e3), "dog")
    assert path.read_bytes().startswith(begins)
    assert b"Type3" not in path.read_bytes()  # letters of a kind that journals take


def test_the_grid_has_a_row_per_method(tmp_path, drawn):
    given = panels()
    silence = torch.zeros_like(given["input"])
    explanations = {
        "L-MAC": (given["mask"], given["explanation"]),
        "a $method_": (given["mask"] * 0, silence),
    }
    path = tmp_path / "grid.png"
    figures.write_method_grid(path, given["input"], explanations, (2.0, 8e3), "dog")
    assert_picture(path)
    titles = {a.get_title(loc="left"): a for a in drawn[0].axes if a.images}
    assert {"input", "L-MAC, mask", "a $method_, mask", "explanation"} == set(titles)
    assert titles["L-MAC, mask"].images[0].get_clim() == (0, 1)
    assert titles["explanation"].images[0].get_clim() == (-80, 0)
    labels = {
        label for a in drawn[0].axes for label in (a.get_xlabel(), a.get_ylabel())
    }
    assert {"kHz", "time (s)", "level (dB)", "mask"} <= labels


def epochs(n=3, **more):
    table = {"epoch": range(1, n + 1), "lr": [0.1] * n}
    table |= {"train_loss": [3.0] * n, "valid_loss": [2.0] * n}
    return pd.DataFrame(table | {k: [v] * n for k, v in more.items()})


def test_curves_have_a_panel_per_quantity_and_two_lines_per_run(tmp_path, drawn):
    runs = {
        "a": epochs(train_mask_in=1.0, valid_mask_in=2.0),
        "b": epochs(valid_AI=9.0),
    }
    path = tmp_path / "curves.png"
    figures.write_training_curves(runs, path)
    assert_picture(path)
    by_title = {a.get_title(loc="left"): a for a in drawn[0].axes}
    assert set(by_title) == {"loss", "mask_in", "AI", "learning rate"}
    assert len(by_title["loss"].lines) == 4
    assert len(by_title["mask_in"].lines) == 2
    assert len(by_title["AI"].lines) == 1
    valid = by_title["loss"].lines[1]
    assert valid.get_label() == "a, valid" and valid.get_linestyle() == "-"
    assert list(valid.get_ydata()) == [2.0] * 3


def test_the_imprint_has_a_row_per_sound(tmp_path, drawn):
    given = panels()
    sounds = {
        "clip: dog 0.99": (given["input"], "masked: dog 0.98", given["explanation"]),
        "silence": (given["input"] * 0, "masked", given["input"] * 0),
    }
    path = tmp_path / "imprint.png"
    imprint_figure.write_imprint_figure(path, given["mask"], sounds, (2.0, 8e3), "dog")
    assert_picture(path)
    titles = {a.get_title(loc="left"): a for a in drawn[0].axes if a.images}
    assert set(titles) == {"mask", "masked", *sounds, "masked: dog 0.98"}
    assert titles["mask"].images[0].get_clim() == (0, 1)
    assert titles["clip: dog 0.99"].images[0].get_array().max() == 0  # its loudest cell
