"""The allow-list for the YAML of an untrusted model, and the construction of its parts.

Only classes of `ALLOWED` and layers of torch.nn are built, with a size limited by that
of the weight files (`limits`).
"""

import functools
import importlib
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from speechbrain_lmac.utils.errors import InputError

# Our classes of masks and classifiers, without those that read files, download, or
# import the module that an argument names: FrozenClassifier, TrainedInterpreter,
# HuggingFaceClassifier, SpeechBrainClassifier, HuggingFaceClap, MicrosoftClap,
# WaveformClassifier, datasets, conditions, trainings.
OURS = {
    "classifiers": "CNN14Classifier CompactClassifier MiniClap WordBag",
    "domains.codec": "Codec",
    "domains": "LearnedDomain MagnitudeSTFTDomain MelDomain STFTDomain "
    "WaveformSTFTDomain",
    "domains.learned": "LearnedDomain",
    "explainers": "AmortizedExplainer L2IExplainer ZeroShotExplainer",
    "interpreters": "CheckpointedTransformerBlock ClassConditionedInterpreter "
    "ConvActivations ConvInterpreter ConvUpsampler FiLM FiLMInterpreter L2IInterpreter "
    "LearnedOverTime MaskNet MaskNetInterpreter MeanOverTime MelToBins "
    "PresenceInterpreter PublishedActivations PublishedInterpreter "
    "PublishedMelInterpreter PublishedUpsampler SameBins TextAttention "
    "TextAttentionInterpreter TextFiLMInterpreter TransformerBlock",
}
# SpeechBrain's lobes and features, and the label encoder and pretrainer of a model.
SPEECHBRAIN = (
    "speechbrain.dataio.encoder.CategoricalEncoder",
    "speechbrain.lobes.features.Fbank",
    "speechbrain.lobes.features.MFCC",
    "speechbrain.lobes.models.Cnn14.Cnn14",
    "speechbrain.nnet.linear.Linear",
    "speechbrain.processing.features.DCT",
    "speechbrain.processing.features.Deltas",
    "speechbrain.processing.features.Filterbank",
    "speechbrain.processing.features.ISTFT",
    "speechbrain.processing.features.STFT",
    "speechbrain.utils.parameter_transfer.Pretrainer",
)
ALLOWED = {
    f"speechbrain_lmac.{module}.{name}"
    for module, names in OURS.items()
    for name in names.split()
} | set(SPEECHBRAIN)
PRETRAINER = "speechbrain.utils.parameter_transfer.Pretrainer"
ENCODER = "speechbrain.dataio.encoder.CategoricalEncoder"
EXPLAINERS = "speechbrain_lmac.explainers."
# The arguments allowed for these classes: others could name files outside the folder.
ARGUMENTS = {PRETRAINER: {"loadables"}, ENCODER: set()}
# Device and precision are chosen by the user, not by the model.
RUN_ARGUMENTS = {"device", "dtype"}
LAYER = re.compile(r"torch\.nn\.[A-Z]\w*")


@dataclass(frozen=True)
class Place:
    """A line of a file."""

    path: Path
    line: int

    def error(self, message: str) -> InputError:
        """Return an error that names the file and the line."""
        return InputError(f"{self.path}, line {self.line}: {message}")

    def refuse(self, message: str) -> InputError:
        """Return an error for a part that is not allowed, with the remedy."""
        return self.error(
            f"{message}. An untrusted model may only build the classes listed "
            "in speechbrain_lmac/hub/safe_build.py. If you trust its author, "
            "trust_remote_code=True builds it anyway; it can then run any code in your "
            "name on this computer"
        )


@dataclass(frozen=True)
class Build:
    """`!new:` or `!name:`: a class to call, or to bind with its arguments."""

    name: str
    arguments: dict[str, Any] | list[Any]
    is_new: bool  # `!new:`, a class to call
    place: Place


@dataclass(frozen=True)
class Refer:
    """`!ref <key>`: the object of another top-level key."""

    key: str
    place: Place


Check = Callable[[Any], bool]

# Keys of parts, which are built only if they are referenced.
PARTS: dict[str, tuple[Check, str]] = dict.fromkeys(
    ("stft", "codec", "frequency", "decoder", "upsampler", "mask_net", "psi"),
    (lambda value: isinstance(value, Build | Refer), "!new:... or !name:..."),
)


def loadables_of(tree: dict[str, Any], path: Path | str) -> dict[str, str]:
    """Return the names of a parsed YAML's weight files, and their classes.

    Returns
    -------
    kinds : dict
        Name of each loadable to the name of its class, in the order of the file.

    Raises
    ------
    InputError
        When the YAML has no valid `pretrainer.loadables`.
    """
    pretrainer = tree.get("pretrainer")
    if pretrainer is None:
        raise InputError(
            f"{path}: missing key pretrainer, which lists the weights of the model; "
            f"its keys are {', '.join(tree)}"
        )
    kinds = {}
    for name, reference in pretrainer.arguments["loadables"].items():
        target = tree.get(reference.key)
        if not isinstance(target, Build) or not target.is_new:
            raise reference.place.error(
                f"!ref <{reference.key}> must refer to a key with `!new:`, a module "
                "whose weights are loaded"
            )
        kinds[name] = target.name
    return kinds


def build(tree: dict[str, Any], path: Path) -> dict[str, Any]:
    """Build the modules, the explainer and the pretrainer of a parsed YAML.

    Returns
    -------
    hparams : dict
        Without the keys of unused parts.
    """
    built: dict[str, Any] = {}
    for key in tree:
        if key not in PARTS:
            _build_top(key, tree, built, ())
    return {key: built[key] for key in tree if key in built}


def _build_top(
    key: str, tree: dict[str, Any], built: dict[str, Any], around: tuple[str, ...]
) -> Any:
    """Build the value of a key, once; `around` are the keys being built."""
    if key not in built:
        built[key] = _build(tree[key], tree, built, (*around, key))
    return built[key]


def _build(
    value: Any, tree: dict[str, Any], built: dict[str, Any], around: tuple[str, ...]
) -> Any:
    """Return a value with all parts in it built."""
    if isinstance(value, dict):
        return {k: _build(v, tree, built, around) for k, v in value.items()}
    if isinstance(value, list):
        return [_build(v, tree, built, around) for v in value]
    if isinstance(value, Refer):
        if value.key not in tree or value.key in around:
            raise value.place.error(
                f"!ref <{value.key}> must refer to another key of this file, and not "
                "back to the key that contains it"
            )
        return _build_top(value.key, tree, built, around)
    if isinstance(value, Build):
        arguments = _build(value.arguments, tree, built, around)
        return _make(value, arguments)
    return value


def _is_layer(kind: type) -> bool:
    """Whether a class is a torch.nn module whose weights are not lazy."""
    lazy = torch.nn.modules.lazy.LazyModuleMixin
    return issubclass(kind, torch.nn.Module) and not issubclass(kind, lazy)


def _make(build: Build, arguments: dict[str, Any] | list[Any]) -> Any:
    """Return an object of an allowed class, or the class bound to its arguments."""
    module, _, name = build.name.rpartition(".")
    kind = getattr(importlib.import_module(module), name, None)
    layer = build.name not in ALLOWED
    if not inspect.isclass(kind) or (layer and not _is_layer(kind)):
        raise build.place.refuse(f"{build.name} is not a class that may be built")
    named = {} if isinstance(arguments, list) else arguments
    listed = arguments if isinstance(arguments, list) else []
    if not build.is_new:
        return functools.partial(kind, *listed, **named) if arguments else kind
    try:
        return kind(*listed, **named)
    except Exception as error:
        message = " ".join(str(error).split())[:300] or type(error).__name__
        raise build.place.error(
            f"{build.name} cannot be built with these arguments: {message}"
        ) from error
