"""The files of a model from elsewhere, beside its YAML: weights and class names.

Weights are read without unpickling code. Before that the archive is looked at: nothing
in it may unpack to more than the file has.
"""

import ast
import re
import zipfile

import torch
from speechbrain.dataio.encoder import CategoricalEncoder

from speechbrain_lmac.classifiers.checkpoint import load_weights
from speechbrain_lmac.errors import InputError

NAME = re.compile(r"[A-Za-z]\w*")
LARGEST_ENCODER = 2**20  # bytes


def load_loadables(hparams, file):
    """Load what the YAML of a model lists as the loadables of its pretrainer.

    Arguments
    ---------
    hparams : dict
        From `safe_hparams.read_safely`; all weights of its `modules` have to be
        listed.
    file : callable
        The name of a file to its path, where it can be read.

    Raises
    ------
    InputError
        When a file cannot be had, is not what it should be, or does not fit.
    """
    pretrainer = hparams.get("pretrainer")
    if pretrainer is None:
        raise InputError(
            f"the YAML of the model has no pretrainer, but {', '.join(hparams)}: it "
            "does not say which weights belong to it"
        )
    for name, loadable in pretrainer.loadables.items():
        if not NAME.fullmatch(name):
            raise InputError(f"{name!r} is no name of a file of weights")
        path = file(f"{name}.ckpt")
        if isinstance(loadable, CategoricalEncoder):
            load_encoder(loadable, path)
        else:
            check_archive(path)
            load_weights(loadable, path)
    check_all_loaded(hparams.get("modules") or {}, pretrainer.loadables)


def check_all_loaded(modules, loadables):
    """Refuse a model of which some weights are in no file: they would be random.

    Raises
    ------
    InputError
        Naming the module.
    """
    weights = [p for p in loadables.values() if isinstance(p, torch.nn.Module)]
    loaded = {id(weight) for module in weights for weight in module.parameters()}
    for name, module in modules.items():
        if any(id(weight) not in loaded for weight in module.parameters()):
            raise InputError(
                f"the YAML of the model does not say where the weights of {name} are: "
                "pretrainer.loadables lacks it"
            )


def check_archive(path):
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


def load_encoder(encoder, path):
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


def _number(pair):
    return pair[1]


def _pair(line):
    """'dog' => 4 as a tuple."""
    left, arrow, right = line.rpartition(" => ")
    if not arrow:
        raise ValueError(f"{line[:80]!r} is not NAME => NUMBER")
    return ast.literal_eval(left), ast.literal_eval(right)
