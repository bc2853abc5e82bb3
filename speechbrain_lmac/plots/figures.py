"""Figures for papers: one look, axes in s and kHz, levels in dB, PNG or PDF.

Matplotlib is imported when a figure is drawn: it takes a while.
"""

import functools
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from speechbrain_lmac.utils.errors import some_of
from speechbrain_lmac.utils.escaping import escape, visible
from speechbrain_lmac.utils.files import write_atomically

logger = logging.getLogger(__name__)

STYLE = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "figure.titlesize": 10,
    "pdf.fonttype": 42,  # letters stay letters, as journals ask for
    "text.parse_math": False,  # a name with $ is no formula
    "image.interpolation": "nearest",
}
# Fonts with Chinese, Japanese or Korean letters, of Linux, macOS and Windows.
WIDE_FONTS = (
    *(f"Noto Sans CJK {region}" for region in ("JP", "SC", "TC", "HK", "KR")),
    *(f"Noto Sans {region}" for region in ("JP", "SC", "TC", "HK", "KR")),
    *("Source Han Sans", "Source Han Sans SC", "WenQuanYi Micro Hei"),
    *("WenQuanYi Zen Hei", "Droid Sans Fallback", "IPAexGothic", "IPAGothic"),
    *("NanumGothic", "UnDotum", "Unifont", "Hiragino Sans", "PingFang SC"),
    *("Heiti SC", "Apple SD Gothic Neo", "AppleGothic", "Arial Unicode MS"),
    *("Yu Gothic", "Meiryo", "MS Gothic", "Microsoft YaHei", "SimHei", "SimSun"),
    *("Malgun Gothic", "Gulim"),
)
COLOURS = "magma"  # perceptually uniform; grows in lightness, so that it prints
FLOOR_DB = -80.0
DPI = 110


def in_style(draw):
    """Let a function draw in `STYLE`."""

    @functools.wraps(draw)
    def styled(*args, **kwargs):
        with _matplotlib().rc_context(STYLE):
            return draw(*args, **kwargs)

    return styled


@functools.cache
def _matplotlib():
    """Import matplotlib; a home folder that can only be read is no reason to warn."""
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        import matplotlib.font_manager
    finally:
        log.setLevel(level)
    return matplotlib


def new_figure(*args, layout: str = "constrained", **kwargs):
    """A matplotlib figure that needs no screen."""
    from matplotlib.figure import Figure

    return Figure(*args, layout=layout, **kwargs)


def save_figure(figure, path: Path) -> None:
    """Write a figure, atomically; what it is is said by the path: .png, .pdf, .svg."""
    _make_legible(figure)
    metadata = {"CreationDate": None} if str(path).endswith(".pdf") else {}
    write_atomically(
        path, lambda part: figure.savefig(part, dpi=DPI, metadata=metadata)
    )


def _make_legible(figure) -> None:
    """Draw all names of a figure with fonts that have their letters.

    Letters that no font has, which would be boxes, are drawn as escapes; the first time
    a warning says so.
    """
    from matplotlib.axis import Axis
    from matplotlib.text import Text
    from matplotlib.ticker import FuncFormatter

    # Names at ticks: matplotlib keeps them in the formatter, and writes them anew.
    named = [
        axis
        for axis in figure.findobj(Axis)
        if isinstance(axis.get_major_formatter(), FuncFormatter)
    ]
    ticks = [[label.get_text() for label in axis.get_ticklabels()] for axis in named]
    texts = figure.findobj(Text)
    names = {name for names in ticks for name in names}
    names |= {text.get_text() for text in texts}
    shown, families = legible(names)
    for text in texts:
        text.set(text=shown[text.get_text()], fontfamily=families)
    for axis, names in zip(named, ticks, strict=True):
        axis.set_ticklabels([shown[name] for name in names], fontfamily=families)


def legible(texts: set[str]) -> tuple:
    """Find the fonts that texts need.

    Arguments
    ---------
    texts : set of str

    Returns
    -------
    shown : dict
        Each text with escapes for letters that no font has, and for control characters.
    families : list of str
        Of fonts, for matplotlib.
    """
    from matplotlib import font_manager

    families = ["sans-serif"]
    shown = {text: visible(text).replace("\t", " ") for text in texts}
    lacking = _lacks("sans-serif", {c for c in "".join(shown.values()) if c > "~"})
    if lacking:
        _find_new_fonts()
        installed = {font.name for font in font_manager.fontManager.ttflist}
        for family in WIDE_FONTS:
            left = _lacks(family, lacking) if family in installed else lacking
            families += [family] if left < lacking else []
            lacking = left
    if lacking:
        _warn_of_escapes(some_of(sorted(lacking), 5))
    escapes = {ord(letter): escape(letter) for letter in lacking}
    return {text: seen.translate(escapes) for text, seen in shown.items()}, families


def _lacks(family: str, letters: set[str]) -> set[str]:
    """The letters that a font has no glyph for."""
    from matplotlib import font_manager

    if not letters:
        return letters
    wanted = font_manager.FontProperties(family=[family])
    font = font_manager.get_font(font_manager.findfont(wanted))
    return {letter for letter in letters if not font.get_char_index(ord(letter))}


@functools.cache
def _find_new_fonts() -> None:
    """Add the fonts that were installed after matplotlib made its list of them."""
    from matplotlib import font_manager

    known = {font.fname for font in font_manager.fontManager.ttflist}
    for path in font_manager.findSystemFonts():
        if path not in known:
            try:
                font_manager.fontManager.addfont(path)
            except Exception as error:  # one that it cannot read is none
                logger.debug("%s: %s", path, error)


_warned = set()  # of what, in this process


def _warn_of_escapes(letters: str) -> None:
    """Warn once, of the first letters that are met."""
    if "escapes" in _warned:
        return
    _warned.add("escapes")
    logger.warning(
        "no font here has %s: pictures show such letters as escapes. For Chinese, "
        "Japanese and Korean install the font Noto Sans CJK",
        letters,
    )


@in_style
def write_explanation_picture(
    path: Path, panels: dict[str, torch.Tensor], extent: tuple, title: str
) -> None:
    """Input, mask and explanation above each other.

    Arguments
    ---------
    path : Path
        The png or pdf to write.
    panels : dict
        Name to map (T, F): magnitudes are drawn in dB below the loudest cell of the
        first panel, "mask" as it is (0 to 1).
    extent : tuple
        (seconds, highest frequency in Hz).
    title : str
        Above the picture.
    """
    # In inches; matplotlib's own layout draws all text three times to measure it.
    width, height = 7, 1.9 * len(panels) + 0.5
    left, right, bottom, gap = 0.62, 0.1, 0.45, 0.42
    top = 0.42 + 0.17 * len(title.split("\n"))
    figure = new_figure(figsize=(width, height), layout="none")
    panel = (height - top - bottom + gap) / len(panels) - gap
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        bottom=bottom / height,
        top=1 - top / height,
        hspace=gap / panel,
    )
    all_axes = _styled(figure, len(panels), 1)[:, 0]
    loudest = None
    for axes, (name, values) in zip(all_axes, panels.items(), strict=True):
        values = np.asarray(values)
        if name == "mask":
            image, label = _draw(axes, values, extent, (0, 1)), "mask"
        else:
            loudest = max(values.max(), 1e-6) if loudest is None else loudest
            decibels = to_decibels(values, loudest)
            image, label = _draw(axes, decibels, extent, (FLOOR_DB, 0)), "level (dB)"
        axes.set_title(name, loc="left")
        figure.colorbar(image, ax=axes, label=label, pad=0.03, fraction=0.12, aspect=14)
    all_axes[-1].set_xlabel("time (s)")
    figure.suptitle(title)
    save_figure(figure, path)


@in_style
def write_method_grid(
    path: Path,
    magnitude: np.ndarray | torch.Tensor,
    explanations: dict,
    extent: tuple[float, float],
    title: str,
) -> None:
    """One clip, all methods: the input, then mask and explanation of each.

    Arguments
    ---------
    path : Path
        The png or pdf to write.
    magnitude : array
        Of the input, shape (T, F).
    explanations : dict
        Name of the method to (mask (T, F) in 0..1, magnitude of the explanation
        (T, F)).
    extent : tuple
        (seconds, highest frequency in Hz).
    title : str
        Above the picture.
    """
    rows = len(explanations) + 1
    figure = new_figure(figsize=(7, 1.25 * rows + 0.9))
    all_axes = _styled(figure, rows, 2)
    loudest = max(np.asarray(magnitude).max(), 1e-6)
    decibels = (FLOOR_DB, 0)
    levels = _draw(all_axes[0, 0], to_decibels(magnitude, loudest), extent, decibels)
    all_axes[0, 0].set_title("input", loc="left")
    all_axes[0, 1].axis("off")
    masks = None
    for axes, (name, (mask, kept)) in zip(
        all_axes[1:], explanations.items(), strict=True
    ):
        masks = _draw(axes[0], np.asarray(mask), extent, (0, 1))
        _draw(axes[1], to_decibels(kept, loudest), extent, decibels)
        axes[0].set_title(f"{name}, mask", loc="left")
        axes[1].set_title("explanation", loc="left")
    for axes in all_axes[-1]:
        axes.set_xlabel("time (s)")
    bar = {"location": "bottom", "fraction": 0.15 / rows, "aspect": 30}
    if masks is not None:
        figure.colorbar(masks, ax=all_axes[:, 0], label="mask", **bar)
    figure.colorbar(levels, ax=all_axes[:, 1], label="level (dB)", **bar)
    figure.suptitle(title)
    save_figure(figure, path)


@in_style
def write_training_curves(runs: dict[str, pd.DataFrame], path: Path) -> None:
    """What trainings recorded in each epoch: a panel per quantity, a colour per run.

    Arguments
    ---------
    runs : dict
        Name to the table of `epochs.csv`: solid lines are of the validation, dotted
        ones of the training.
    path : Path
        The png or pdf to write.
    """
    quantities = list(
        dict.fromkeys(
            column.split("_", 1)[1]
            for table in runs.values()
            for column in table.columns
            if column.startswith(("train_", "valid_"))
        )
    )
    quantities.sort(key=lambda name: name != "loss")
    columns = min(3, len(quantities) + 1)
    rows = -(-(len(quantities) + 1) // columns)
    figure = new_figure(figsize=(2.9 * columns + 1.2, 2.2 * rows + 0.4))
    all_axes = _styled(figure, rows, columns, sharey=False, frequency=False).flatten()
    for axes, quantity in zip(all_axes, [*quantities, "learning rate"], strict=False):
        for index, (name, table) in enumerate(runs.items()):
            colour = f"C{index % 10}"
            if quantity == "learning rate":
                axes.plot(table["epoch"], table["lr"], color=colour)
            for part, stroke in (("train", ":"), ("valid", "-")):
                column = f"{part}_{quantity}"
                if column in table:
                    axes.plot(
                        *(table["epoch"], table[column], stroke),
                        color=colour,
                        label=legend_label(f"{name}, {part}"),
                    )
        axes.set_title(quantity, loc="left")
        axes.grid(color="0.92")
        axes.set_axisbelow(True)
        axes.set_xlabel("epoch")
    for axes in all_axes[len(quantities) + 1 :]:
        axes.remove()
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    save_figure(figure, path)


def legend_label(name: str) -> str:
    """A name in a legend: matplotlib leaves out those that begin with an underscore."""
    return f" {name}" if name.startswith("_") else name


def to_decibels(magnitude: np.ndarray | torch.Tensor, loudest) -> np.ndarray:
    """Magnitudes as dB below the loudest, at least -120.

    Example
    -------
    >>> to_decibels(np.array([1.0, 0.1]), 1.0)
    array([  0., -20.])
    """
    magnitude = np.asarray(magnitude)
    return 20 * np.log10(np.maximum(magnitude, 1e-6 * loudest) / loudest)


def _styled(
    figure, rows: int, columns: int, sharey: bool = True, frequency: bool = True
) -> np.ndarray:
    """The axes of a figure, (rows, columns), in our style."""
    axes = figure.subplots(
        rows, columns, sharex=frequency, sharey=sharey, squeeze=False
    )
    if frequency:
        for one in axes[:, 0]:
            one.set_ylabel("kHz" if columns > 1 else "frequency (kHz)")
    return axes


def _draw(axes, values: np.ndarray, extent: tuple, limits: tuple):
    """A map (T, F) over s and kHz."""
    seconds, top_hz = extent
    return axes.imshow(
        np.asarray(values).T,
        origin="lower",
        aspect="auto",
        extent=(0, seconds, 0, top_hz / 1000),
        vmin=limits[0],
        vmax=limits[1],
        cmap=COLOURS,
    )
