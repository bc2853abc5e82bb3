"""Write docs/experiments.md, the table of the YAML files, from their head comments.

    python tools/experiments.py

The first sentence says what a file is for, the command below it which recipe takes it.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "experiments.md"
FOLDERS = {
    "Experiments": "hparams",
    "Ablations": "hparams/ablations",
    "Generated sounds, for the tests": "tests/hparams",
}
RECIPE = re.compile(r"^ +python (\w+\.py) ", flags=re.MULTILINE)
INTRODUCTION = """\
# Experiment files

Written by `make experiments` from the first lines of the files; not by hand.

The parts that they are made of stand in `hparams/parts`, one object in each file.
`explain.py` takes the YAML of a training of L-MAC, LMAC-TD or LMAC-ZS. A file of
UrbanSound8K is for the test fold that `--fold` names ([datasets](guide/datasets.md)).
An ablation has one key other than its parent ([training](guide/train.md#ablations));
those of the generated sounds stand in the lists of `ablations.py`."""


def page():
    """The text of docs/experiments.md."""
    lines = [INTRODUCTION]
    for title, folder in FOLDERS.items():
        lines += ["", f"## {title}", "", "| YAML | recipe | what |", "|---|---|---|"]
        for path in sorted((ROOT / folder).glob("*.yaml")):
            what, recipe = read_head(path)
            lines.append(f"| `{folder}/{path.name}` | `recipes/{recipe}` | {what} |")
    return "\n".join(lines) + "\n"


def read_head(path):
    """Read what a YAML file says of itself.

    Arguments
    ---------
    path : Path
        Of a file that begins with a comment.

    Returns
    -------
    what, recipe : str
        The first sentence of the comment, and the name of the script that it names.

    Raises
    ------
    ValueError
        When one of them is missing.
    """
    comment = re.match(r"(?:#.*\n)*", path.read_text(encoding="utf-8"))[0]
    text = re.sub(r"^#", "", comment, flags=re.MULTILINE)
    recipe = RECIPE.search(text)
    said = " ".join((text[: recipe.start()] if recipe else text).split())
    sentence = re.match(r".+?[.?](?= |$)", said)
    if recipe is None or sentence is None:
        raise ValueError(
            f"{path}: it must begin with a comment that says in a sentence what it is, "
            "and below that the command: #   python RECIPE.py PATH"
        )
    return sentence[0].rstrip("."), recipe[1]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
