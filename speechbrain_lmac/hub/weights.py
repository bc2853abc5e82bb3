"""Weight files: writing, safe reading, and lookup by name."""

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
FACTS = ("classifier", "domain")  # metadata keys read from a weight file
DTYPES = (
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool),
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
)
CLASSIFIER_ADVICE = """\
  Either put {filename} into a folder and pass the folder (--classifier_source FOLDER),
  or train a classifier (python recipes/train_classifier.py hparams/NAME.yaml) and
  pass its folder (results/NAME/SEED/classifier)."""


def save_weights(module: torch.nn.Module, path: Path | str, **facts: str) -> None:
    """Write the state dict of a module atomically; equal weights give equal files.

    Arguments
    ---------
    module : torch.nn.Module
    path : str or Path
        Its suffix sets the format: `SAFETENSORS`, or torch.save for any other.
    **facts : str
        Metadata of safetensors, or attributes of the state dict, which other loaders
        ignore.
    """
    state = module.state_dict()
    if Path(path).suffix == SAFETENSORS:
        # Copies: the format does not allow tensors that share memory.
        copies = {name: value.cpu().clone() for name, value in state.items()}
        content = safetensors.torch.save(copies, facts or None)
    else:
        vars(state).update(facts)
        # Via a buffer: torch would store the name of the temporary file in it.
        stream = io.BytesIO()
        torch.save(state, stream)
        content = stream.getvalue()
    write_atomically(path, lambda part: part.write_bytes(content))


def read_weights(path: Path | str) -> OrderedDict[str, torch.Tensor]:
    """Return the state dict in a file, without running code from it.

    Arguments
    ---------
    path : str or Path

    Returns
    -------
    state : OrderedDict
        Name to dense tensor of any shape on the CPU, with the facts of `save_weights`
        as attributes.

    Raises
    ------
    InputError
        When the file is unreadable, is not a state dict, or has NaN or infinite values.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # about tensors rejected below
            if Path(path).suffix == SAFETENSORS:
                with safetensors.safe_open(path, framework="pt") as file:
                    content = {name: file.get_tensor(name) for name in file.keys()}
                    facts = file.metadata() or {}
            else:
                content = torch.load(path, map_location="cpu", weights_only=True)
                facts = getattr(content, "__dict__", {})
    except Exception as error:
        raise InputError(
            f"{path} is not a readable checkpoint ({type(error).__name__}): it is "
            "truncated, or not a file of weights; write or download it again, or set "
            "another path"
        ) from error
    if not isinstance(content, dict):
        raise InputError(
            f"{path} is not a readable checkpoint: expected a state dict, got "
            f"{type(content).__name__}; save `module.state_dict()`"
        )
    # A new state dict: the one in the file may have an attribute called `items`.
    state = OrderedDict(dict.items(content))
    for name, value in state.items():
        fault = _fault_of(value)
        if fault is not None:
            raise InputError(
                f"{path} is not a readable checkpoint: {str(name)!r} {fault}"
            )
    vars(state).update({fact: facts[fact] for fact in FACTS if fact in facts})
    return state


def _fault_of(value: object) -> str | None:
    """Return why a value of a state dict is not a valid weight, or None."""
    if not isinstance(value, torch.Tensor):
        return f"is not a tensor but {type(value).__name__}"
    if value.layout is not torch.strided:
        return "is a sparse tensor: save the weights as dense ones"
    if value.device.type != "cpu":
        return f"has no values: it was saved from the device {value.device.type}"
    if value.dtype not in DTYPES:
        return f"has the type {value.dtype}: save the weights as floats or integers"
    # An expanded dimension (stride 0) is stored once.
    sizes = zip(value.shape, value.stride(), strict=True)
    stored = value.as_strided(
        [size if step else min(size, 1) for size, step in sizes], value.stride()
    )
    if value.is_floating_point() and not torch.isfinite(stored).all():
        return (
            "has weights that are NaN or infinite: the training diverged, or the file "
            "is damaged; use weights of an earlier epoch"
        )
    return None


def load_weights(
    module: torch.nn.Module, path: Path | str
) -> OrderedDict[str, torch.Tensor]:
    """Load a state dict strictly, with a one-line error for a mismatch.

    Returns
    -------
    state : OrderedDict
        The tensors of the file, of any shape, with the facts of `save_weights` as
        attributes.

    Raises
    ------
    InputError
        When the file is unreadable, does not fit the module, or has NaN or infinite
        values.
    """
    state = read_weights(path)
    own = module.state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    expected = {name: tuple(value.shape) for name, value in own.items()}
    misfits = [
        f"{name} is {shapes[name]} in the file and {shape} in the model"
        for name, shape in expected.items()
        if name in shapes and shapes[name] != shape
    ]
    misfits += [f"{name} is missing from the file" for name in expected.keys() - shapes]
    misfits += [f"{name} is unknown to the model" for name in shapes.keys() - expected]
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
            f"{more}. Check n_classes, n_components and the widths that it was trained "
            "with"
        )
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        message = " ".join(str(error).split())[:300]
        raise InputError(f"cannot load the checkpoint {path}: {message}") from error
    return state


def fetch(source: Path | str, filename: str, advice: str = CLASSIFIER_ADVICE) -> Path:
    """Return the path of a file in a folder, a shipped model, or a model on the hub.

    Arguments
    ---------
    source : str or Path
        The folder, the name of a shipped model, or a hub id ("user/name").
    filename : str
        A file in it.
    advice : str
        Last lines of the error message; may contain `{filename}`.

    Returns
    -------
    path : Path
        In the hub's cache for a model on the hub.

    Raises
    ------
    InputError
        When the file is missing, with the remedy.
    """
    folder = Path(source)
    path = folder / filename
    if path.is_file():
        return path
    if str(source) in shipped_models():
        folder = SHIPPED / str(source)
        shipped = shipped_files(str(source)).get(filename)
        if shipped is not None:
            return shipped
    if folder.is_dir():
        names = some_of(sorted(file.name for file in folder.iterdir()), 5)
        reason = f"no such file in the folder, which contains {names or 'no files'}"
    else:
        try:
            return hub_file(str(source), filename)
        except LocalEntryNotFoundError:
            reason = (
                "no such folder, and the hub cannot be reached or HF_HUB_OFFLINE is set"
            )
        except HFValidationError:
            reason = "no such folder, and not a hub id (user/name)"
        except (HfHubHTTPError, OSError) as error:
            reason = f"no such folder, and the hub failed with {type(error).__name__}"
    raise InputError(
        f"cannot load {filename} from '{source}': {reason}.\n"
        + advice.format(filename=filename)
    )
