"""Experiments that stand in a list: texts of files with a parent."""

import shlex

import pytest

from speechbrain_lmac.config.loading import extend_import_path, load_experiment
from speechbrain_lmac.config.resolving import resolve
from speechbrain_lmac.utils.errors import InputError

PARENT = """\
seed: 1
output_folder: !ref results/parent/<seed>
options: !new:collections.Counter {a: 1, b: 2}
methods: [1]
noise: 3
"""
LIST = """\
seed: 2
experiments:
    parent: parent.yaml
    mine:
        what: |
            what it is,
            in words.
        parent: parent.yaml
        output_folder: !ref results/mine/<seed>
        options: {b: 0}  # none
        methods: !include:part.yaml {c: !ref <noise>}
        noise: null
"""


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """`listed(text)`: a list beside a parent; we are elsewhere."""
    folder = tmp_path / "my #1 é雨, [x]"
    folder.mkdir()
    (folder / "parent.yaml").write_text(PARENT)
    (folder / "part.yaml").write_text("c: 5\nd: 6\n")
    monkeypatch.chdir(tmp_path)

    def listed(text=LIST):
        (folder / "list.yaml").write_text(text)
        return folder / "list.yaml"

    return listed


def written(text, tmp_path):
    """A text as a file elsewhere."""
    path = tmp_path / "elsewhere" / "mine.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_a_mapping_is_a_file_with_a_parent(listed, tmp_path):
    experiments = load_experiment([str(listed())])[0]["experiments"]
    assert experiments["parent"] == "parent.yaml"
    text = experiments["mine"]
    assert text.startswith("# Ablation of parent: what it is, in words.\n")
    path = written(text.replace("\nnoise:\n", "\nnoise: 7\n"), tmp_path)
    hparams, _, _ = load_experiment([str(path)])
    assert hparams == {
        "seed": 1,
        "output_folder": "results/mine/1",
        "options": {"a": 1, "b": 0},
        "methods": {"c": 7, "d": 6},
        "noise": 7,
    }


def test_null_drops_a_key_of_the_parent(listed, tmp_path):
    text = load_experiment([str(listed())])[0]["experiments"]["mine"]
    path = written(text.replace("{c: !ref <noise>}", "{}"), tmp_path)
    assert "noise" not in load_experiment([str(path)])[0]


def test_modules_beside_the_list_are_found_by_the_text_as_well(listed, tmp_path):
    path = listed()
    text = load_experiment([str(path)])[0]["experiments"]["mine"]
    folders = extend_import_path(written(text, tmp_path))
    assert folders == [str(tmp_path / "elsewhere"), str(path.parent), str(tmp_path)]


def test_what_a_list_resolves_to_is_such_a_list(listed, tmp_path):
    resolved = resolve(listed())
    assert resolve(written(resolved, tmp_path)) == resolved


def test_rows_are_chosen_and_added_on_the_command_line(listed):
    path = listed()
    chosen = load_experiment([str(path), "--experiments=mine"])[0]["experiments"]
    assert list(chosen) == ["mine"]
    row = "{other: {what: w, parent: parent.yaml, noise: !ref <seed>}}"
    argv = shlex.split(f"'{path}' --experiments='{row}'")
    experiments = load_experiment(argv)[0]["experiments"]
    assert list(experiments) == ["parent", "mine", "other"]
    assert "noise: !ref <seed>" in experiments["other"]


@pytest.mark.parametrize(
    "row, message",
    [
        ("{parent: parent.yaml}", "experiments.mine: missing key `what`"),
        ("{what: w}", "experiments.mine: missing key `parent`"),
        ("{what: w, parent: null}", "experiments.mine: missing key `parent`"),
        ("{what: w, parent: no.yaml}", "experiments.mine: .*parent: no.yaml"),
        (
            "{what: w, parent: parent.yaml, x: !include:no.yaml {}}",
            "include: no.yaml",
        ),
    ],
)
def test_an_error_of_a_mapping_names_its_row(listed, row, message):
    with pytest.raises(InputError, match=message):
        resolve(listed(f"experiments:\n    mine: {row}\n"))
