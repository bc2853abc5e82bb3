"""Weights and class labels of an untrusted model.

Weights are loaded from a safetensors file if it exists; the `.ckpt` is then never
opened. Else they are loaded from SpeechBrain's `.ckpt` without unpickling code, after a
check that its archive does not expand when unpacked.
"""

import ast
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from speechbrain.dataio.encoder import CategoricalEncoder

from speechbrain_lmac.hub.safe_build import ENCODER
from speechbrain_lmac.hub.weights import SAFETENSORS, load_weights
from speechbrain_lmac.utils.errors import InputError

NAME = re.compile(r"[A-Za-z]\w*")
LARGEST_ENCODER = 2**20  # bytes


def find_weights(
    kinds: Mapping[str, str],
    file: Callable[[str], Path],
    missing: Callable[[str], bool],
) -> tuple[dict[str, Path], int]:
    """Find the files of a model and check their names, sizes and archives.

    Arguments
    ---------
    kinds : mapping
        Name of each loadable to its class, from `safe_build.loadables_of`.
    file : callable
        Takes a file name and returns its path, or raises `InputError`.
    missing : callable
        Takes a file name and returns whether the file is missing.

    Returns
    -------
    paths : dict
        Name of each loadable to the path of its file.
    weight_bytes : int
        Size of all weight files, in bytes.

    Raises
    ------
    InputError
        When a file is missing, or is not a weight file.
    """
    paths: dict[str, Path] = {}
    weight_bytes = 0
    for name, kind in kinds.items():
        if not NAME.fullmatch(name):
            raise InputError(
                f"{name!r} is not a valid name of a weight file: use letters, digits "
                "and _, with a letter first"
            )
        safetensors = f"{name}{SAFETENSORS}"
        if kind == ENCODER or missing(safetensors):
            paths[name] = file(f"{name}.ckpt")
        else:
            paths[name] = file(safetensors)
        if kind != ENCODER:
            if paths[name].suffix != SAFETENSORS:
                check_archive(paths[name])
            weight_bytes += paths[name].stat().st_size
    return paths, weight_bytes


def load_loadables(hparams: Mapping[str, Any], paths: Mapping[str, Path]) -> str | None:
    """Load the weights and class labels in `pretrainer.loadables` of a model.

    Arguments
    ---------
    hparams : mapping
        From `safe_build.build`; all weights of its `modules` must be listed.
    paths : mapping
        Name of each loadable to its file, from `find_weights`.

    Returns
    -------
    trained_for : str or None
        `interpreters.trained.hash_of_classifier` of the classifier that the interpreter
        was trained for; None if its file does not have it.

    Raises
    ------
    InputError
        When a file is invalid, or does not fit its module.
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


def check_all_loaded(modules: Mapping[str, Any], loadables: Mapping[str, Any]) -> None:
    """Raise if a module has weights that no file provides: they would be random.

    Raises
    ------
    InputError
        With the name of the module.
    """
    sources = [p for p in loadables.values() if isinstance(p, torch.nn.Module)]
    loaded = {id(weight) for module in sources for weight in module.parameters()}
    for name, module in modules.items():
        if not isinstance(module, torch.nn.Module):
            raise InputError(
                f"module {name} of the model must be a torch.nn.Module, got "
                f"{type(module).__name__}"
            )
        if any(id(weight) not in loaded for weight in module.parameters()):
            raise InputError(
                f"the weights of {name} are missing from pretrainer.loadables of the "
                "model's YAML"
            )


def check_archive(path: Path) -> None:
    """Raise unless a file is an archive of `torch.save` that does not expand.

    Raises
    ------
    InputError
        For other files, compressed or overlapping entries, and entries outside the
        archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise InputError(
            f"{path} was not written by torch.save of PyTorch 1.6 or later ({error})"
        ) from error
    unpacked = sum(entry.file_size for entry in entries)
    for entry in entries:
        parts = entry.filename.split("/")
        if entry.filename.startswith("/") or ".." in parts or "\\" in entry.filename:
            raise InputError(
                f"{path}: its entry {entry.filename!r} is outside the archive"
            )
        if entry.compress_type != zipfile.ZIP_STORED:
            raise InputError(
                f"{path} must not be compressed, but its entry {entry.filename!r} is"
            )
    size = path.stat().st_size
    if unpacked > size:
        raise InputError(
            f"{path} must not unpack to more than its size of {size:,} bytes, got "
            f"{unpacked:,}"
        )


def load_encoder(encoder: CategoricalEncoder, path: Path) -> None:
    """Load class labels from SpeechBrain's text file; ignore its other content.

    Raises
    ------
    InputError
        When the file is invalid.
    """
    try:
        if path.stat().st_size > LARGEST_ENCODER:
            raise ValueError(f"it has more than {LARGEST_ENCODER:,} bytes")
        lines = path.read_text(encoding="utf-8").split("\n")
        end = lines.index("================")
        numbers = [_pair(line) for line in lines[:end]]
        for label, number in numbers:
            if not isinstance(label, str) or type(number) is not int:
                raise ValueError(f"{label!r} => {number!r} is not a label and an index")
        order = sorted(number for _, number in numbers)
        if order != list(range(len(numbers))):
            raise ValueError("the indices must be 0, 1, 2, ...")
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise InputError(f"{path} has no valid class labels: {error}") from error
    encoder.update_from_iterable(label for label, _ in sorted(numbers, key=_number))


def _number(pair: tuple[Any, Any]) -> int:
    """Return the index of a (label, index) pair."""
    return pair[1]


def _pair(line: str) -> tuple[Any, Any]:
    """Return the line `'dog' => 4` as a tuple."""
    left, arrow, right = line.rpartition(" => ")
    if not arrow:
        raise ValueError(f"expected LABEL => INDEX, got {line[:80]!r}")
    return ast.literal_eval(left), ast.literal_eval(right)
