"""Spectrograms and masks as PNG, pixel by pixel: hundreds of them in seconds."""

import io

import numpy as np
from PIL import Image

FLOOR_DB = -80.0
# Of the mask over the grey spectrogram; told apart from grey by all kinds of sight.
MASK_COLOUR = (255, 122, 0)
LARGEST = (1200, 260)  # pixels: frames, bins


def spectrogram_png(magnitude: np.ndarray) -> bytes:
    """A spectrogram in grey: 0 dB, the loudest cell, is white, -80 dB is black.

    Arguments
    ---------
    magnitude : numpy.ndarray
        Shape (T, F), not negative.

    Returns
    -------
    png : bytes
        T wide, F high (less where that is beyond `LARGEST`), the lowest bin below.
    """
    magnitude = shrunk(np.asarray(magnitude, dtype=np.float32))
    loudest = magnitude.max()
    if loudest > 0:
        floor = 10 ** (FLOOR_DB / 20)
        decibels = 20 * np.log10(np.maximum(magnitude / loudest, floor))
        grey = 255 * (1 - decibels / FLOOR_DB)
    else:
        grey = np.zeros_like(magnitude)
    return _png(Image.fromarray(_upright(grey)))


def mask_png(mask: np.ndarray) -> bytes:
    """A mask to lie over a spectrogram: one colour, as opaque as the mask is.

    Arguments
    ---------
    mask : numpy.ndarray
        Shape (T, F), in 0..1.

    Returns
    -------
    png : bytes
        As `spectrogram_png`, with transparency.
    """
    mask = shrunk(np.asarray(mask, dtype=np.float32))
    image = Image.fromarray(_upright(255 * mask.clip(0, 1)))
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette(MASK_COLOUR * 256)
    return _png(image, transparency=bytes(range(256)))


def shrunk(values: np.ndarray) -> np.ndarray:
    """A map (T, F) of at most `LARGEST` cells: the largest of those that fall together.

    Example
    -------
    >>> shrunk(np.ones((431, 513))).shape
    (431, 257)
    """
    for axis, most in enumerate(LARGEST):
        step = -(-values.shape[axis] // most)
        if step > 1:
            starts = np.arange(0, values.shape[axis], step)
            values = np.maximum.reduceat(values, starts, axis=axis)
    return values


def _upright(values: np.ndarray) -> np.ndarray:
    """Frames to the right, bins upwards, as bytes."""
    return np.ascontiguousarray(values.T[::-1].round().astype(np.uint8))


def _png(image, **options) -> bytes:
    content = io.BytesIO()
    image.save(content, format="PNG", optimize=False, compress_level=6, **options)
    return content.getvalue()
