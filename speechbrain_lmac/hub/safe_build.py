"""What the YAML of a model from elsewhere may build, and how it is built.

What is built is a class of `ALLOWED` or a layer of torch.nn, by these lines and no
others, and no larger than the weight files allow (`limits`).
"""

import functools
import importlib
import inspect
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from speechbrain_lmac.utils.errors import InputError

# Classes of ours: what a mask and a classifier consist of. Out are all that read files,
# fetch from a hub, or import what an argument names: FrozenClassifier,
# TrainedInterpreter, HuggingFaceClassifier, SpeechBrainClassifier, HuggingFaceClap,
# MicrosoftClap, WaveformClassifier, datasets, conditions, trainings.
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
# SpeechBrain's: lobes, features, and what a published model needs.
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
# Of these classes only some arguments: others would lead out of the folder.
ARGUMENTS = {PRETRAINER: {"loadables"}, ENCODER: set()}
# Where a model computes, and how exactly, is for its user to say.
RUN_ARGUMENTS = {"device", "dtype"}
LAYER = re.compile(r"torch\.nn\.[A-Z]\w*")


@dataclass(frozen=True)
class Place:
    """Where something stands."""

    path: Path
    line: int

    def error(self, what: str) -> InputError:
        """An error that names the place."""
        return InputError(f"{self.path}, line {self.line}: {what}")

    def refuse(self, what: str) -> InputError:
        """An error that names the place, and what it takes to run the file anyway."""
        return self.error(
            f"{what}. A model from elsewhere may only "
            "build the classes that speechbrain_lmac/hub/safe_build.py lists. If you "
            "trust who made it, trust_remote_code=True builds it nevertheless; it can "
            "then do anything that you can do on this computer"
        )


@dataclass(frozen=True)
class Build:
    """`!new:` and `!name:`: a class, called now or later."""

    name: str
    arguments: object  # a dict, or a list
    now: bool
    place: Place


@dataclass(frozen=True)
class Refer:
    """`!ref <key>`: what is built for another key at the top."""

    key: str
    place: Place


# Keys of what these are made of: built where something refers to them.
PARTS = dict.fromkeys(
    ("stft", "codec", "frequency", "decoder", "upsampler", "mask_net", "psi"),
    (lambda value: isinstance(value, Build | Refer), "!new:... or !name:..."),
)


def loadables_of(tree: dict, path: Path | str) -> dict[str, str]:
    """The names of the weight files that a parsed YAML asks for, and what they are for.

    Returns
    -------
    kinds : dict
        Name to the name of the class that is built, in the order of the file.

    Raises
    ------
    InputError
        When it does not say which.
    """
    pretrainer = tree.get("pretrainer")
    if pretrainer is None:
        raise InputError(
            f"{path}: the model has no pretrainer, but {', '.join(tree)}: it does not "
            "say which weights belong to it"
        )
    kinds = {}
    for name, reference in pretrainer.arguments["loadables"].items():
        target = tree.get(reference.key)
        if not isinstance(target, Build) or not target.now:
            raise reference.place.error(
                f"!ref <{reference.key}> is nothing that could be loaded"
            )
        kinds[name] = target.name
    return kinds


def build(tree: dict, path: Path) -> dict[str, str]:
    """Build what the modules, the explainer and the weights of a parsed YAML refer to.

    Returns
    -------
    hparams : dict
        Without the keys of parts that nothing refers to.
    """
    built = {}
    for key in tree:
        if key not in PARTS:
            _build_top(key, tree, built, ())
    return {key: built[key] for key in tree if key in built}


def _build_top(key: str, tree: dict, built: dict, around: tuple[str, ...]):
    """Build the value of a key, once."""
    if key not in built:
        built[key] = _build(tree[key], tree, built, (*around, key))
    return built[key]


def _build(value, tree: dict, built: dict, around: tuple[str, ...]):
    """A plain value, with everything in it built."""
    if isinstance(value, dict):
        return {k: _build(v, tree, built, around) for k, v in value.items()}
    if isinstance(value, list):
        return [_build(v, tree, built, around) for v in value]
    if isinstance(value, Refer):
        if value.key not in tree or value.key in around:
            raise value.place.error(f"!ref <{value.key}> leads nowhere")
        return _build_top(value.key, tree, built, around)
    if isinstance(value, Build):
        arguments = _build(value.arguments, tree, built, around)
        return _make(value, arguments)
    return value


def _is_layer(made) -> bool:
    """Whether a class is a module whose weights have a size from the beginning."""
    lazy = torch.nn.modules.lazy.LazyModuleMixin
    return issubclass(made, torch.nn.Module) and not issubclass(made, lazy)


def _make(build: Build, arguments: dict | list):
    """An object of an allowed class, or the class with its arguments."""
    module, _, name = build.name.rpartition(".")
    made = getattr(importlib.import_module(module), name, None)
    layer = build.name not in ALLOWED
    if not inspect.isclass(made) or (layer and not _is_layer(made)):
        raise build.place.refuse(f"{build.name} is no class that could be built")
    given = {} if isinstance(arguments, list) else arguments
    listed = arguments if isinstance(arguments, list) else []
    if not build.now:
        return functools.partial(made, *listed, **given) if arguments else made
    try:
        return made(*listed, **given)
    except Exception as error:
        said = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(
            f"{build.place.path}, line {build.place.line}: {build.name} cannot be "
            f"built like this: {said}"
        ) from error
