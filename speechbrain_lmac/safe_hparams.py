"""The YAML of a model from elsewhere, read as data: it cannot call what it likes.

HyperPyYAML builds whatever a file names: `!apply:os.system`, but also a plain scalar in
round brackets, which it parses once more with a loader that runs code. So the file of a
model that somebody has published is not given to it. Here the text is parsed once, into
plain values, `Build` and `Refer`. What is built is a class of `ALLOWED` or a layer of
torch.nn, by these lines and no others, of the keys of `KINDS`, and no larger than the
weight files allow (`bounded`).
"""

import functools
import importlib
import inspect
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.composer import Composer
from ruamel.yaml.nodes import MappingNode, ScalarNode
from ruamel.yaml.resolver import VersionedResolver

from speechbrain_lmac.bounded import BoundedConstruction
from speechbrain_lmac.errors import InputError

LARGEST_FILE = 2**18  # bytes
DEEPEST = 32  # nodes in nodes
MOST_BRACKETS = 100  # open at once
MOST_NODES = 10_000
MOST_REFERENCES = 200
MOST_EXPANDED = 200_000  # nodes, where each reference stands for what it refers to
LARGEST_NUMBER = 2**20  # of a whole number: sizes beyond it only fill the memory
LARGEST_REAL = 1e9
LONGEST_WINDOW = 600.0  # seconds

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
PRETRAINER = "speechbrain.utils.parameter_transfer.Pretrainer"
ENCODER = "speechbrain.dataio.encoder.CategoricalEncoder"
EXPLAINERS = "speechbrain_lmac.explainers."
# Of these classes only some arguments: others would lead out of the folder.
ARGUMENTS = {PRETRAINER: {"loadables"}, ENCODER: set()}
# Where a model computes, and how exactly, is for its user to say.
RUN_ARGUMENTS = {"device", "dtype"}
LAYER = re.compile(r"torch\.nn\.[A-Z]\w*")

PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in "str int float bool null".split()}
MAPPING, SEQUENCE = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"


@dataclass(frozen=True)
class Place:
    """Where something stands."""

    path: Path
    line: int

    def error(self, what):
        """An error that names the place."""
        return InputError(f"{self.path}, line {self.line}: {what}")

    def refuse(self, what):
        """An error that names the place, and what it takes to run the file anyway."""
        return self.error(
            f"{what}. A model from elsewhere may only "
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


def read_safely(path, overrides=None, declared=0):
    """Read and build the YAML file of a model that somebody else has made.

    Arguments
    ---------
    path : str or Path
        Of a file in the form that `export.write_model` writes.
    overrides : dict, optional
        Yours, by key: other values, or for the arguments of a class a dict of them.
    declared : int
        Bytes of the weight files: parameters have at most `bounded.PARAMETERS_PER_BYTE`
        times as many.

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
    with BoundedConstruction(declared):
        return build(parse(path, overrides), path)


class _PlainResolver(VersionedResolver):
    """YAML's own kinds of scalars: HyperPyYAML adds tuples for the whole process."""

    def add_version_implicit_resolver(self, version, tag, regexp, first):
        if str(tag).startswith("tag:yaml.org,2002:"):
            super().add_version_implicit_resolver(version, tag, regexp, first)


def parse(path, overrides=None):
    """The file as plain values, `Build` and `Refer`; nothing is imported or built.

    Raises
    ------
    InputError
        Naming the line, also for a key or a kind of value that no model has.
    """
    path = Path(path)
    tree = _parse(path)
    for key, value in tree.items():
        _check_kind(key, value, path)
    _check_references(tree, path)
    _override(tree, overrides or {}, path)
    return tree


def loadables_of(tree, path):
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


def build(tree, path):
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


class _BoundedComposer(Composer):
    """Nodes of YAML, at most so many and so deep; ruamel.yaml knows no limit."""

    depth = -1  # of the root: 0
    nodes = 0

    def compose_node(self, parent, index):
        self.depth += 1
        self.nodes += 1
        line = self.parser.peek_event().start_mark.line + 1
        if self.depth > DEEPEST:
            raise _TooMuch(line, f"more than {DEEPEST} levels")
        if self.nodes > MOST_NODES:
            raise _TooMuch(line, f"more than {MOST_NODES:,} values")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _TooMuch(Exception):
    """A line, and what it has too much of."""


def _parse(path):
    """The tree of a file, whatever its keys are."""
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_FILE + 1)
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path} as UTF-8: {error}") from error
    if len(content) > LARGEST_FILE:
        raise InputError(
            f"{path} has more than {LARGEST_FILE:,} bytes: it is no YAML of a model"
        )
    # The parser takes a second for thousands of brackets before it says a word.
    if _nesting(text) > MOST_BRACKETS:
        raise InputError(f"{path} has brackets in brackets, more than {MOST_BRACKETS}")
    yaml = YAML(typ="safe", pure=True)
    yaml.Resolver = _PlainResolver
    yaml.Composer = _BoundedComposer
    try:
        root = yaml.compose(text)
    except _TooMuch as error:
        line, what = error.args
        raise Place(path, line).error(what) from None
    except (YAMLError, ValueError) as error:
        said = " ".join(str(error).split())[:300]
        raise InputError(f"{path} is not readable as YAML: {said}") from error
    if not isinstance(root, MappingNode) or root.tag != MAPPING:
        raise InputError(f"{path} has no keys: it is not the YAML of a model")
    return _read(root, path)


def _nesting(text):
    """How deep brackets lie in brackets, wherever they stand."""
    depth = deepest = 0
    for bracket in re.findall(r"[][{}]", text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest


def _is_object(value):
    return isinstance(value, Refer) or (isinstance(value, Build) and value.now)


def _is_encoder(value):
    return isinstance(value, Build) and value.now and value.name == ENCODER


def _is_explainer(value):
    return (
        isinstance(value, Build) and not value.now and value.name.startswith(EXPLAINERS)
    )


def _is_pretrainer(value):
    if not isinstance(value, Build) or not value.now or value.name != PRETRAINER:
        return False
    arguments = value.arguments
    return isinstance(arguments, dict) and _are_references(arguments.get("loadables"))


def _are_references(value):
    if not isinstance(value, dict) or not value:
        return False
    return all(isinstance(part, Refer) for part in value.values())


def _are_texts(value):
    return isinstance(value, list) and all(isinstance(part, str) for part in value)


def _is_window(value):
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (number and 0 < value <= LONGEST_WINDOW)


# Keys of a model, and what may stand there.
KINDS = {
    "window_seconds": (
        _is_window,
        f"a number above 0 and at most {LONGEST_WINDOW:g}, or null",
    ),
    "prompts": (_are_texts, "a list of texts"),
    "template": (lambda value: isinstance(value, str), "a text"),
    "label_encoder": (_is_encoder, f"!new:{ENCODER} without arguments"),
    "explainer": (_is_explainer, f"!name:{EXPLAINERS}..."),
    "modules": (_are_references, "names, each with a !ref <KEY>"),
    "pretrainer": (_is_pretrainer, "a Pretrainer with loadables, each a !ref <KEY>"),
    **dict.fromkeys(
        ("domain", "model", "clap", "interpreter"), (_is_object, "!new:...")
    ),
}
# Keys of what these are made of: built where something refers to them.
PARTS = dict.fromkeys(
    ("stft", "codec", "frequency", "decoder", "upsampler", "mask_net", "psi"),
    (lambda value: isinstance(value, Build | Refer), "!new:... or !name:..."),
)
KEYS = {**KINDS, **PARTS}


def _check_kind(key, value, path):
    """Refuse a key that a model does not have, and another kind of value."""
    if key not in KEYS:
        raise InputError(
            f"{path}: the key {key!r} is none of a model. "
            f"There are: {', '.join(KEYS)}; how a model is run (device, compile, "
            "precision, ...) is for its user to say"
        )
    fits, wanted = KEYS[key]
    if not fits(value):
        raise InputError(f"{path}: {key} has to be {wanted}")


def _check_references(tree, path):
    """Refuse references that are too many, or stand for too much, or lead nowhere."""
    n_references = 0
    sizes = {}

    def size_of(value, around):
        nonlocal n_references
        if isinstance(value, Refer):
            n_references += 1
            if value.key not in tree or value.key in around:
                raise value.place.error(f"!ref <{value.key}> leads nowhere")
            if value.key not in sizes:
                inner = size_of(tree[value.key], (*around, value.key))
                sizes[value.key] = inner
            return sizes[value.key]
        if isinstance(value, Build):
            value = value.arguments
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            return 1 + sum(size_of(part, around) for part in value)
        return 1

    for key, value in tree.items():
        expanded = size_of(value, (key,))
        if expanded > MOST_EXPANDED or n_references > MOST_REFERENCES:
            raise InputError(
                f"{path}: {key} has too many references: at most {MOST_REFERENCES} in "
                f"a file, which stand for {MOST_EXPANDED:,} values"
            )


def _read(node, path):
    """A node as a plain value, `Build` or `Refer`."""
    place = Place(path, node.start_mark.line + 1)
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
        arguments = _mapping(node, path)
        if tag == MAPPING:
            return arguments
    else:
        arguments = [_read(part, path) for part in node.value]
        if tag == SEQUENCE:
            return arguments
    kind, _, name = tag.partition(":")
    if kind not in ("!new", "!name"):
        raise place.refuse(f"the tag {tag}")
    if name not in ALLOWED and not LAYER.fullmatch(name):
        raise place.refuse(f"{tag} is not on the list")
    _check_arguments(tag, name, arguments, place)
    return Build(name, arguments, kind == "!new", place)


def _check_arguments(tag, name, arguments, place):
    """Refuse arguments that lead out of the folder, or say how a model is run."""
    named = arguments if isinstance(arguments, dict) else {}
    extra = set(named) & RUN_ARGUMENTS
    if name in ARGUMENTS:
        listed = arguments if isinstance(arguments, list) else []
        extra = [*map(str, listed), *sorted(set(named) - ARGUMENTS[name])]
    if extra:
        raise place.refuse(f"{tag} with {', '.join(sorted(extra))}")


def _plain(node, place):
    """The value of a scalar."""
    kind = node.tag.rpartition(":")[2]
    text = node.value
    if kind == "str":
        return text
    try:
        return _VALUES[kind](text)
    except ValueError as error:
        raise place.error(f"{text[:80]!r} is no {kind} ({error})") from error


def _whole(text):
    value = int(text.replace("_", ""), 0) if len(text) < 40 else LARGEST_NUMBER + 1
    if abs(value) > LARGEST_NUMBER:
        raise ValueError(f"beyond {LARGEST_NUMBER:,}")
    return value


def _real(text):
    text = text.replace("_", "").lower()
    value = float(text.replace(".inf", "inf").replace(".nan", "nan"))
    if not abs(value) <= LARGEST_REAL:
        raise ValueError(f"no number up to {LARGEST_REAL:g}")
    return value


_VALUES = {
    "int": _whole,
    "float": _real,
    "bool": lambda text: text.lower() == "true",
    "null": lambda text: None,
}


def _mapping(node, path):
    """The keys and values of a mapping."""
    values = {}
    for key_node, value_node in node.value:
        place = Place(path, key_node.start_mark.line + 1)
        if key_node.tag != "tag:yaml.org,2002:str" or key_node.anchor is not None:
            raise place.refuse(f"a key with the tag {key_node.tag}")
        if key_node.value in values:
            raise place.error(f"the key {key_node.value!r} twice")
        values[key_node.value] = _read(value_node, path)
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
            raise value.place.error(f"!ref <{value.key}> leads nowhere")
        return _build_top(value.key, tree, built, around)
    if isinstance(value, Build):
        arguments = _build(value.arguments, tree, built, around)
        return _make(value, arguments)
    return value


def _is_layer(made):
    """Whether a class is a module whose weights have a size from the beginning."""
    lazy = torch.nn.modules.lazy.LazyModuleMixin
    return issubclass(made, torch.nn.Module) and not issubclass(made, lazy)


def _make(build, arguments):
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
