"""The YAML of a model from elsewhere, read as data: it cannot call what it likes.

HyperPyYAML builds whatever a file names: `!apply:os.system`, but also a plain scalar in
round brackets, which it parses once more with a loader that runs code. So the file of a
model that somebody has published is not given to it. Here the text is parsed once, into
plain values, `Build` and `Refer`. What is built is a class of `ALLOWED` or a layer of
torch.nn, by these lines and no others.
"""

import functools
import importlib
import inspect
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode

from speechbrain_lmac.errors import InputError

LARGEST_FILE = 2**20  # bytes
DEEPEST = 32  # nodes in nodes
LARGEST_NUMBER = 10**7  # of a whole number: sizes beyond it only fill the memory

# Classes of ours: what a mask and a classifier consist of. Out are all that read files,
# fetch from a hub, or import what an argument names: FrozenClassifier,
# TrainedInterpreter, HuggingFaceClassifier, SpeechBrainClassifier, HuggingFaceClap,
# MicrosoftClap, WaveformClassifier, datasets, conditions, trainings.
OURS = {
    "classifiers": "CNN14Classifier CompactClassifier MiniClap WordBag",
    "codec": "Codec",
    "domains": "STFTDomain MagnitudeSTFTDomain WaveformSTFTDomain MelDomain",
    "explainers": "AmortizedExplainer L2IExplainer ZeroShotExplainer",
    "interpreters": "CheckpointedTransformerBlock ClassConditionedInterpreter "
    "ConvActivations ConvInterpreter ConvUpsampler FiLM FiLMInterpreter L2IInterpreter "
    "LearnedOverTime MaskNet MaskNetInterpreter MeanOverTime MelToBins "
    "PresenceInterpreter PublishedActivations PublishedInterpreter "
    "PublishedMelInterpreter PublishedUpsampler SameBins TextAttention "
    "TextAttentionInterpreter TextFiLMInterpreter TransformerBlock",
    "learned": "LearnedDomain",
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
# Of these classes only some arguments: others would lead out of the folder.
ARGUMENTS = {"speechbrain.utils.parameter_transfer.Pretrainer": {"loadables"}}
LAYER = re.compile(r"torch\.nn\.[A-Z]\w*")

PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in "str int float bool null".split()}
MAPPING, SEQUENCE = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"


@dataclass(frozen=True)
class Place:
    """Where something stands."""

    path: Path
    line: int

    def refuse(self, what):
        """An error that names the place, and what it takes to run the file anyway."""
        return InputError(
            f"{self.path}, line {self.line}: {what}. A model from elsewhere may only "
            "build the classes that speechbrain_lmac/safe_hparams.py lists. If you "
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


def read_safely(path, overrides=None):
    """Read and build the YAML file of a model that somebody else has made.

    Arguments
    ---------
    path : str or Path
        Of a file in the form that `export.write_model` writes.
    overrides : dict, optional
        Yours, by key: other values, or for the arguments of a class a dict of them.

    Returns
    -------
    hparams : dict
        As `load_hyperpyyaml` would return it.

    Raises
    ------
    InputError
        For a file that is not readable, and for everything that is not allowed, naming
        the tag and the line, before anything is built.
    """
    path = Path(path)
    tree = parse(path)
    _override(tree, overrides or {}, path)
    built = {}
    for key in tree:
        _build_top(key, tree, built, ())
    return built


def parse(path):
    """The file as plain values, `Build` and `Refer`; nothing is imported or built."""
    try:
        content = path.read_bytes()
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path} as UTF-8: {error}") from error
    if len(content) > LARGEST_FILE:
        raise InputError(
            f"{path} has {len(content):,} bytes: the YAML of a model has at most "
            f"{LARGEST_FILE:,}"
        )
    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except (YAMLError, ValueError) as error:
        raise InputError(f"{path} is not readable as YAML: {error}") from error
    except RecursionError:
        raise InputError(f"{path} is nested too deeply to be a model") from None
    if not isinstance(root, MappingNode) or root.tag != MAPPING:
        raise InputError(f"{path} has no keys: it is not the YAML of a model")
    return _read(root, path, 0)


def _read(node, path, depth):
    """A node as a plain value, `Build` or `Refer`."""
    place = Place(path, node.start_mark.line + 1)
    if depth > DEEPEST:
        raise place.refuse(f"more than {DEEPEST} levels")
    if node.anchor is not None:
        raise place.refuse(f"the anchor &{node.anchor}")
    tag = node.tag
    if isinstance(node, ScalarNode):
        if tag in PLAIN:
            return _plain(node, place)
        arguments = {}
        key = re.fullmatch(r"<(\w+)>", node.value)
        if tag == "!ref" and key:
            return Refer(key.group(1), place)
        if node.value:
            raise place.refuse(f"{tag} {node.value[:80]!r}")
    elif isinstance(node, MappingNode):
        arguments = _mapping(node, path, depth)
        if tag == MAPPING:
            return arguments
    else:
        arguments = [_read(part, path, depth + 1) for part in node.value]
        if tag == SEQUENCE:
            return arguments
    kind, _, name = tag.partition(":")
    if kind not in ("!new", "!name"):
        raise place.refuse(f"the tag {tag}")
    if name not in ALLOWED and not LAYER.fullmatch(name):
        raise place.refuse(f"{tag} is not on the list")
    if name in ARGUMENTS and set(arguments) - ARGUMENTS[name]:
        extra = sorted(map(str, set(arguments) - ARGUMENTS[name]))
        raise place.refuse(f"{tag} with {', '.join(extra)}")
    return Build(name, arguments, kind == "!new", place)


def _plain(node, place):
    """The value of a scalar."""
    kind = node.tag.rpartition(":")[2]
    text = node.value
    if kind == "str":
        return text
    try:
        return _VALUES[kind](text)
    except ValueError as error:
        raise place.refuse(f"{text[:80]!r} is no {kind} ({error})") from error


def _whole(text):
    value = int(text.replace("_", ""), 0) if len(text) < 40 else LARGEST_NUMBER + 1
    if abs(value) > LARGEST_NUMBER:
        raise ValueError(f"beyond {LARGEST_NUMBER:,}")
    return value


def _real(text):
    text = text.replace("_", "").lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


_VALUES = {
    "int": _whole,
    "float": _real,
    "bool": lambda text: text.lower() == "true",
    "null": lambda text: None,
}


def _mapping(node, path, depth):
    """The keys and values of a mapping."""
    values = {}
    for key_node, value_node in node.value:
        place = Place(path, key_node.start_mark.line + 1)
        if key_node.tag != "tag:yaml.org,2002:str" or key_node.anchor is not None:
            raise place.refuse(f"a key with the tag {key_node.tag}")
        if key_node.value in values:
            raise place.refuse(f"the key {key_node.value!r} twice")
        values[key_node.value] = _read(value_node, path, depth + 1)
    return values


def _override(tree, overrides, path):
    """Put other values in place of some."""
    for key, value in overrides.items():
        if key not in tree:
            raise InputError(f"{path} has no key {key!r}, which is to be overridden")
        inner = tree[key]
        inner = inner.arguments if isinstance(inner, Build) else inner
        if isinstance(value, dict) and isinstance(inner, dict):
            _override(inner, value, path)
        else:
            tree[key] = value


def _build_top(key, tree, built, around):
    """Build the value of a key, once."""
    if key not in built:
        built[key] = _build(tree[key], tree, built, (*around, key))
    return built[key]


def _build(value, tree, built, around):
    """A plain value, with everything in it built."""
    if isinstance(value, dict):
        return {k: _build(v, tree, built, around) for k, v in value.items()}
    if isinstance(value, list):
        return [_build(v, tree, built, around) for v in value]
    if isinstance(value, Refer):
        if value.key not in tree or value.key in around:
            raise value.place.refuse(f"!ref <{value.key}> leads nowhere")
        return _build_top(value.key, tree, built, around)
    if isinstance(value, Build):
        arguments = _build(value.arguments, tree, built, around)
        return _make(value, arguments)
    return value


def _make(build, arguments):
    """An object of an allowed class, or the class with its arguments."""
    module, _, name = build.name.rpartition(".")
    made = getattr(importlib.import_module(module), name, None)
    layer = build.name not in ALLOWED
    if not inspect.isclass(made) or (layer and not issubclass(made, torch.nn.Module)):
        raise build.place.refuse(f"{build.name} is no class that could be built")
    given = {} if isinstance(arguments, list) else arguments
    listed = arguments if isinstance(arguments, list) else []
    if not build.now:
        return functools.partial(made, *listed, **given) if arguments else made
    try:
        return made(*listed, **given)
    except (TypeError, ValueError, RuntimeError, MemoryError, ArithmeticError) as error:
        raise InputError(
            f"{build.place.path}, line {build.place.line}: {build.name} cannot be "
            f"built like this: {error}"
        ) from error
