"""The key `recipe` of an experiment file: its script."""

import difflib
import re
import shlex
from pathlib import Path

from speechbrain_lmac.config.inheritance import PROJECT, find_hparams, read_tree
from speechbrain_lmac.utils.errors import InputError, some_of

# Files of earlier versions name it in their first comment, as a command.
COMMAND = re.compile(r"^#\s+python (?:\S*/)?(\w+)\.py ", flags=re.MULTILINE)
RECIPES = PROJECT / "recipes"
RENAMED = {"pretrain_codec": "train_codec"}  # in YAML files for version 0.2


def recipe_of(path: Path | str) -> str | None:
    """Return the recipe of an experiment file.

    Arguments
    ---------
    path : str or Path
        The file.

    Returns
    -------
    recipe : str or None
        The key `recipe` of the file or of its parents, such as `train_lmac`. None
        without the key, and in a list of ablations for version 0.3, where the key names
        the script of the trainings: `train_lmac.py`.
    """
    named = read_tree(path).get("recipe")
    if not isinstance(named, str) or not re.fullmatch(r"\w+", named):
        return None
    return RENAMED.get(str(named), str(named))


def recipe_to_run(path: Path) -> str:
    """Return the recipe of an experiment file: its key, or else its first comment.

    Arguments
    ---------
    path : Path
        The file.

    Returns
    -------
    recipe : str
        For example `train_lmac`.

    Raises
    ------
    InputError
        If the file names no recipe, or an unknown one.
    """
    recipe = recipe_of(path)
    if recipe is None:
        command = COMMAND.search(path.read_text(encoding="utf-8"))
        if command is None:
            raise InputError(
                f"{path}: missing key `recipe`: begin the file with a line like "
                "`recipe: train_lmac`"
            )
        recipe = RENAMED.get(command[1], command[1])
    ours = sorted(file.stem for file in RECIPES.glob("[!_]*.py"))
    if recipe not in ours:
        close = difflib.get_close_matches(recipe, ours)
        hint = f"did you mean '{close[0]}'?" if close else f"known: {some_of(ours)}"
        raise InputError(f"{path}: unknown recipe '{recipe}'; {hint}")
    return recipe


def check_recipe(path: Path, recipe: str) -> None:
    """Raise if a file is for another recipe.

    Arguments
    ---------
    path : Path
        The file. Without the key `recipe` any script may run it.
    recipe : str
        For example `train_lmac`.

    Raises
    ------
    InputError
        With the command that runs the file.
    """
    if recipe_of(path) not in (None, recipe):
        its = recipe_to_run(path)
        raise InputError(
            f"{path} is for {its}.py, not for {recipe}.py: run "
            f"`python recipes/{its}.py {shlex.quote(str(path))}`"
        )


def check_trains(path: Path | str, command: str) -> None:
    """Raise unless a file is the experiment file of a training.

    Arguments
    ---------
    path : str or Path
        The file. One without the key `recipe` passes.
    command : str
        Name of the script that reads it, for the message.

    Raises
    ------
    InputError
        Naming the file's own script.
    """
    path = find_hparams(path)
    recipe = recipe_of(path)
    if recipe is not None and not recipe.startswith("train_"):
        raise InputError(
            f"{path} is for {recipe}.py: {command} needs the YAML file of a training"
        )
