"""Self-contained model folders, written from the results of a training run.

A folder has `hyperparams.yaml` (no includes, only classes of `safe_build`), the
weights, the class names, `model.json`, a card, and an example with its explanation.
"""

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.scalarstring import SingleQuotedScalarString
from ruamel.yaml.tag import Tag

from speechbrain_lmac.classifiers.checkpoint import LABELS_FILE, load_classifier
from speechbrain_lmac.classifiers.clap.classifier import ClapClassifier
from speechbrain_lmac.classifiers.frozen import Frozen
from speechbrain_lmac.classifiers.labels import LabelEncoder
from speechbrain_lmac.config.loading import load_experiment
from speechbrain_lmac.domains.codec import is_trainable, pretrained_codec
from speechbrain_lmac.hub.safe_yaml import KEYS
from speechbrain_lmac.hub.weights import SAFETENSORS, save_weights
from speechbrain_lmac.interpreters.trained import (
    INTERPRETER_FILE,
    hash_of_classifier,
    load_interpreter,
    save_interpreter,
)
from speechbrain_lmac.training.training_record import check_publishable, read_training
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import write_text

YAML_FILE = "hyperparams.yaml"

# Functions that load weights in an experiment, and the argument that replaces them in
# the published YAML, as weights are loaded from the model folder.
LOADERS = {
    "!apply:speechbrain_lmac.domains.codec.frozen_codec": "codec",
    "!apply:speechbrain_lmac.domains.codec.pretrained_codec": "codec",
    "!apply:speechbrain_lmac.classifiers.clap.miniclap.trained_clap": "clap",
}
AMORTIZED = "!name:speechbrain_lmac.explainers.AmortizedExplainer"
ENCODER = "!new:speechbrain.dataio.encoder.CategoricalEncoder"
PRETRAINER = "!new:speechbrain.utils.parameter_transfer.Pretrainer"
INTERFACE = '''"""For `speechbrain.inference.interfaces.foreign_class`."""

from speechbrain_lmac.inference import {interface}  # noqa: F401
'''
HEAD = """\
# Written by publish.py of speechbrain_lmac. Read it with
#   from speechbrain_lmac.inference import {interface}
#   model = {interface}.from_hparams(FOLDER)
# which builds only the classes of an allow-list.
# yamllint disable
"""


@dataclass(frozen=True)
class Trained:
    """A finished training run: its experiment with trained weights, and its YAML."""

    folder: Path
    hparams: dict[str, Any]  # built
    tree: CommentedMap  # the YAML with resolved references
    classifier: Frozen | ClapClassifier  # with its labels
    record: dict[str, Any]  # training.json

    @property
    def explains(self) -> bool:
        """Whether the model has an interpreter; if not, it is a classifier."""
        return "interpreter" in self.hparams

    @property
    def interface(self) -> str:
        """Name of the class of `speechbrain_lmac.inference` that loads the model."""
        return "AudioExplainer" if self.explains else "AudioClassifier"

    @property
    def classifier_key(self) -> str:
        """The YAML key of the classifier: "model", or "clap" if zero-shot."""
        return "clap" if "clap" in self.hparams else "model"

    @property
    def labels(self) -> list[str]:
        """C class names, or prompts, in the order of the logits."""
        return list(self.classifier.labels or ())

    @property
    def modules(self) -> dict[str, torch.nn.Module]:
        """The modules with weights, by the stems of their weight files."""
        hparams, key = self.hparams, self.classifier_key
        modules: dict[str, torch.nn.Module] = {}
        if isinstance(self.classifier, ClapClassifier):
            modules[key] = hparams["clap"]
        else:
            assert isinstance(self.classifier.model, torch.nn.Module)
            modules[key] = self.classifier.model
        if "codec" in hparams:
            modules["codec"] = hparams["codec"]
        if self.explains:
            modules["interpreter"] = hparams["interpreter"]
        return modules


def open_trained(folder: str | Path, overrides: Sequence[str] = ()) -> Trained:
    """Load the experiment of a training run, with its best weights.

    Arguments
    ---------
    folder : str or Path
        The output folder of train_classifier.py, train_lmac.py, train_lmac_td.py,
        train_lmac_zs.py or train_l2i.py.
    overrides : sequence of str
        Options of the command line, e.g. `--classifier_source FOLDER`.

    Returns
    -------
    trained : Trained

    Raises
    ------
    InputError
        If `folder` is not such a folder, if training is not finished or has no
        publishable weights (`training_record.check_publishable`), or if a required file
        is missing.
    """
    folder = Path(folder)
    path = folder / YAML_FILE
    if not path.is_file():
        raise InputError(
            f"{folder} has no training (missing {YAML_FILE}): give the output "
            "folder of a training"
        )
    record = read_training(folder)
    try:
        hparams, _, (path, resolved) = load_experiment([str(path), *overrides])
    except InputError as error:
        raise InputError(
            f"{error}\n  Paths in {path} are relative to the folder in which training "
            "was started: run this command there, or correct the paths in that file."
        ) from error
    if "domain" not in hparams or not {"model", "classifier"} & set(hparams):
        raise InputError(
            f"{folder} has neither a classifier nor an interpreter to publish: give "
            "the output folder of train_classifier.py, train_lmac.py, "
            "train_lmac_td.py, train_lmac_zs.py or train_l2i.py"
        )
    if not {"model", "clap"} & set(hparams):
        raise InputError(
            f"{folder}: {type(hparams['classifier']).__name__} is a third-party "
            "classifier, whose weights publish.py cannot publish; expected a "
            "classifier under the key `model` or `clap` of the YAML"
        )
    if "interpreter" in hparams:
        source = str(folder / INTERPRETER_FILE)
        load_interpreter(
            hparams["interpreter"], source, classifier=hparams["classifier"]
        )
        check_publishable(record, hparams["interpreter"], folder)
        if "codec" in hparams and is_trainable(hparams["codec"]):
            pretrained_codec(hparams["codec"], str(folder / "codec"))
        classifier = hparams["classifier"]
        if not hparams["domain"].listenable:
            raise InputError(
                f"{folder}: masks of {type(hparams['domain']).__name__} cannot be "
                "decoded to audio; publish an interpreter trained on the STFT"
            )
    else:
        model = hparams["model"]
        classifier = Frozen(model, load_classifier(model, str(folder / "classifier")))
        check_publishable(record, model, folder)
    return Trained(
        folder=folder,
        hparams=hparams,
        tree=YAML().load(resolved),
        classifier=classifier,
        record=record,
    )


def write_model(trained: Trained, folder: Path) -> None:
    """Write the YAML, the weights and the class names of a model.

    The files are reproducible: they depend only on the model.

    Arguments
    ---------
    trained : Trained
    folder : Path
        An existing folder.
    """
    for name, module in trained.modules.items():
        # `safe_loading` reads the first file, SpeechBrain the second.
        for path in (folder / f"{name}{SAFETENSORS}", folder / f"{name}.ckpt"):
            if name == "interpreter":
                save_interpreter(module, path, hash_of_classifier(trained.classifier))
            else:
                save_weights(module, path)
    if trained.classifier_key == "model":
        encoder = encoder_of(trained.labels)
        encoder.save(str(folder / "label_encoder.ckpt"))
        encoder.save(str(folder / LABELS_FILE))  # for people, and --classifier_source
    text = io.StringIO()
    writer = YAML()
    writer.indent(mapping=4, sequence=4, offset=2)
    writer.dump(model_tree(trained), text)
    head = HEAD.format(interface=trained.interface)
    write_text(head + text.getvalue(), folder / YAML_FILE)
    interface = INTERFACE.format(interface=trained.interface)
    write_text(interface, folder / "custom_interface.py")


def encoder_of(labels: Iterable[str]) -> LabelEncoder:
    """Return a SpeechBrain encoder for class names in the order of the logits."""
    encoder = LabelEncoder()
    encoder.update_from_iterable(labels)
    return encoder


def model_tree(trained: Trained) -> CommentedMap:
    """Return the content of `hyperparams.yaml`.

    It contains the parts of the training run's YAML that the model needs. Top-level
    objects that are referenced by others are written once and referenced if their key
    is allowed in a model (`safe_yaml.KEYS`); otherwise they are copied to every place
    where they are used.

    Returns
    -------
    tree : CommentedMap
    """
    tree, hparams = trained.tree, trained.hparams
    tops = {id(node): key for key, node in tree.items() if _tag(node)}
    written = CommentedMap()

    def need(key: str) -> None:
        if key not in written:
            written[key] = bare(tree[key], inside=key)

    def bare(node: Any, inside: str | None = None) -> Any:
        tag = _tag(node)
        if tag in LOADERS:
            return bare(node[LOADERS[tag]])
        key = tops.get(id(node), inside)
        if key != inside and key in KEYS:
            need(key)
            return _tagged("!ref", f"<{key}>")
        return _copied(node, bare)

    seconds = hparams["dataset"].n_samples / hparams["dataset"].sample_rate
    written["window_seconds"] = seconds
    loadables = list(trained.modules)
    for key in ("domain", trained.classifier_key):
        need(key)
    if trained.classifier_key == "clap":
        words = CommentedSeq(map(_text, hparams["clap"].vocabulary.words))
        words.fa.set_flow_style()
        written["clap"]["words"] = words
        written["prompts"] = CommentedSeq(map(_text, trained.labels))
        written["template"] = trained.classifier.template
    else:
        written["label_encoder"] = _tagged(ENCODER, CommentedMap())
        loadables.append("label_encoder")
    used = ["domain", trained.classifier_key]
    if trained.explains:
        need("interpreter")
        used.append("interpreter")
        explainer = tree.get("explainer")
        if explainer is None:
            written["explainer"] = _tagged(AMORTIZED, "")
        else:
            written["explainer"] = bare(explainer, inside="explainer")
    written["modules"] = CommentedMap(
        {name: _tagged("!ref", f"<{name}>") for name in used}
    )
    refs = CommentedMap({name: _tagged("!ref", f"<{name}>") for name in loadables})
    written["pretrainer"] = _tagged(PRETRAINER, CommentedMap(loadables=refs))
    return written


def _tag(node: object) -> str | None:
    """Return the tag of a YAML node, or None."""
    tag = getattr(node, "tag", None)
    return None if tag is None or tag.value is None else str(tag.value)


def _tagged(tag: str, value: Any) -> Any:
    """Return a string, mapping or sequence as a YAML node with a tag."""
    if isinstance(value, str):
        return TaggedScalar(value, None, Tag(suffix=tag))
    value.yaml_set_ctag(Tag(suffix=tag))
    return value


def _copied(node: Any, bare: Callable[[Any], Any]) -> Any:
    """Copy a node without comments and anchors, with `bare` applied to its children."""
    copy: CommentedMap | CommentedSeq
    if isinstance(node, CommentedMap):
        copy = CommentedMap({key: bare(part) for key, part in node.items()})
    elif isinstance(node, CommentedSeq):
        copy = CommentedSeq([bare(part) for part in node])
        if not any(isinstance(part, dict | list) for part in node):
            copy.fa.set_flow_style()
    elif isinstance(node, TaggedScalar):
        return TaggedScalar(str(node.value), None, Tag(suffix=_tag(node)))
    else:
        return _text(node) if isinstance(node, str) else node
    tag = _tag(node)
    return copy if tag is None else _tagged(tag, copy)


def _text(value: str) -> str:
    """Quote a string if HyperPyYAML would not read it as a string.

    HyperPyYAML reads YAML 1.1, and strings in parentheses as tuples.
    """
    try:
        plain = yaml.safe_load(value) == value and not value.startswith("(")
    except yaml.YAMLError:
        plain = False
    return value if plain else SingleQuotedScalarString(value)
