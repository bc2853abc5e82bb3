"""Figures for papers: one style, axes in s and kHz, levels in dB, PNG or PDF.

Matplotlib is imported only when a figure is drawn: the import is slow.
"""

import functools
import logging
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from speechbrain_lmac.utils.errors import some_of
from speechbrain_lmac.utils.escaping import escape, visible
from speechbrain_lmac.utils.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

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
    "pdf.fonttype": 42,  # TrueType: text stays text, as journals require
    "text.parse_math": False,  # names may contain $
    "image.interpolation": "nearest",
}
# Fonts with Chinese, Japanese or Korean glyphs, on Linux, macOS and Windows.
CJK_FONTS = (
    *(f"Noto Sans CJK {region}" for region in ("JP", "SC", "TC", "HK", "KR")),
    *(f"Noto Sans {region}" for region in ("JP", "SC", "TC", "HK", "KR")),
    *("Source Han Sans", "Source Han Sans SC", "WenQuanYi Micro Hei"),
    *("WenQuanYi Zen Hei", "Droid Sans Fallback", "IPAexGothic", "IPAGothic"),
    *("NanumGothic", "UnDotum", "Unifont", "Hiragino Sans", "PingFang SC"),
    *("Heiti SC", "Apple SD Gothic Neo", "AppleGothic", "Arial Unicode MS"),
    *("Yu Gothic", "Meiryo", "MS Gothic", "Microsoft YaHei", "SimHei", "SimSun"),
    *("Malgun Gothic", "Gulim"),
)
COLOURS = "magma"  # perceptually uniform, also readable in greyscale
FLOOR_DB = -80.0
DPI = 110
P = ParamSpec("P")
T = TypeVar("T")


def in_style(draw: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function to draw in `STYLE`."""

    @functools.wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> T:
        with _matplotlib().rc_context(STYLE):
            return draw(*args, **kwargs)

    return styled


@functools.cache
def _matplotlib() -> ModuleType:
    """Import matplotlib, without its warning about a read-only home folder."""
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        import matplotlib.font_manager
    finally:
        log.setLevel(level)
    return matplotlib


def new_figure(**settings: Any) -> "Figure":
    """Return a matplotlib figure in constrained layout; needs no display."""
    from matplotlib.figure import Figure

    return Figure(**{"layout": "constrained", **settings})


def save_figure(figure: "Figure", path: Path | str) -> None:
    """Write a figure, atomically, in the format of the suffix: .png, .pdf, .svg."""
    _make_legible(figure)
    metadata = {"CreationDate": None} if str(path).endswith(".pdf") else {}
    write_atomically(
        Path(path), lambda part: figure.savefig(part, dpi=DPI, metadata=metadata)
    )


def _make_legible(figure: "Figure") -> None:
    """Set fonts with glyphs for all texts of a figure.

    Characters without a glyph are drawn as escapes in place of boxes, with one
    warning.
    """
    from matplotlib.axis import Axis
    from matplotlib.text import Text
    from matplotlib.ticker import FuncFormatter

    # Tick labels are kept in the formatter, which sets their texts at each drawing.
    named = [
        axis
        for axis in figure.findobj(Axis)
        if isinstance(axis, Axis)
        and isinstance(axis.get_major_formatter(), FuncFormatter)
    ]
    ticks = [[label.get_text() for label in axis.get_ticklabels()] for axis in named]
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    names = {name for labels in ticks for name in labels}
    names |= {text.get_text() for text in texts}
    shown, families = legible(names)
    for text in texts:
        text.set(text=shown[text.get_text()], fontfamily=families)
    for axis, labels in zip(named, ticks, strict=True):
        axis.set_ticklabels([shown[name] for name in labels], fontfamily=families)


def legible(texts: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """Return texts that can be drawn, and the fonts for them.

    Arguments
    ---------
    texts : collection of str
        Titles and labels.

    Returns
    -------
    shown : dict
        Text to its drawable form: escapes for missing glyphs and control characters.
    families : list of str
        Font families for matplotlib, in order of preference.
    """
    from matplotlib import font_manager

    families = ["sans-serif"]
    shown = {text: visible(text).replace("\t", " ") for text in texts}
    missing = _missing("sans-serif", {c for c in "".join(shown.values()) if c > "~"})
    if missing:
        _find_new_fonts()
        installed = {font.name for font in font_manager.fontManager.ttflist}
        for family in CJK_FONTS:
            rest = _missing(family, missing) if family in installed else missing
            families += [family] if rest < missing else []
            missing = rest
    if missing:
        _warn_of_escapes(some_of(sorted(missing), 5))
    escapes = {ord(character): escape(character) for character in missing}
    return {text: drawn.translate(escapes) for text, drawn in shown.items()}, families


def _missing(family: str, characters: set[str]) -> set[str]:
    """Return the characters without a glyph in a font."""
    from matplotlib import font_manager

    if not characters:
        return characters
    properties = font_manager.FontProperties(family=[family])
    font = font_manager.get_font(font_manager.findfont(properties))
    return {c for c in characters if not font.get_char_index(ord(c))}


@functools.cache
def _find_new_fonts() -> None:
    """Add fonts that were installed after matplotlib cached its list."""
    from matplotlib import font_manager

    known = {font.fname for font in font_manager.fontManager.ttflist}
    for path in font_manager.findSystemFonts():
        if path not in known:
            try:
                font_manager.fontManager.addfont(path)
            except Exception as error:  # unreadable fonts are skipped
                logger.debug("%s: %s", path, error)


_warned: set[str] = set()  # subjects of warnings in this process


def _warn_of_escapes(characters: str) -> None:
    """Warn once per process about characters without a glyph."""
    if "escapes" in _warned:
        return
    _warned.add("escapes")
    logger.warning(
        "no installed font has glyphs for %s: figures show escapes. For Chinese, "
        "Japanese and Korean install the font Noto Sans CJK",
        characters,
    )


@in_style
def write_explanation_picture(
    path: Path | str,
    panels: Mapping[str, torch.Tensor | np.ndarray],
    extent: tuple[float, float],
    title: str,
) -> None:
    """Draw input, mask and explanation in stacked panels.

    Arguments
    ---------
    path : str or Path
        The PNG or PDF file.
    panels : dict
        Name to map (T, F): magnitudes are drawn in dB, 0 at the loudest cell of the
        first panel, "mask" unchanged (0 to 1).
    extent : tuple of float
        (seconds, highest frequency in Hz).
    title : str
        Title of the figure.
    """
    # In inches. A fixed layout: matplotlib's draws all text three times to measure it.
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
    for axes, (name, panel_values) in zip(all_axes, panels.items(), strict=True):
        values = np.asarray(panel_values)
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
    path: Path | str,
    magnitude: np.ndarray | torch.Tensor,
    explanations: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]],
    extent: tuple[float, float],
    title: str,
) -> None:
    """Draw one clip with all methods: the input, then mask and explanation of each.

    Arguments
    ---------
    path : str or Path
        The PNG or PDF file.
    magnitude : array
        Magnitude of the input, shape (T, F).
    explanations : dict
        Name of the method to (mask (T, F) in 0..1, magnitude of the explanation
        (T, F)).
    extent : tuple of float
        (seconds, highest frequency in Hz).
    title : str
        Title of the figure.
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
    for axes, (name, (mask, masked)) in zip(
        all_axes[1:], explanations.items(), strict=True
    ):
        masks = _draw(axes[0], np.asarray(mask), extent, (0, 1))
        _draw(axes[1], to_decibels(masked, loudest), extent, decibels)
        axes[0].set_title(f"{name}, mask", loc="left")
        axes[1].set_title("explanation", loc="left")
    for axes in all_axes[-1]:
        axes.set_xlabel("time (s)")
    bar: dict[str, Any] = {"location": "bottom", "fraction": 0.15 / rows, "aspect": 30}
    if masks is not None:
        figure.colorbar(masks, ax=all_axes[:, 0], label="mask", **bar)
    figure.colorbar(levels, ax=all_axes[:, 1], label="level (dB)", **bar)
    figure.suptitle(title)
    save_figure(figure, path)


@in_style
def write_training_curves(runs: Mapping[str, "pd.DataFrame"], path: Path | str) -> None:
    """Draw training curves: a panel per quantity, a colour per run.

    Arguments
    ---------
    runs : dict
        Name to the table of `epochs.csv`: validation is solid, training dotted.
    path : str or Path
        The PNG or PDF file.
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
    """Return a legend label; matplotlib hides those with a leading underscore."""
    return f" {name}" if name.startswith("_") else name


def to_decibels(magnitude: npt.ArrayLike, loudest: float) -> np.ndarray:
    """Return magnitudes (T, F) in dB relative to `loudest`, at least -120.

    Example
    -------
    >>> to_decibels(np.array([1.0, 0.1]), 1.0)
    array([  0., -20.])
    """
    magnitude = np.asarray(magnitude)
    return 20 * np.log10(np.maximum(magnitude, 1e-6 * loudest) / loudest)


def _styled(
    figure: "Figure",
    rows: int,
    columns: int,
    sharey: bool = True,
    frequency: bool = True,
) -> np.ndarray:
    """Return the axes of a figure, shape (rows, columns), in our style."""
    axes = figure.subplots(
        rows, columns, sharex=frequency, sharey=sharey, squeeze=False
    )
    if frequency:
        for ax in axes[:, 0]:
            ax.set_ylabel("kHz" if columns > 1 else "frequency (kHz)")
    return axes


def _draw(
    axes: "Axes",
    values: np.ndarray,
    extent: tuple[float, float],
    limits: tuple[float, float],
) -> "AxesImage":
    """Draw a map (T, F) over s and kHz."""
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
