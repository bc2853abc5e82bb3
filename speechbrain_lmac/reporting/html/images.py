"""Spectrograms and masks as PNG images with one pixel per cell."""

import io
from typing import Any

import numpy as np
from PIL import Image

FLOOR_DB = -80.0
# Colour of the mask over the grey spectrogram, safe for colour-blind readers.
MASK_COLOUR = (255, 122, 0)
LARGEST = (1200, 260)  # maximum size in pixels: frames, bins


def spectrogram_png(magnitude: np.ndarray) -> bytes:
    """Draw a spectrogram in grey: white is 0 dB, the maximum, and black -80 dB.

    Arguments
    ---------
    magnitude : numpy.ndarray
        Shape (T, F), not negative.

    Returns
    -------
    png : bytes
        PNG data, T wide and F high, at most `LARGEST`, with the lowest bin at the
        bottom.
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
    """Draw a mask as an overlay of one colour whose opacity is the mask.

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
    """Downsample a map (T, F) to at most `LARGEST` cells by max pooling.

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
    """Return values (T, F) as bytes (F, T), the lowest bin last."""
    return np.ascontiguousarray(values.T[::-1].round().astype(np.uint8))


def _png(image: Image.Image, **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, format="PNG", optimize=False, compress_level=6, **options)
    return content.getvalue()
