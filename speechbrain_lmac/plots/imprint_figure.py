"""Figure of a mask on its clip and on other sounds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from speechbrain_lmac.plots.figures import (
    FLOOR_DB,
    _draw,
    _styled,
    in_style,
    new_figure,
    save_figure,
    to_decibels,
)


@in_style
def write_imprint_figure(
    path: Path | str,
    mask: npt.ArrayLike,
    sounds: Mapping[str, tuple[npt.ArrayLike, str, npt.ArrayLike]],
    extent: tuple[float, float],
    title: str,
) -> None:
    """Draw a mask, then each sound before and after it is masked.

    Arguments
    ---------
    path : str or Path
        The PNG or PDF file.
    mask : array
        Shape (T, F), in 0..1.
    sounds : dict
        Title of the sound to (its magnitude (T, F), title of the masked sound, its
        magnitude (T, F)). Levels are in dB, 0 at the loudest cell of each sound.
    extent : tuple of float
        (seconds, highest frequency in Hz).
    title : str
        Title of the figure.
    """
    rows = len(sounds) + 1
    figure = new_figure(figsize=(7, 1.35 * rows + 0.9))
    all_axes = _styled(figure, rows, 2)
    masks = _draw(all_axes[0, 0], np.asarray(mask), extent, (0, 1))
    all_axes[0, 0].set_title("mask", loc="left")
    all_axes[0, 1].axis("off")
    levels = masks
    for axes, (name, (sound, masked_name, masked)) in zip(
        all_axes[1:], sounds.items(), strict=True
    ):
        loudest = max(np.asarray(sound).max(), 1e-6)
        for ax, shown, values in zip(
            axes, (name, masked_name), (sound, masked), strict=True
        ):
            levels = _draw(ax, to_decibels(values, loudest), extent, (FLOOR_DB, 0))
            ax.set_title(shown, loc="left")
    for axes in all_axes[-1]:
        axes.set_xlabel("time (s)")
    bar: dict[str, Any] = {"location": "bottom", "fraction": 0.15 / rows, "aspect": 30}
    figure.colorbar(masks, ax=all_axes[:, 0], label="mask", **bar)
    figure.colorbar(levels, ax=all_axes[:, 1], label="level (dB)", **bar)
    figure.suptitle(title)
    save_figure(figure, path)
