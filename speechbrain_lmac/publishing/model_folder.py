"""From the results of a training to a folder that anybody can load.

The folder is self-contained: `hyperparams.yaml` without an include, which names nothing
but classes of `safe_build`, the weights, the class names, `model.json`, a card, and a
sound with its explanation.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.scalarstring import SingleQuotedScalarString
from ruamel.yaml.tag import Tag

from speechbrain_lmac.classifiers.checkpoint import LABELS_FILE, load_classifier
from speechbrain_lmac.classifiers.frozen import Frozen
from speechbrain_lmac.classifiers.labels import LabelEncoder
from speechbrain_lmac.config.loading import load_experiment
from speechbrain_lmac.domains.codec import is_trained, pretrained_codec
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

# Functions of an experiment that load weights: what remains of them in the folder,
# where the weights come from a file beside the YAML, is this argument.
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
# which builds nothing but the classes of an allow-list.
# yamllint disable
"""


@dataclass(frozen=True)
class Trained:
    """A finished training: its experiment, with the weights, and its YAML."""

    folder: Path
    hparams: dict  # built
    tree: CommentedMap  # the YAML, its references resolved
    classifier: object  # frozen, with its labels
    record: dict  # training.json

    @property
    def explains(self) -> bool:
        """Whether there is an interpreter: a classifier alone has none."""
        return "interpreter" in self.hparams

    @property
    def interface(self) -> str:
        """The class of `speechbrain_lmac.inference` that reads it."""
        return "AudioExplainer" if self.explains else "AudioClassifier"

    @property
    def heard(self) -> str:
        """The name of what hears: "model", or "clap" of a zero-shot classifier."""
        return "clap" if "clap" in self.hparams else "model"

    @property
    def modules(self) -> dict:
        """What has weights: the name of its file to the module."""
        hparams = self.hparams
        zero_shot = self.heard == "clap"
        modules = {self.heard: hparams["clap"] if zero_shot else self.classifier.model}
        if "codec" in hparams:
            modules["codec"] = hparams["codec"]
        if self.explains:
            modules["interpreter"] = hparams["interpreter"]
        return modules


def open_trained(folder: str, overrides: list = ()) -> Trained:
    """Read what a training has left, with its best weights.

    Arguments
    ---------
    folder : str or Path
        The output folder of train_classifier.py, train_lmac.py, train_lmac_td.py,
        train_lmac_zs.py or train_l2i.py.
    overrides : sequence of str
        Options of the command line, as `--classifier_source FOLDER`.

    Returns
    -------
    trained : Trained

    Raises
    ------
    InputError
        When it is no such folder, when the training is not finished or has no weights
        to be passed on (`training_record.check_publishable`), or when a file that it
        needs is not there any more.
    """
    folder = Path(folder)
    path = folder / YAML_FILE
    if not path.is_file():
        raise InputError(
            f"{folder} holds no results of a training: it has no {YAML_FILE}. Name the "
            "output_folder of a training"
        )
    record = read_training(folder)
    try:
        hparams, _, (path, resolved) = load_experiment([str(path), *overrides])
    except InputError as error:
        raise InputError(
            f"{error}\n  Folders in {path} are relative to where the training was "
            "started: start there, or write where they are now into that file."
        ) from error
    if "domain" not in hparams or not {"model", "classifier"} & set(hparams):
        raise InputError(
            f"{folder} holds neither a classifier nor an interpreter: there is nothing "
            "that could be listened to"
        )
    if not {"model", "clap"} & set(hparams):
        raise InputError(
            f"{folder}: {type(hparams['classifier']).__name__} is no classifier of "
            "ours, and its weights are others' to publish; a folder can be made of a "
            "classifier that stands at `model` or `clap` in the YAML"
        )
    if "interpreter" in hparams:
        source = str(folder / INTERPRETER_FILE)
        load_interpreter(
            hparams["interpreter"], source, classifier=hparams["classifier"]
        )
        check_publishable(record, hparams["interpreter"], folder)
        if "codec" in hparams and is_trained(hparams["codec"]):
            pretrained_codec(hparams["codec"], str(folder / "codec"))
        classifier = hparams["classifier"]
        if not hparams["domain"].listenable:
            raise InputError(
                f"{folder}: the masks of {type(hparams['domain']).__name__} cannot be "
                "listened to; publish an interpreter that was trained on the STFT"
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

    The files are functions of the model alone: what is written twice is the same.

    Arguments
    ---------
    trained : Trained
    folder : Path
        It is there.
    """
    for name, module in trained.modules.items():
        # Twice: our loader reads the former, SpeechBrain's the latter.
        for path in (folder / f"{name}{SAFETENSORS}", folder / f"{name}.ckpt"):
            if name == "interpreter":
                save_interpreter(module, path, hash_of_classifier(trained.classifier))
            else:
                save_weights(module, path)
    if trained.heard == "model":
        encoder = encoder_of(trained.classifier.labels)
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


def encoder_of(labels: list[str]) -> LabelEncoder:
    """Class names in the order of the logits, as SpeechBrain keeps them."""
    encoder = LabelEncoder()
    encoder.update_from_iterable(labels)
    return encoder


def model_tree(trained: Trained):
    """What `hyperparams.yaml` of the folder says.

    The parts that a model needs, as the training's YAML has them. An object that
    stands at the top and in another one is written once, and referred to, if its key is
    one of a model; of another key it is written where it is needed.

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

    def bare(node, inside: str | None = None):
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
    for key in ("domain", trained.heard):
        need(key)
    if trained.heard == "clap":
        words = CommentedSeq(map(_text, hparams["clap"].vocabulary.words))
        words.fa.set_flow_style()
        written["clap"]["words"] = words
        written["prompts"] = CommentedSeq(map(_text, trained.classifier.labels))
        written["template"] = trained.classifier.template
    else:
        written["label_encoder"] = _tagged(ENCODER, CommentedMap())
        loadables.append("label_encoder")
    used = ["domain", trained.heard]
    if trained.explains:
        need("interpreter")
        used.append("interpreter")
        given = tree.get("explainer")
        if given is None:
            written["explainer"] = _tagged(AMORTIZED, "")
        else:
            written["explainer"] = bare(given, inside="explainer")
    written["modules"] = CommentedMap(
        {name: _tagged("!ref", f"<{name}>") for name in used}
    )
    refs = CommentedMap({name: _tagged("!ref", f"<{name}>") for name in loadables})
    written["pretrainer"] = _tagged(PRETRAINER, CommentedMap(loadables=refs))
    return written


def _tag(node) -> str | None:
    """The tag of a node as it is written, or None."""
    tag = getattr(node, "tag", None)
    return None if tag is None or tag.value is None else str(tag.value)


def _tagged(tag: str, value):
    """A node with a tag: of a text, or of a mapping."""
    if isinstance(value, str):
        return TaggedScalar(value, None, Tag(suffix=tag))
    value.yaml_set_ctag(Tag(suffix=tag))
    return value


def _copied(node, bare):
    """A node without its comments and anchors, its parts as `bare` makes them."""
    if isinstance(node, CommentedMap):
        copy = CommentedMap({key: bare(part) for key, part in node.items()})
    elif isinstance(node, CommentedSeq):
        copy = CommentedSeq([bare(part) for part in node])
        if not any(isinstance(part, dict | list) for part in node):
            copy.fa.set_flow_style()
    elif isinstance(node, TaggedScalar):
        return _tagged(_tag(node), str(node.value))
    else:
        return _text(node) if isinstance(node, str) else node
    return copy if _tag(node) is None else _tagged(_tag(node), copy)


def _text(value: str):
    """A text that stays one, also where HyperPyYAML reads it by YAML 1.1.

    HyperPyYAML reads a text in brackets as a tuple.
    """
    try:
        stays = yaml.safe_load(value) == value and not value.startswith("(")
    except yaml.YAMLError:
        stays = False
    return value if stays else SingleQuotedScalarString(value)
