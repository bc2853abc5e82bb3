"""Checkpoint files of classifiers: weights and class names.

A model's `CHECKPOINTS` maps each weight file to its submodule ("" is the model itself),
so that public checkpoints and our own are read and written in the same way.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from speechbrain.dataio.encoder import CategoricalEncoder

from speechbrain_lmac.classifiers.labels import LabelEncoder
from speechbrain_lmac.hub.weights import fetch, load_weights, save_weights
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import write_atomically

logger = logging.getLogger(__name__)

LABELS_FILE = "label_encoder.txt"


class StoredModel(Protocol):
    """A module whose weights are stored in files."""

    @property
    def CHECKPOINTS(self) -> Mapping[str, str]:
        """File name to name of the submodule, "" for the model itself."""

    @property
    def n_classes(self) -> int:
        """Number of classes C."""

    def get_submodule(self, target: str) -> torch.nn.Module:
        """Return the submodule of this name."""


def save_classifier(
    model: StoredModel, labels: Sequence[str], folder: Path | str
) -> None:
    """Write weights and class names into a folder, each file atomically.

    Arguments
    ---------
    model : torch.nn.Module
        A classifier with `CHECKPOINTS`.
    labels : sequence of str
        C class names in the order of the logits.
    folder : str or Path
        Created if missing.
    """
    folder = Path(folder)
    encoder = LabelEncoder()
    encoder.update_from_iterable(labels)
    write_atomically(folder / LABELS_FILE, encoder.save)
    for filename, name in model.CHECKPOINTS.items():
        save_weights(model.get_submodule(name), folder / filename)


def load_classifier(model: StoredModel, source: Path | str) -> list[str] | None:
    """Load weights in place and return the class names.

    Arguments
    ---------
    model : torch.nn.Module
        A classifier with `CHECKPOINTS` and `n_classes`.
    source : str or Path
        A folder, a hub id ("user/name"), or, for a model with one checkpoint, the file
        of its state dict.

    Returns
    -------
    labels : list or None
        C class names in the order of the logits; None if the source has no
        `label_encoder.txt`.

    Raises
    ------
    InputError
        When a file is missing, cannot be fetched, or does not fit the model.
    """
    if Path(source).is_file():
        load_file(model, source)
        return None
    for filename, name in model.CHECKPOINTS.items():
        load_weights(model.get_submodule(name), fetch(source, filename))
    try:
        path = fetch(source, LABELS_FILE)
    except InputError:
        logger.warning("%s has no %s", source, LABELS_FILE)
        return None
    encoder = CategoricalEncoder()
    try:
        encoder.load(path)
        encoder.ignore_len()
        n_labels = len(encoder)
    except Exception as error:
        raise InputError(
            f"{path} has no class names ({type(error).__name__}): write it again "
            "with train_classifier.py, or remove it to use no names"
        ) from error
    if n_labels != model.n_classes:
        raise InputError(
            f"{path} has {n_labels} class names, but the model has {model.n_classes} "
            f"classes: set n_classes, or use the model's own {LABELS_FILE}"
        )
    return [encoder.ind2lab[index] for index in range(model.n_classes)]


def load_file(model: StoredModel, path: Path | str) -> None:
    """Load the state dict of a model with one checkpoint, without class names.

    Raises
    ------
    InputError
        When the model has several checkpoints, or the file does not fit.
    """
    if len(model.CHECKPOINTS) != 1:
        raise InputError(
            f"{type(model).__name__} needs the folder of its files "
            f"{', '.join(model.CHECKPOINTS)}, got the file {path}"
        )
    (name,) = model.CHECKPOINTS.values()
    load_weights(model.get_submodule(name), path)


def read_labels(path: Path | str) -> list[str]:
    """Return the class names of a text file, one per line, in the order of the logits.

    For a YAML: ``labels: !apply:speechbrain_lmac.classifiers.read_labels [FILE]``.

    Raises
    ------
    InputError
        When the file is missing, unreadable or empty.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read class names from {path}: {error}") from error
    labels = [line.strip() for line in lines if line.strip()]
    if not labels:
        raise InputError(f"{path} has no class names: write one per line")
    return labels
