"""Experiment files that are put together with their parents."""

import pytest
from hyperpyyaml import load_hyperpyyaml

from speechbrain_lmac.config.inheritance import open_hparams, top_level_keys
from speechbrain_lmac.utils.errors import InputError

PARENT = """\
# What the parent is.
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
        path.parent.mkdir(exist_ok=True)
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


def test_a_key_takes_the_place_of_the_parent_s_and_of_all_below_it(write):
    child = "# Ablation.\nparent: parent.yaml  # here\npart:\n    c: 3\nseed: 2\n"
    loaded = load(write("child.yaml", child))
    assert loaded == {
        "seed": 2,
        "folder": "results/parent/2",
        "part": {"c": 3},
        "last": True,
    }


def test_children_have_children_and_includes_stay_with_the_last_parent(write):
    write("parts/part.yaml", "a: 5\n")
    write("included.yaml", "seed: 1\npart: !include:parts/part.yaml {}\n")
    write("far/child.yaml", "parent: ../included.yaml\nseed: 2\n")
    path = write("far/grandchild.yaml", "parent: child.yaml\nseed: 3")
    assert load(path) == {"seed": 3, "part": {"a": 5}}
    assert top_level_keys(path) == ["seed", "part"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("parent: no.yaml\n", "there is no parent no.yaml"),
        ("parent: parent.yaml\nseeds: 1\n", "no key 'seeds'; did you mean 'seed'"),
        ("parent: child.yaml\n", "its own parent"),
    ],
)
def test_what_is_refused(write, text, message):
    with pytest.raises(InputError, match=message):
        open_hparams(write("child.yaml", text))
