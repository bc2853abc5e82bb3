"""Files of weights: written, read without running code of them, fetched by name."""

import io
import warnings
from collections import OrderedDict
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
)

from speechbrain_lmac.hub.registry import SHIPPED, shipped_files, shipped_models
from speechbrain_lmac.hub.remote import hub_file
from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.files import write_atomically

SAFETENSORS = ".safetensors"
FACTS = ("classifier",)  # that a file of weights may tell of itself
DTYPES = (
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool),
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
)
CLASSIFIER_ADVICE = """\
  Either put {filename} into a folder and name the folder (--classifier_source FOLDER),
  or train a classifier (train_classifier.py hparams/NAME.yaml) and name
  what it writes (results/NAME/SEED/classifier)."""


def save_weights(module, path: Path | str, **facts) -> None:
    """Write a module's state dict atomically; equal weights make equal files.

    Arguments
    ---------
    module : torch.nn.Module
    path : str or Path
        With the suffix `SAFETENSORS` in that format, else as torch.save writes it.
    **facts : str
        Kept as metadata of safetensors, or as attributes of the state dict, which
        others' loaders do not look at.
    """
    state = module.state_dict()
    if Path(path).suffix == SAFETENSORS:
        # Copies: the format has no tensors that share memory.
        copies = {name: value.cpu().clone() for name, value in state.items()}
        content = safetensors.torch.save(copies, facts or None)
    else:
        vars(state).update(facts)
        # Into a file torch would write the name of that file, too.
        stream = io.BytesIO()
        torch.save(state, stream)
        content = stream.getvalue()
    write_atomically(path, lambda part: part.write_bytes(content))


def read_weights(path: Path | str):
    """Read the state dict of a file without running code of it.

    Arguments
    ---------
    path : str or Path

    Returns
    -------
    state : OrderedDict
        Name to dense tensor on the CPU, with the facts of `save_weights` as attributes.

    Raises
    ------
    InputError
        When the file is unreadable, holds something else, or numbers that are not
        finite.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of tensors refused below
            if Path(path).suffix == SAFETENSORS:
                with safetensors.safe_open(path, framework="pt") as file:
                    found = {name: file.get_tensor(name) for name in file.keys()}
                    facts = file.metadata() or {}
            else:
                found = torch.load(path, map_location="cpu", weights_only=True)
                facts = getattr(found, "__dict__", {})
    except Exception as error:
        raise InputError(
            f"{path} is not a readable checkpoint ({type(error).__name__}): it may be "
            "truncated; make it or download it again"
        ) from error
    if not isinstance(found, dict):
        raise InputError(
            f"{path} is not a readable checkpoint: it holds a {type(found).__name__} "
            "and no state dict"
        )
    # A state dict of its own: an attribute of the file's may be called `items`.
    state = OrderedDict(dict.items(found))
    for name, value in state.items():
        what = _what_is_wrong(value)
        if what is not None:
            raise InputError(
                f"{path} is not a readable checkpoint: {str(name)!r} {what}"
            )
    vars(state).update({fact: facts[fact] for fact in FACTS if fact in facts})
    return state


def _what_is_wrong(value: torch.Tensor):
    """What a value of a state dict is, if it is no weight; or None."""
    if not isinstance(value, torch.Tensor):
        return f"is a {type(value).__name__} and no tensor"
    if value.layout is not torch.strided:
        return "is a sparse tensor: save the weights as dense ones"
    if value.device.type != "cpu":
        return f"has no values: it was saved from the device {value.device.type}"
    if value.dtype not in DTYPES:
        return f"is of the type {value.dtype}: save the weights as floats or integers"
    # Of a number that is repeated to a shape there is only one.
    sizes = zip(value.shape, value.stride(), strict=True)
    stored = value.as_strided(
        [size if step else min(size, 1) for size, step in sizes], value.stride()
    )
    if value.is_floating_point() and not torch.isfinite(stored).all():
        return (
            "has weights that are NaN or infinite: the training went astray, or the "
            "file is damaged; take weights of an earlier epoch"
        )
    return None


def load_weights(module, path: Path | str):
    """Load a state dict strictly, and say in one line what does not fit.

    Returns
    -------
    state : dict
        What was in the file, with the facts of `save_weights` as attributes.

    Raises
    ------
    InputError
        When the file is unreadable, is not this module's, or has weights that are not
        finite.
    """
    state = read_weights(path)
    own = module.state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    wanted = {name: tuple(value.shape) for name, value in own.items()}
    misfits = [
        f"{name} is {shapes[name]} in the file and {shape} in the model"
        for name, shape in wanted.items()
        if name in shapes and shapes[name] != shape
    ]
    misfits += [f"{name} is missing in the file" for name in wanted.keys() - shapes]
    misfits += [f"{name} is unknown to the model" for name in shapes.keys() - wanted]
    misfits += [
        f"{name} is {state[name].dtype} in the file and {value.dtype} in the model"
        for name, value in own.items()
        if name in state
        and state[name].is_floating_point() != value.is_floating_point()
    ]
    if misfits:
        more = f" (and {len(misfits) - 1} more)" if len(misfits) > 1 else ""
        raise InputError(
            f"the checkpoint {path} does not fit {type(module).__name__}: {misfits[0]}"
            f"{more}. Was it trained with another n_classes or n_components, or with "
            "other widths?"
        )
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        said = " ".join(str(error).split())[:300]
        raise InputError(f"the checkpoint {path} cannot be loaded: {said}") from error
    return state


def fetch(source: Path | str, filename: str, advice: str = CLASSIFIER_ADVICE) -> Path:
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
    path = folder / filename
    if path.is_file():
        return path
    if str(source) in shipped_models():
        folder = SHIPPED / str(source)
        path = shipped_files(str(source)).get(filename)
        if path is not None:
            return path
    if folder.is_dir():
        there = some_of(sorted(file.name for file in folder.iterdir()), 5)
        reason = f"the folder has no such file, but {there or 'nothing'}"
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
