"""Write docs/experiments.md, the table of the YAML files, from their first lines.

    python tools/experiments.py

The first sentence describes a file, the command below it names its recipe.
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

Their parts are in `hparams/parts`, one object in each file. `explain.py` takes the YAML
of a training of L-MAC, LMAC-TD or LMAC-ZS. `--fold` sets the test fold of UrbanSound8K
([datasets](guide/datasets.md)). An ablation differs from its parent in one key
([training](guide/train.md#ablations)); those of the generated sounds are in the lists
of `ablations.py`."""


def page():
    """Return the text of docs/experiments.md."""
    lines = [INTRODUCTION]
    for title, folder in FOLDERS.items():
        lines += ["", f"## {title}", "", "| YAML | recipe | what |", "|---|---|---|"]
        for path in sorted((ROOT / folder).glob("*.yaml")):
            summary, recipe = read_head(path)
            lines.append(f"| `{folder}/{path.name}` | `recipes/{recipe}` | {summary} |")
    return "\n".join(lines) + "\n"


def read_head(path):
    """Read the comment at the beginning of a YAML file.

    Arguments
    ---------
    path : Path

    Returns
    -------
    summary, recipe : str
        The first sentence of the comment, and the script in its command.

    Raises
    ------
    ValueError
        If one of them is missing.
    """
    comment = re.match(r"(?:#.*\n)*", path.read_text(encoding="utf-8"))[0]
    text = re.sub(r"^#", "", comment, flags=re.MULTILINE)
    recipe = RECIPE.search(text)
    words = " ".join((text[: recipe.start()] if recipe else text).split())
    sentence = re.match(r".+?[.?](?= |$)", words)
    if recipe is None or sentence is None:
        raise ValueError(
            f"{path}: must begin with a comment: one sentence, and below it the "
            "command: #   python RECIPE.py PATH"
        )
    return sentence[0].rstrip("."), recipe[1]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
