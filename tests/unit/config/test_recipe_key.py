"""Which script an experiment file is for."""

import pytest

from speechbrain_lmac.config.loading import load_experiment
from speechbrain_lmac.config.recipe_key import (
    check_recipe,
    check_trains,
    recipe_of,
    recipe_to_run,
)
from speechbrain_lmac.utils.errors import InputError

HEAD = "# A codec.\n#   python recipes/train_codec.py codec.yaml\n"


@pytest.fixture
def experiment(tmp_path):
    """`experiment(text, name)`: a file with that text."""

    def experiment(text, name="experiment.yaml"):
        path = tmp_path / name
        path.write_text(f"{text}seed: 1\n")
        return path

    return experiment


@pytest.mark.parametrize(
    "text, key, run",
    [
        ("recipe: train_lmac\n", "train_lmac", "train_lmac"),
        ('recipe: "train_lmac"  # a comment\n', "train_lmac", "train_lmac"),
        # The key, not the head.
        (f"{HEAD}recipe: train_lmac\n", "train_lmac", "train_lmac"),
        # Files of earlier versions.
        (HEAD, None, "train_codec"),
        ("#   python pretrain_codec.py codec.yaml\n", None, "train_codec"),
        (
            "#   python ablations.py a.yaml\nrecipe: train_lmac_zs.py\n",
            None,
            "ablations",
        ),
        # Not at the left margin, so another key.
        (f"{HEAD}part:\n    recipe: train_lmac\n", None, "train_codec"),
    ],
)
def test_the_key_comes_before_the_head(experiment, text, key, run):
    path = experiment(text)
    assert (recipe_of(path), recipe_to_run(path)) == (key, run)


def test_a_child_has_the_recipe_of_its_parent(experiment):
    experiment("recipe: train_l2i\n", "parent.yaml")
    child = experiment("parent: parent.yaml\n", "child.yaml")
    assert recipe_of(child) == recipe_to_run(child) == "train_l2i"


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "missing key `recipe`"),
        ("recipe: train_lmca\n", "recipe 'train_lmca'; .*'train_lmac'?"),
        ("recipe: xyz\n", "recipe 'xyz'; .*ablations, "),
    ],
)
def test_a_file_for_no_recipe(experiment, text, message):
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        recipe_to_run(experiment(text))


def test_the_file_of_another_recipe_is_refused_before_anything_else(tmp_path):
    path = tmp_path / "my file.yaml"
    path.write_text("recipe: train_codec\nmodel: !new:nothing.Nothing\n")
    message = f"run `python recipes/train_codec.py '{path}'`"
    with pytest.raises(InputError, match="train_codec.py, .*train_lmac.py"):
        load_experiment([str(path)], recipe="train_lmac")
    with pytest.raises(InputError, match=message):
        load_experiment([str(path), "--no_such=1"], recipe="train_lmac")


def test_scripts_that_take_every_file(experiment):
    assert load_experiment([str(experiment("recipe: train_codec\n"))])[0]["seed"] == 1
    check_recipe(experiment("recipe: train_codec\n"), "train_codec")
    check_recipe(experiment(HEAD), "train_lmac")  # of an earlier version
    mine = experiment("recipe: my_recipe\n")  # a script of the user's
    check_recipe(mine, "my_recipe")


def test_explanations_need_the_file_of_a_training(experiment):
    check_trains(experiment("recipe: train_lmac\n"), "explain.py")
    check_trains(experiment(""), "explain.py")  # of an earlier version
    with pytest.raises(InputError, match="evaluate.py: explain.py "):
        check_trains(experiment("recipe: evaluate\n"), "explain.py")
