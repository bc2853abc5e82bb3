"""Reading and writing a trained classifier: its weights and its class names.

A model says in `CHECKPOINTS` which file holds the weights of which of its
submodules ("" is the model itself), so that the public checkpoints and our own
are read and written by the same lines.
"""

import logging
from pathlib import Path

from speechbrain.dataio.encoder import CategoricalEncoder

from speechbrain_lmac.classifiers.labels import LabelEncoder
from speechbrain_lmac.hub.weights import fetch, load_weights, save_weights
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import write_atomically

logger = logging.getLogger(__name__)

LABELS_FILE = "label_encoder.txt"


def save_classifier(model, labels: list[str], folder: Path) -> None:
    """Write weights and class names into a folder, each file atomically.

    Arguments
    ---------
    model : torch.nn.Module
        A classifier with `CHECKPOINTS`.
    labels : list
        Class names in the order of the logits.
    folder : str or Path
        Made when missing.
    """
    folder = Path(folder)
    encoder = LabelEncoder()
    encoder.update_from_iterable(labels)
    write_atomically(folder / LABELS_FILE, encoder.save)
    for filename, name in model.CHECKPOINTS.items():
        save_weights(model.get_submodule(name), folder / filename)


def load_classifier(model, source: Path | str) -> list[str] | None:
    """Load weights in place and return the class names.

    Arguments
    ---------
    model : torch.nn.Module
        A classifier with `CHECKPOINTS` and `n_classes`.
    source : str
        A folder, a hub id ("user/name"), or a file: the state dict of a model that
        has one.

    Returns
    -------
    labels : list or None
        C class names in the order of the logits; None where the source has no
        `label_encoder.txt`.

    Raises
    ------
    InputError
        When a file cannot be had or does not fit the model.
    """
    if Path(source).is_file():
        return load_file(model, source)
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
        n_named = len(encoder)
    except Exception as error:
        raise InputError(
            f"{path} holds no class names ({type(error).__name__}): write it again "
            f"with train_classifier.py, or remove it to do without names"
        ) from error
    if n_named != model.n_classes:
        raise InputError(
            f"{path} names {n_named} classes, but the model has "
            f"{model.n_classes}: set n_classes, or take the {LABELS_FILE} that belongs "
            "to the model"
        )
    return [encoder.ind2lab[index] for index in range(model.n_classes)]


def load_file(model, path: str) -> None:
    """Load the state dict of a model that is stored in one file.

    Class names are not looked for: who names a file names them, too.

    Returns
    -------
    labels : None
    """
    if len(model.CHECKPOINTS) != 1:
        raise InputError(
            f"{type(model).__name__} is stored in several files, "
            f"{', '.join(model.CHECKPOINTS)}: name the folder that holds them, not "
            f"{path}"
        )
    (name,) = model.CHECKPOINTS.values()
    load_weights(model.get_submodule(name), path)


def read_labels(path: Path | str) -> list[str]:
    """Class names of a file, one in each line, in the order of the logits.

    For a YAML: ``labels: !apply:speechbrain_lmac.classifiers.read_labels [FILE]``.

    Raises
    ------
    InputError
        When there is no such file, or nothing in it.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read class names from {path}: {error}") from error
    labels = [line.strip() for line in lines if line.strip()]
    if not labels:
        raise InputError(f"{path} holds no class names: write one in each line")
    return labels
