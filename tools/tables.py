"""Write the page of results from the files of trainings and evaluations.

    python tables.py --trainings results/esc10_classifier_compact/1234 \
        results/esc10_lmac/1234 --evaluations results/esc10_table_id/1234 \
        --output ../docs/results/results.md

Every number is copied from a `training.json`, `summary.md` or `roar.md`. Pictures are
copied to a folder beside the page. `make tables` and `make roar` call it.
"""

import json
import re
import shlex
import shutil
from functools import partial
from pathlib import Path

from speechbrain_lmac.reporting.markdown import table_lines
from speechbrain_lmac.utils.arguments import Parser
from speechbrain_lmac.utils.command import main
from speechbrain_lmac.utils.console import show
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import write_atomically, write_text

COLUMNS = {
    "training": "{name}",
    "parameters": "{parameters:,}",
    "model (MiB)": "{model_mib:.2f}",
    "epochs": "{epochs}",
    "epoch tested": "{epoch_tested}",
    "s/epoch": "{seconds_per_epoch:.1f}",
    "training (min)": "{minutes:.1f}",
    "peak memory (MiB)": "{peak_memory_mib:.0f}",
}


def write_tables(argv):
    """Run the command above."""
    parser = Parser(__doc__)
    parser.add_argument("--trainings", nargs="+", default=[], help="result folders")
    parser.add_argument("--evaluations", nargs="+", default=[], help="result folders")
    parser.add_argument(
        "--picture",
        nargs=2,
        action="append",
        default=[],
        metavar=("FILE", "CAPTION"),
        help="a picture in the folder of the page, or below it",
    )
    parser.add_argument("--title", default="Results", help="title of the page")
    parser.add_argument("--output", required=True, help="the Markdown file to write")
    args = parser.parse_args(argv)
    records = [read_record(Path(folder)) for folder in args.trainings]
    lines = [
        f"# {args.title}",
        "",
        f"Written by `python tools/tables.py {shlex.join(argv)}`; not by hand.",
        "",
    ]
    for file, caption in args.picture:
        link = Path(file).relative_to(Path(args.output).parent).as_posix()
        lines += [f"![{caption}]({link})", ""]
    if records:
        lines += ["## Trainings", "", *table(COLUMNS, records), ""]
    for record in records:
        test = ", ".join(
            f"{name} {value:.4f}" for name, value in record["test"].items()
        )
        lines += [
            f"- **{record['name']}**: `{record['command']}`. Test fold, "
            f"seen once, with the weights of epoch {record['epoch_tested']} (lowest "
            f"validation loss): {test}. {record['versions']}.",
        ]
    for folder in args.evaluations:
        lines += ["", evaluation_page(Path(folder), Path(args.output))]
    write_text("\n".join(lines).rstrip() + "\n", args.output)
    show(f"wrote {args.output}")


def evaluation_page(folder, output):
    """Return the page of a folder, one level down, with pictures beside `output`."""
    name = folder.parent.name
    if (folder / "roar.md").is_file():
        page = read(folder / "roar.md", "roar.py")
    else:
        page = read(folder / "summary.md", "evaluate.py")
    page = page.replace("# Evaluation", f"# {name}", 1)
    page = re.sub(r"^#", "##", page, flags=re.MULTILINE)

    def copied(link):
        picture = output.parent / f"{output.stem}_pictures" / f"{name}_{link[2]}"
        write_atomically(picture, partial(shutil.copy, folder / link[2]))
        return f"![{link[1]}]({picture.relative_to(output.parent).as_posix()})"

    return re.sub(r"!\[(.*?)\]\((.*?)\)", copied, page)


def read_record(folder):
    """Return the `training.json` of a folder, with the columns of the table."""
    record = json.loads(read(folder / "training.json", "the training"))
    kinds = ("*.ckpt", "classifier/*.ckpt", "classifier/*.safetensors", "clap/*.ckpt")
    models = [path for kind in kinds for path in folder.glob(kind)]
    return {
        **record,
        "name": folder.parent.name,
        "minutes": record["seconds"] / 60,
        "model_mib": sum(path.stat().st_size for path in models) / 2**20,
    }


def read(path, maker):
    """Return the text of a result file."""
    if not path.is_file():
        raise InputError(f"missing file: {path}: run {maker} first")
    return path.read_text(encoding="utf-8")


def table(columns, records):
    """Return the lines of a Markdown table."""
    rows = [[form.format(**record) for form in columns.values()] for record in records]
    return table_lines(columns, rows)


if __name__ == "__main__":
    main(write_tables)
