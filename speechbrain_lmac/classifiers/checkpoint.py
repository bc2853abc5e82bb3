"""Reading and writing a trained classifier: its weights and its class names.

A model says in `CHECKPOINTS` which file holds the weights of which of its
submodules ("" is the model itself), so that the public checkpoints and our own
are read and written by the same lines.
"""

import io
import logging
from pathlib import Path

import torch
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
)
from speechbrain.dataio.encoder import CategoricalEncoder

from speechbrain_lmac.errors import InputError
from speechbrain_lmac.files import write_atomically
from speechbrain_lmac.hub import hub_file
from speechbrain_lmac.labels import LabelEncoder
from speechbrain_lmac.shipped import shipped_models

logger = logging.getLogger(__name__)

LABELS_FILE = "label_encoder.txt"
CLASSIFIER_ADVICE = """\
  Either put {filename} into a folder and name the folder (--classifier_source FOLDER),
  or train a classifier (train_classifier.py hparams/NAME.yaml) and name
  what it writes (results/NAME/SEED/classifier)."""


def save_classifier(model, labels, folder):
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


def load_classifier(model, source):
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


def load_file(model, path):
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


def read_labels(path):
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


def save_weights(module, path, **facts):
    """Write a module's state dict atomically; equal weights make equal files.

    Arguments
    ---------
    module : torch.nn.Module
    path : str or Path
    **facts : str
        Kept as attributes of the state dict, which others' loaders do not look at.
    """
    state = module.state_dict()
    vars(state).update(facts)
    # Into a file torch would write the name of that file, too.
    content = io.BytesIO()
    torch.save(state, content)
    write_atomically(path, lambda part: part.write_bytes(content.getvalue()))


def load_weights(module, path):
    """Load a state dict strictly, and say in one line what does not fit.

    Returns
    -------
    state : dict
        What was in the file, with the facts of `save_weights` as attributes.

    Raises
    ------
    InputError
        When the file is unreadable or is not this module's.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        shapes = {name: tuple(value.shape) for name, value in state.items()}
    except Exception as error:
        raise InputError(
            f"{path} is not a readable checkpoint ({type(error).__name__}): it may be "
            "truncated; make it or download it again"
        ) from error
    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    misfits = [
        f"{name} is {shapes[name]} in the file and {shape} in the model"
        for name, shape in wanted.items()
        if name in shapes and shapes[name] != shape
    ]
    misfits += [f"{name} is missing in the file" for name in wanted.keys() - shapes]
    misfits += [f"{name} is unknown to the model" for name in shapes.keys() - wanted]
    if misfits:
        more = f" (and {len(misfits) - 1} more)" if len(misfits) > 1 else ""
        raise InputError(
            f"the checkpoint {path} does not fit {type(module).__name__}: {misfits[0]}"
            f"{more}.\n  Was it trained with another n_classes or n_components, or "
            "with other widths?"
        )
    module.load_state_dict(state)
    return state


def fetch(source, filename, advice=CLASSIFIER_ADVICE):
    """The path of a file in a folder, a model of the package, or one of the hub.

    Arguments
    ---------
    source : str
        The folder, the name of a shipped model, or a hub id ("user/name").
    filename : str
        The file in it.
    advice : str
        What the error says can be done, with `{filename}` in it.

    Raises
    ------
    InputError
        Naming the file, where to put it, and what can be used in its place.
    """
    folder = Path(source)
    if not folder.is_dir():
        folder = shipped_models().get(str(source), folder)
    path = folder / filename
    if path.is_file():
        return path
    if folder.is_dir():
        reason = "the folder has no such file"
    else:
        try:
            return hub_file(str(source), filename)
        except LocalEntryNotFoundError:
            reason = (
                "there is no such folder, and the hub did not give it: it cannot be "
                "reached, or HF_HUB_OFFLINE is set"
            )
        except HFValidationError:
            reason = "there is no such folder, and it is no hub id (user/name) either"
        except (HfHubHTTPError, OSError) as error:
            reason = (
                "there is no such folder, and the hub did not give it "
                f"({type(error).__name__})"
            )
    raise InputError(
        f"cannot load {filename} from '{source}': {reason}.\n"
        + advice.format(filename=filename)
    )
