"""The files of a model from elsewhere, beside its YAML: weights and class names.

Weights are read from safetensors where there is such a file, else from SpeechBrain's
`.ckpt` without unpickling code. Before that the archive is looked at: nothing in it may
unpack to more than the file has. Of a folder that has both, the `.ckpt` is not opened,
so that it cannot matter here if it holds something else.
"""

import ast
import re
import zipfile
from pathlib import Path

import torch
from speechbrain.dataio.encoder import CategoricalEncoder

from speechbrain_lmac.hub.safe_build import ENCODER
from speechbrain_lmac.hub.weights import SAFETENSORS, load_weights
from speechbrain_lmac.utils.errors import InputError

NAME = re.compile(r"[A-Za-z]\w*")
LARGEST_ENCODER = 2**20  # bytes


def find_weights(kinds: dict[str, str], file, missing) -> tuple:
    """Find the files of a model, and look at the outside of each.

    Arguments
    ---------
    kinds : dict
        From `safe_build.loadables_of`.
    file : callable
        The name of a file to its path, where it can be read.
    missing : callable
        The name of a file to whether the model has none of that name.

    Returns
    -------
    paths : dict
        Name to path.
    declared : int
        Bytes of all weight files.

    Raises
    ------
    InputError
        When a file cannot be had, or is none that could be weights.
    """
    paths, declared = {}, 0
    for name, kind in kinds.items():
        if not NAME.fullmatch(name):
            raise InputError(f"{name!r} is no name of a file of weights")
        tensors = f"{name}{SAFETENSORS}"
        if kind == ENCODER or missing(tensors):
            paths[name] = file(f"{name}.ckpt")
        else:
            paths[name] = file(tensors)
        if kind != ENCODER:
            if paths[name].suffix != SAFETENSORS:
                check_archive(paths[name])
            declared += paths[name].stat().st_size
    return paths, declared


def load_loadables(hparams: dict, paths: dict[str, Path]) -> str | None:
    """Load what the YAML of a model lists as the loadables of its pretrainer.

    Arguments
    ---------
    hparams : dict
        From `safe_build.build`; all weights of its `modules` have to be listed.
    paths : dict
        Name of each loadable to its file, from `find_weights`.

    Returns
    -------
    trained_for : str or None
        What `interpreters.trained.hash_of_classifier` says of the classifier that the
        interpreter was trained for, if its file tells.

    Raises
    ------
    InputError
        When a file is not what it should be, or does not fit.
    """
    loadables, states = hparams["pretrainer"].loadables, {}
    for name, loadable in loadables.items():
        if isinstance(loadable, CategoricalEncoder):
            load_encoder(loadable, paths[name])
        elif isinstance(loadable, torch.nn.Module):
            states[name] = load_weights(loadable, paths[name])
        else:
            raise InputError(f"{type(loadable).__name__} {name} has no weights to load")
    check_all_loaded(hparams.get("modules") or {}, loadables)
    return getattr(states.get("interpreter"), "classifier", None)


def check_all_loaded(modules: dict[str, str], loadables: dict) -> None:
    """Refuse a model of which some weights are in no file: they would be random.

    Raises
    ------
    InputError
        Naming the module.
    """
    weights = [p for p in loadables.values() if isinstance(p, torch.nn.Module)]
    loaded = {id(weight) for module in weights for weight in module.parameters()}
    for name, module in modules.items():
        if not isinstance(module, torch.nn.Module):
            raise InputError(
                f"the module {name} of the model is of the class "
                f"{type(module).__name__}, which is no torch.nn.Module"
            )
        if any(id(weight) not in loaded for weight in module.parameters()):
            raise InputError(
                f"the YAML of the model does not say where the weights of {name} are: "
                "pretrainer.loadables lacks it"
            )


def check_archive(path: Path) -> None:
    """Refuse a file that is not what torch.save writes, or that unpacks to more.

    Raises
    ------
    InputError
        For another kind of file, compressed or overlapping entries, and names that
        lead elsewhere.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise InputError(
            f"{path} is not a checkpoint as torch.save writes it since 2020 ({error})"
        ) from error
    unpacked = sum(entry.file_size for entry in entries)
    for entry in entries:
        parts = entry.filename.split("/")
        if entry.filename.startswith("/") or ".." in parts or "\\" in entry.filename:
            raise InputError(f"{path} has an entry that leads out: {entry.filename!r}")
        if entry.compress_type != zipfile.ZIP_STORED:
            raise InputError(f"{path} has a compressed entry, {entry.filename!r}")
    size = path.stat().st_size
    if unpacked > size:
        raise InputError(f"{path} has {size:,} bytes and unpacks to {unpacked:,}")


def load_encoder(encoder, path: Path) -> None:
    """Load class names from SpeechBrain's text file, without anything else in it.

    Raises
    ------
    InputError
        When the file is no such text.
    """
    try:
        if path.stat().st_size > LARGEST_ENCODER:
            raise ValueError(f"it has more than {LARGEST_ENCODER:,} bytes")
        lines = path.read_text(encoding="utf-8").split("\n")
        end = lines.index("================")
        numbers = [_pair(line) for line in lines[:end]]
        for label, number in numbers:
            if not isinstance(label, str) or type(number) is not int:
                raise ValueError(f"{label!r} => {number!r} is no name and number")
        order = sorted(number for _, number in numbers)
        if order != list(range(len(numbers))):
            raise ValueError("the numbers are not 0, 1, 2, ...")
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise InputError(f"{path} holds no class names: {error}") from error
    encoder.update_from_iterable(label for label, _ in sorted(numbers, key=_number))


def _number(pair: tuple[str, int]) -> int:
    return pair[1]


def _pair(line: str) -> tuple:
    """'dog' => 4 as a tuple."""
    left, arrow, right = line.rpartition(" => ")
    if not arrow:
        raise ValueError(f"{line[:80]!r} is not NAME => NUMBER")
    return ast.literal_eval(left), ast.literal_eval(right)
