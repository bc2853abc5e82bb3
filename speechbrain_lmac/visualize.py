"""Pictures. Matplotlib is imported when one is drawn (extra `report`)."""

import numpy as np
import pandas as pd

from speechbrain_lmac.files import write_atomically


def new_figure(*args, **kwargs):
    """A matplotlib figure that needs no screen."""
    from matplotlib.figure import Figure

    return Figure(*args, layout="constrained", **kwargs)


def write_confusion(counts, labels, folder):
    """The confusion matrix as `confusion.csv` and `confusion.png`.

    Arguments
    ---------
    counts : numpy.ndarray
        Shape (C, C): true class by predicted class.
    labels : list
        C names.
    folder : Path
        Where to write.
    """
    table = pd.DataFrame(counts, index=pd.Index(labels, name="true"), columns=labels)
    write_atomically(folder / "confusion.csv", table.to_csv)
    size = max(3.5, 0.3 * len(labels) + 2)
    figure = new_figure(figsize=(size, size))
    axes = figure.subplots()
    axes.imshow(counts, cmap="Blues")
    axes.set_xticks(range(len(labels)), labels, rotation=90)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    accuracy = counts.trace() / max(counts.sum(), 1)
    axes.set_title(f"{accuracy:.1%} of {counts.sum()} clips right")
    for row, column in zip(*np.nonzero(counts), strict=True):
        dark = counts[row, column] > counts.max() / 2
        axes.text(
            column,
            row,
            counts[row, column],
            ha="center",
            va="center",
            fontsize=7,
            color="white" if dark else "black",
        )
    write_atomically(
        folder / "confusion.png", lambda part: figure.savefig(part, dpi=120)
    )


def write_explanation_picture(path, panels, extent, title):
    """Input, mask and explanation above each other, axes in s and Hz.

    Arguments
    ---------
    path : Path
        The png to write.
    panels : dict
        Name to map (T, F): magnitudes are drawn in dB below the loudest cell of the
        first panel, "mask" as it is (0 to 1).
    extent : tuple
        (seconds, highest frequency in Hz).
    title : str
        Above the picture.
    """
    seconds, top = extent
    figure = new_figure(figsize=(9, 2.6 * len(panels)))
    all_axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    loudest = None
    for axes, (name, values) in zip(all_axes, panels.items(), strict=True):
        values = np.asarray(values)
        limits, label = (0, 1), "mask"
        if name != "mask":
            loudest = max(values.max(), 1e-6) if loudest is None else loudest
            values = 20 * np.log10(np.maximum(values, 1e-6 * loudest) / loudest)
            limits, label = (-80, 0), "dB"
        image = axes.imshow(
            values.T,
            origin="lower",
            aspect="auto",
            extent=(0, seconds, 0, top),
            vmin=limits[0],
            vmax=limits[1],
            cmap="magma",
            interpolation="nearest",
        )
        axes.set_ylabel("frequency (Hz)")
        axes.set_title(name, loc="left", fontsize=9)
        figure.colorbar(image, ax=axes, label=label)
    all_axes[-1].set_xlabel("time (s)")
    figure.suptitle(title, fontsize=10, parse_math=False)
    write_atomically(path, lambda part: figure.savefig(part, dpi=100))
