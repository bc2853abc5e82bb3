"""Experiment files that are put together with their parents."""

import shlex

import pytest
from hyperpyyaml import load_hyperpyyaml

from speechbrain_lmac.config.inheritance import (
    PROJECT,
    find_hparams,
    open_hparams,
    top_level_keys,
)
from speechbrain_lmac.config.resolving import resolve
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.old_names import HPARAMS

PARENT = """\
# The parent.
seed: 1
folder: !ref results/parent/<seed>
part:  # with a comment
    a: 1

    b: [1, 2]
last: true
"""


@pytest.fixture
def write(tmp_path):
    """`write(name, text)` writes a file and gives its path."""

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    write("parent.yaml", PARENT)
    return write


def load(path):
    return load_hyperpyyaml(open_hparams(path))


def test_a_file_without_a_parent_is_what_it_is(write):
    path = write("alone.yaml", PARENT)
    assert open_hparams(path).getvalue() == PARENT
    assert open_hparams(path).name == str(path)


def test_a_mapping_is_merged_and_anything_else_takes_the_place(write):
    child = (
        "# Ablation.\nparent: parent.yaml  # here\npart:\n    b: [3]\n    c: 3\n"
        "seed: 2\nmore: !ref <part[c]>\nlast: null\n"
    )
    assert load(write("child.yaml", child)) == {
        "seed": 2,
        "folder": "results/parent/2",
        "part": {"a": 1, "b": [3], "c": 3},
        "more": 3,
    }


def test_a_tag_takes_the_place_with_all_below_it(write):
    write("parent.yaml", "part: !new:collections.Counter\n    a: 1\nseed: 1\n")
    assert load(write("more.yaml", "parent: parent.yaml\npart: {b: 2}")) == {
        "part": {"a": 1, "b": 2},
        "seed": 1,
    }
    other = "parent: parent.yaml\npart: !new:collections.OrderedDict\n    b: 2\n"
    assert load(write("other.yaml", other)) == {"part": {"b": 2}, "seed": 1}


def test_a_list_keeps_the_keys_of_a_mapping_that_it_names(write):
    child = "parent: parent.yaml\npart: [b]\n"
    assert load(write("child.yaml", child))["part"] == {"b": [1, 2]}


def test_null_drops_a_key_of_a_mapping_and_is_a_value_of_a_class(write):
    parent = "part: {a: 1, b: {c: 2, d: 3}}\nclass: !new:collections.Counter {a: 1}\n"
    write("parent.yaml", parent)
    child = "parent: parent.yaml\npart: {a: null, b: {c: null}}\nclass: {a: null}\n"
    loaded = load(write("child.yaml", child))
    assert loaded == {"part": {"b": {"d": 3}}, "class": {"a": None}}


def test_the_head_is_that_of_the_child(write):
    child = "# The child.\n#   python x.py child.yaml\nparent: parent.yaml\na: 1\n"
    text = open_hparams(write("child.yaml", child)).getvalue()
    assert text.startswith("# The child.\n#   python x.py child.yaml\nseed: 1\n")
    assert "The parent." not in text
    bare = open_hparams(write("bare.yaml", "parent: parent.yaml\n")).getvalue()
    assert bare.startswith("seed: 1\n")


def test_what_was_said_of_a_value_goes_with_it(write):
    write("parent.yaml", "a: 1  # one\nb: 2  # two\n")
    text = open_hparams(write("c.yaml", "parent: parent.yaml\na: 3\n")).getvalue()
    assert text.split("\n")[:2] == ["a: 3", "b: 2  # two"]


def test_a_reference_may_stand_above_an_include(write):
    write("part.yaml", "a: !ref <b>\nb: 7\n")
    text = "c: !ref <part[a]>\nd: !ref <c>\npart: !include:part.yaml {}\n"
    assert load_hyperpyyaml(resolve(write("above.yaml", text))) == {
        "c": 7,
        "d": 7,
        "part": {"a": 7, "b": 7},
    }


def test_keys_are_built_in_the_parent_s_order_and_new_ones_last(write):
    # Weights are drawn when a part is built: the order is the seed's.
    child = "parent: parent.yaml\nnew: 1\nlast: 2\nseed: 3\npart: {c: 1}\n"
    keys = top_level_keys(write("child.yaml", child))
    assert keys == ["seed", "folder", "part", "last", "new"]


def test_children_have_children_and_includes_belong_to_their_files(write):
    for folder, value in (("near", 5), ("far", 6)):
        write(f"{folder}/part.yaml", f"a: {value}\nb: {value}\n")
    write("near/parent.yaml", "seed: 1\npart: !include:part.yaml\n    b: 1\n")
    write("far/child.yaml", "parent: ../near/parent.yaml\nseed: 2\n")
    path = write("far/grandchild.yaml", "parent: child.yaml\nmine: !include:part.yaml")
    assert load(path) == {"seed": 2, "part": {"a": 5, "b": 1}, "mine": {"a": 6, "b": 6}}
    assert top_level_keys(path) == ["seed", "part", "mine"]
    merged = "parent: child.yaml\npart: {a: 7}\n"
    assert load(write("far/merged.yaml", merged))["part"] == {"a": 7, "b": 1}


def test_an_include_of_an_earlier_version_is_found_beside_the_parent(write):
    write("near/parts/part.yaml", "a: 5\n")
    write("near/parent.yaml", "part: null\n")
    child = "parent: ../near/parent.yaml\npart: !include:parts/part.yaml\n"
    assert load(write("far/child.yaml", child)) == {"part": {"a": 5}}


@pytest.mark.parametrize(
    "text, message",
    [
        ("parent: no.yaml\n", "parent: no.yaml"),
        ("parent: parent.yaml\nseeds: null\n", "no key 'seeds' to drop.*mean 'seed'"),
        ("parent: parent.yaml\npart: [b, c]\n", "part has no c; .*: a, b"),
        ("parent: parent.yaml\npart: []\n", "part .*empty; .*: a, b"),
        ("parent: parent.yaml\nfolder: {a: 1}\n", "folder is `!ref results.parent"),
        ("parent: parent.yaml\nx: !include:no.yaml\n", "include: no.yaml"),
        ("parent: child.yaml\n", "circular parents: child.yaml -> .*child.yaml"),
        ("parent: parent.yaml\npart: {aa: null}\n", "no key 'aa' to drop.*mean 'a'"),
        ("parent: parent.yaml\n1: 2\n", "keys .*, got 1$"),
        ("parent: [parent.yaml]\n", "parent must be a path"),
    ],
)
def test_what_is_refused(write, text, message):
    with pytest.raises(InputError, match=message):
        open_hparams(write("child.yaml", text))


@pytest.mark.parametrize(
    "child",
    [
        'parent: "parent.yaml"\nseed: 2\n',
        '"parent": parent.yaml\n"seed": 2\n',
        "\ufeffparent: parent.yaml\nseed: 2\n",
        "  parent: parent.yaml\n  seed: 2\n",
        "{parent: parent.yaml, seed: 2}\n",
        "--- # with a head\nparent: parent.yaml\nseed: 2\n",
        "parent: parent.yaml\r\nseed: 2\r\n",
        "seed: 2\n'of mine': 3\nparent:\n    parent.yaml\n",
    ],
)
def test_a_parent_is_found_however_yaml_may_write_it(write, child):
    path = write("child.yaml", child)
    assert load(path)["folder"] == "results/parent/2"
    assert top_level_keys(path)[:2] == ["seed", "folder"]


def test_a_parent_may_be_in_the_home_folder(write, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write("home/my#1.yaml", PARENT)
    assert load(write("child.yaml", "parent: ~/my#1.yaml\n"))["seed"] == 1


def test_anchors_of_two_files_may_have_one_name(write):
    write("parent.yaml", "a: &x {of: parent}\nb: 0\nc: *x\n")
    child = "parent: parent.yaml\nb: &x {of: child}\nd: *x\n"
    parts = load(write("child.yaml", child))
    assert [parts[key]["of"] for key in "abcd"] == ["parent", "child"] * 2


def test_a_table_that_is_a_run_of_another_file_now_is_told():
    name = "hparams/esc10_table_td.yaml"
    with pytest.raises(InputError, match="hparams/esc10_table.*--blocks") as refused:
        find_hparams(name)
    command = str(refused.value).partition("--output_folder: ")[2]
    file, *options = shlex.split(command)
    assert find_hparams(file).is_file()
    assert options[:3] == ["--blocks", "STFT,TD", "--methods"]
    for old, (file, options) in HPARAMS.items():
        words = iter(shlex.split(options))
        overrides = {key.removeprefix("--"): next(words) for key in words}
        assert resolve(find_hparams(f"hparams/{file}"), overrides)
        assert not (PROJECT / "hparams" / old).exists()
