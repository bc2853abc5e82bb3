"""Overrides on the command line: they are put in as the file itself would say it."""

import io
import json
import os
from pathlib import Path

import pytest
from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from speechbrain_lmac.config.inheritance import HPARAMS
from speechbrain_lmac.config.loading import load_experiment
from speechbrain_lmac.config.nodes import tag_of
from speechbrain_lmac.config.resolving import resolve
from speechbrain_lmac.hub.safe_yaml import read_safely
from speechbrain_lmac.publishing.model_folder import _text
from speechbrain_lmac.utils.errors import InputError

PARTS = sorted(HPARAMS.glob("parts/*/*.yaml"))
# YAMNet needs its weights: tests/unit/classifiers/test_yamnet.py.
KINDS = sorted({part.parent.name for part in PARTS} - {"listener"})
EXPERIMENT = """\
seed: 1
folder: data/x
below: !ref <folder>/below
number: 0.5
count: 3
flag: true
empty: null
some_source: null
names: [a, b]
counter: !new:collections.Counter
    a: !ref <seed>
    inner: !name:builtins.dict
        b: 2
bare: !new:collections.OrderedDict
seen: !ref <counter>
"""


@pytest.fixture
def experiment(tmp_path):
    """The file `EXPERIMENT`."""
    path = tmp_path / "experiment.yaml"
    path.write_text(EXPERIMENT)
    return path


def changed(path, **overrides):
    """What the file says with overrides."""
    return YAML().load(resolve(path, overrides))


def built(path, **overrides):
    """What HyperPyYAML makes of that."""
    return load_hyperpyyaml(resolve(path, overrides))


# --- Parts ------------------------------------------------------------------------


def placeholders(node):
    """A value for each placeholder of a part."""
    arguments = {}
    for key, value in node.items():
        if tag_of(value) == "!PLACEHOLDER":
            arguments[key] = 0.5 if key == "alpha" else 8000
        elif isinstance(value, CommentedMap) and (inner := placeholders(value)):
            arguments[key] = inner
    return arguments


def included(part):
    """The node that includes a part, with an argument for each placeholder."""
    tree = YAML().load(part.read_text(encoding="utf-8"))
    arguments = placeholders(tree) if isinstance(tree, CommentedMap) else {}
    return f"!include:{part} {json.dumps(arguments)}"


@pytest.mark.parametrize("part", PARTS, ids=lambda p: p.relative_to(HPARAMS).as_posix())
def test_a_part_that_is_swapped_is_as_if_the_file_had_it(part, tmp_path):
    first = next(p for p in PARTS if p.parent == part.parent)
    path = tmp_path / "experiment.yaml"
    path.write_text(f"seed: 1\npart: {included(part)}\n")
    in_the_file = resolve(path)
    path.write_text(f"seed: 1\npart: {included(first)}\n")
    assert resolve(path, {"part": included(part)}) == in_the_file


SWAPS = {
    "augment": ("augment/waveform.yaml", "Augment"),
    "autoencoder": ("autoencoder/nmf_short.yaml", "SpectralAutoencoder"),
    "classifier": ("classifier/miniclap_tiny.yaml", "MiniClap"),
    "codec": ("codec/sepformer.yaml", "Codec"),
    "condition": ("condition/stems.yaml", "StemCondition"),
    "dataset": ("dataset/captions.yaml", "CaptionDataset"),
    "domain": ("domain/mel.yaml", "MelDomain"),
    "interpreter": ("interpreter/l2i_conv.yaml", "L2IInterpreter"),
    "noise": ("noise/half_generated.yaml", "Sometimes"),
    "objective": ("objective/lmac_finetune.yaml", "GuidedObjective"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_part_can_be_swapped_and_is_built(kind, tmp_path):
    name, wanted = SWAPS[kind]
    path = tmp_path / "experiment.yaml"
    path.write_text(
        "seed: 1\npart: !new:speechbrain_lmac.explainers.AllOnes {}\n__: !ref <part>\n"
    )
    option = f"--part={included(HPARAMS / 'parts' / name)}"
    hparams, _, (_, resolved) = load_experiment([str(path), option])
    assert type(hparams["part"]).__name__ == wanted
    assert f".{wanted}" in resolved and "AllOnes" not in resolved


TOY = "hparams/toy_classifier.yaml"
MEL = "domains.stft.MelDomain"


@pytest.mark.parametrize(
    "option, key, wanted",
    [
        (f"--domain=!new:speechbrain_lmac.{MEL} {{sample_rate: 16000}}", "domain", MEL),
        ("--domain=!include:parts/domain/mel.yaml {sample_rate: 16000}", "domain", MEL),
        (
            "--lr_annealing="
            "!new:speechbrain.nnet.schedulers.ReduceLROnPlateau {factor: 0.1}",
            "lr_annealing",
            "schedulers.ReduceLROnPlateau",
        ),
        (
            "--opt_class=!name:torch.optim.SGD {momentum: 0.9}",
            "opt_class.func",
            "torch.optim.sgd.SGD",
        ),
        (
            "--augment={mixup: !new:speechbrain_lmac.data.augment.Blank {}}",
            "augment.mixup",
            "augment.Blank",
        ),
        ("--augment=null", "augment", "NoneType"),
        (
            "--dataset={prepare: !name:speechbrain_lmac.data_prep.us8k_prepare."
            "prepare_us8k {fold: 2}}",
            "dataset.prepare.func",
            "us8k_prepare.prepare_us8k",
        ),
    ],
)
def test_a_tag_takes_the_place_of_the_one_before(option, key, wanted):
    hparams, _, (_, resolved) = load_experiment([TOY, option])
    first, *rest = key.split(".")
    found = hparams[first]
    for name in rest:
        found = getattr(found, name)
    kind = found if key.endswith("func") else type(found)
    assert f"{kind.__module__}.{kind.__qualname__}".endswith(wanted)
    if "opt_class" in key:
        assert "torch.optim.AdamW" not in resolved
        assert found.__name__ == "SGD"


@pytest.mark.parametrize("text", ["[b, c]", "b,c", " b, c"])
def test_names_with_commas_are_a_list(tmp_path, text):
    path = tmp_path / "experiment.yaml"
    path.write_text("part: [a]\n")
    assert changed(path, part=text)["part"] == ["b", "c"]


@pytest.mark.parametrize("text", ["[b, c]", "b,c", "c, b"])
def test_a_list_keeps_the_named_keys_in_their_order(tmp_path, text):
    path = tmp_path / "experiment.yaml"
    path.write_text("part: {a: !PLACEHOLDER '', b: 1, c: {d: 2}}\n")
    assert list(changed(path, part=text)["part"].items()) == [("b", 1), ("c", {"d": 2})]


@pytest.mark.parametrize("text", ["[b, d]", "d", "[]", "[[b]]", "3"])
def test_a_list_of_keys_that_there_are_not_is_refused(tmp_path, text):
    path = tmp_path / "experiment.yaml"
    path.write_text("part: {a: 1, b: 1}\n")
    with pytest.raises(InputError, match="--part "):
        changed(path, part=text)


def test_a_mapping_without_a_tag_is_merged(experiment):
    tree = changed(experiment, counter="{inner: {c: 3}, d: 4}", bare="{x: 1}")
    assert tag_of(tree["counter"]) == "!new:collections.Counter"
    assert tree["counter"] == {"a": 1, "inner": {"b": 2, "c": 3}, "d": 4}
    assert tree["seen"] is tree["counter"]
    assert tag_of(tree["bare"]) == "!new:collections.OrderedDict"  # had no arguments
    assert tree["bare"] == {"x": 1}


def test_arguments_of_an_include_replace_tagged_nodes_too(tmp_path):
    (tmp_path / "part.yaml").write_text("!new:builtins.dict\na: !new:A {b: 1}\n")
    path = tmp_path / "experiment.yaml"
    path.write_text("part: !include:part.yaml\n    a: !new:C {d: 1}\n")
    part = YAML().load(resolve(path))["part"]
    assert (tag_of(part["a"]), dict(part["a"])) == ("!new:C", {"d": 1})


def test_an_object_that_is_passed_into_an_include_stays_one(tmp_path):
    (tmp_path / "part.yaml").write_text("!new:builtins.dict\na: !PLACEHOLDER\n")
    path = tmp_path / "experiment.yaml"
    path.write_text(
        "one: !new:collections.Counter {a: 1}\n"
        "part: !include:part.yaml\n    a: !ref <one>\n"
    )
    hparams = built(path)
    assert hparams["part"]["a"] is hparams["one"]


def test_includes_of_an_option_are_looked_for_beside_the_file_first(
    tmp_path, monkeypatch
):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a b%41.yaml").write_text("here: mine\n")
    (tmp_path / "other.yaml").write_text("here: current\n")
    path = tmp_path / "mine" / "experiment.yaml"
    path.write_text("part: {}\n")
    monkeypatch.chdir(tmp_path)
    percent = "!include:a%20b%2541.yaml"  # a tag is written as a URI
    assert changed(path, part=percent)["part"]["here"] == "mine"
    assert changed(path, part="!include:other.yaml")["part"]["here"] == "current"
    stft = changed(path, part="!include:parts/domain/mel.yaml {sample_rate: 1}")["part"]
    assert tag_of(stft) == "!new:speechbrain_lmac.domains.MelDomain"
    with pytest.raises(InputError, match=f"no.yaml .*{tmp_path}/mine"):
        changed(path, part="!include:no.yaml")


# --- Text, numbers, lists -----------------------------------------------------------


TEXTS = "x #1|2024|[x]|a: b|true|x=y|with space|-x|1e-4|2024-01-01|{a: 1}|'a'|a\\b|#|&|"


@pytest.mark.parametrize("key", ["folder", "below", "some_source"])
@pytest.mark.parametrize("text", TEXTS.split("|"))
def test_where_the_file_has_text_the_text_arrives(experiment, key, text):
    hparams = built(experiment, **{key: text})
    assert hparams[key] == text and type(hparams[key]) is str
    if key == "folder":
        assert hparams["below"] == f"{text}/below"


def test_what_is_not_text_where_the_file_has_text(experiment):
    assert changed(experiment, folder="null")["folder"] is None
    assert changed(experiment, folder="!ref a/<seed>")["below"] == "a/1/below"
    with pytest.raises(InputError, match=r"--folder \(a\): .*\./"):
        changed(experiment, folder="(a)")


def test_a_tilde_is_the_home_folder(experiment, monkeypatch):
    monkeypatch.setenv("HOME", "/my/home")
    tree = changed(experiment, folder="~/a b", counter="{f: ~/c, g: a~/c}")
    assert (tree["folder"], tree["below"]) == (
        "/my/home/a b",
        "/my/home/a b/below",
    )
    assert tree["counter"]["f"] == "/my/home/c" and tree["counter"]["g"] == "a~/c"
    assert changed(experiment, folder="~")["folder"] == os.path.expanduser("~")


@pytest.mark.parametrize(
    "key, text, value",
    [
        ("number", "1e-4", 0.0001),
        ("number", "-1", -1),
        ("count", "7", 7),
        ("flag", "false", False),
        ("names", "[c]", ["c"]),
        ("empty", "3", 3),
        ("empty", "a: b: c", "a: b: c"),
        ("empty", "x #1", "x #1"),  # what is no number, list or mapping is text
    ],
)
def test_elsewhere_the_value_is_yaml(experiment, key, text, value):
    loaded = built(experiment, **{key: text})[key]
    assert loaded == value and type(loaded) is type(value)


@pytest.mark.parametrize(
    "key, text, message",
    [
        ("number", "hello", "--number must be a finite number, got 'hello'"),
        ("number", ".nan", "finite number, got '.nan'"),
        ("number", "true", "finite number, got 'true'"),
        ("count", "hello", "--count must be a whole number, got 'hello'"),
        ("flag", "maybe", "--flag must be true or false"),
        ("names", "3", "--names must be a list"),
        ("counter", "3", "--counter must be a mapping"),
        ("counter", "{a: [}", "--counter {a: [}: invalid YAML"),
        ("seen", "{a: 1}", "--seen is `!ref <counter>`"),
        ("cuont", "3", "'cuont'. Did you mean 'count'?"),
        ("dev", "cpu", "unknown key 'dev'"),
    ],
)
def test_what_is_refused(experiment, key, text, message):
    with pytest.raises(InputError) as refused:
        resolve(experiment, {key: text})
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


# --- Placeholders, references -------------------------------------------------------


def test_all_placeholders_are_named_with_the_file(tmp_path):
    (tmp_path / "part.yaml").write_text(
        "!new:A\na: !PLACEHOLDER\nb:\n    c: !PLACEHOLDER\nd: !ref <a>\n"
    )
    path = tmp_path / "experiment.yaml"
    path.write_text(
        "folder: !PLACEHOLDER\nlist: [1, !PLACEHOLDER ]\nother: !ref <folder>/x\n"
        "part: !include:part.yaml\n    a: !ref <folder>\n"
    )
    with pytest.raises(InputError) as refused:
        resolve(path)
    assert str(refused.value).startswith(
        f"{path}: folder, list.1, part.b.c are !PLACEHOLDERs"
    )
    filled = changed(path, folder="2024", list="[1]", part="{b: {c: 2}}")
    assert filled["other"] == "2024/x"
    assert filled["part"] == {"a": "2024", "b": {"c": 2}, "d": "2024"}


@pytest.mark.parametrize(
    "text, message",
    [
        ("a: !ref <b>\n", "a: !ref <b> "),
        ("a: [1\n", "experiment.yaml: .*YAML"),
        ("- 1\n", "it has no `key: value` lines"),
        ("", "it has no `key: value` lines"),
        ("a: !include:no.yaml\n", "file to include: no.yaml"),
        (
            "a: !include:parts/classifier/compacct.yaml\n",
            "parts/classifier/compact.yaml",
        ),
    ],
)
def test_files_that_are_refused(tmp_path, text, message):
    path = tmp_path / "experiment.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        resolve(Path(path))


NAMES = [
    "(dog)",
    "yes",
    "12:30",
    "1e5",
    "2024-01-01",
    "a => b",
    "$x$",
    "{a",
    "a {b}",
    "|",
]
NAMES += ["!new:os.system", "<seed>", "!ref <seed>", "#1", "a: b", "", "- x", "雨", "'"]


def test_text_in_quotes_stays_text(experiment):
    for name in NAMES:
        quoted = name.replace("'", "''")
        experiment.write_text(f"{EXPERIMENT}one: '{quoted}'\nlist:\n  - '{quoted}'\n")
        hparams = built(experiment)
        assert (hparams["one"], hparams["list"]) == (name, [name])


def test_text_that_a_model_s_yaml_gets_stays_text(tmp_path):
    for name in NAMES:
        text = io.StringIO()
        YAML().dump({"prompts": [_text(name)], "template": _text(name)}, text)
        (tmp_path / "a.yaml").write_text(text.getvalue(), encoding="utf-8")
        for hparams in (
            load_hyperpyyaml(text.getvalue()),
            read_safely(tmp_path / "a.yaml"),
        ):
            assert hparams == {"prompts": [name], "template": name}


# --- References and includes that lead nowhere --------------------------------------


@pytest.mark.parametrize(
    "text, message",
    [
        ("a: !ref <b>\nb: !ref <a>\n", "b refers to itself"),
        ("a: !ref <a>\n", "a refers to itself"),
        ("a: !ref x/<b>\nb: !ref <a>/y\n", "refers to itself"),
        ("a:\n    inner: !ref <a>\n", "a.inner refers to itself"),
        ("a: !include:experiment.yaml\n", "includes itself, .* experiment"),
        ("a: !ref 1 / <b>\nb: 0\n", "a: !ref 1 / <b> .*zero"),
        ("a: !applyref:os.path.joni [x]\n", "no such callable as os.path.joni"),
        ("a: !applyref:os.listdir [no/folder]\n", "a, !applyref:os.listdir: .*No such"),
        ("a: !applyref:os.path.join {b: 1}\n", "Invalid argument .*'b'"),
        ("a: !include:empty.yaml\n", "empty.yaml is empty"),
    ],
)
def test_a_reference_without_a_value(tmp_path, text, message):
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    (tmp_path / "experiment.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        resolve(tmp_path / "experiment.yaml")


def test_a_bug_in_our_function_of_an_applyref_is_no_mistake_of_the_user(
    tmp_path, monkeypatch
):
    def broken():
        return {}["a bug"]

    broken = type(broken)(broken.__code__, {"__name__": "speechbrain_lmac.data.mine"})
    monkeypatch.setattr("speechbrain_lmac.data.dataset.broken", broken, raising=False)
    path = tmp_path / "experiment.yaml"
    path.write_text("a: !applyref:speechbrain_lmac.data.dataset.broken []\n")
    with pytest.raises(KeyError, match="a bug"):
        resolve(path)


def test_references_to_what_stands_below(tmp_path):
    path = tmp_path / "experiment.yaml"
    (tmp_path / "part.yaml").write_text("size: 1\ndouble: !ref <size> * 2\n")
    path.write_text(
        "first: !ref <my-part[double]>\n"
        "own:\n    one: !ref <own[two]>\n    two: !ref <n>\n"
        "my-part: !include:part.yaml\n    size: !ref <n>\n"
        "n: 4\n"
    )
    assert changed(path) == {
        "first": 8,
        "own": {"one": 4, "two": 4},
        "my-part": {"size": 4, "double": 8},
        "n": 4,
    }


def test_anchors_of_a_file_and_of_its_part_may_have_one_name(tmp_path):
    path = tmp_path / "experiment.yaml"
    (tmp_path / "part.yaml").write_text("c: &x [1]\nd: *x\n")
    path.write_text("a: &x {lr: 1}\npart: !include:part.yaml\nb: *x\n")
    assert changed(path)["b"] == {"lr": 1}
