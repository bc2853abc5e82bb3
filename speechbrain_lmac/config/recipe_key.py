"""The key `recipe` of an experiment file: the script that it is for."""

import difflib
import re
import shlex
from pathlib import Path

from speechbrain_lmac.config.inheritance import PROJECT, read_tree
from speechbrain_lmac.utils.errors import InputError, some_of

# Files of earlier versions say it in their head, as a command.
COMMAND = re.compile(r"^#\s+python (?:\S*/)?(\w+)\.py ", flags=re.MULTILINE)
RECIPES = PROJECT / "recipes"
RENAMED = {"pretrain_codec": "train_codec"}  # in YAML files for version 0.2


def recipe_of(path: Path) -> str | None:
    """The recipe that an experiment file is for.

    Arguments
    ---------
    path : str or Path
        The file.

    Returns
    -------
    recipe : str or None
        `train_lmac`, as its key `recipe` says, or that of its parents. Without the
        key it is None. So it is in a list of ablations for version 0.3, where the key
        names the script of the trainings: `train_lmac.py`.
    """
    named = read_tree(path).get("recipe")
    if not isinstance(named, str) or not re.fullmatch(r"\w+", named):
        return None
    return RENAMED.get(str(named), str(named))


def recipe_to_run(path: Path) -> str:
    """The recipe that runs an experiment file: of its key, else of its head.

    Arguments
    ---------
    path : Path
        The file.

    Returns
    -------
    recipe : str
        As `train_lmac`.

    Raises
    ------
    InputError
        For a file that does not say it, and for one that names no recipe of ours.
    """
    recipe = recipe_of(path)
    if recipe is None:
        command = COMMAND.search(path.read_text(encoding="utf-8"))
        if command is None:
            raise InputError(
                f"{path} does not say which script it is for: begin it with a line "
                "like `recipe: train_lmac`"
            )
        recipe = RENAMED.get(command[1], command[1])
    ours = sorted(file.stem for file in RECIPES.glob("[!_]*.py"))
    if recipe not in ours:
        close = difflib.get_close_matches(recipe, ours)
        hint = f"did you mean '{close[0]}'?" if close else f"there are {some_of(ours)}"
        raise InputError(f"{path}: there is no recipe '{recipe}'; {hint}")
    return recipe


def check_recipe(path: Path, recipe: str) -> None:
    """Refuse a file that is for another recipe than the one that reads it.

    Arguments
    ---------
    path : Path
        The file. Without the key `recipe` any script may run it.
    recipe : str
        As `train_lmac`.

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
