"""Plot the learning curves of one or more trainings.

    python plot_training.py results/esc10_lmac/1234 results/esc10_lmac_finetune/1234 \
        --output curves.png

It plots `epochs.csv` of each results folder: every term of the loss, every metric and
the learning rate, training dotted and validation solid, a colour for each run. The
output is a PNG, PDF or SVG. An interrupted or running training is plotted up to its
last epoch.
"""

from pathlib import Path

from speechbrain_lmac.plots.figures import write_training_curves
from speechbrain_lmac.utils.arguments import Parser
from speechbrain_lmac.utils.command import main
from speechbrain_lmac.utils.console import show
from speechbrain_lmac.utils.csv_files import read_csv
from speechbrain_lmac.utils.errors import InputError

KINDS = (".png", ".pdf", ".svg")


def plot_training(argv):
    """Run the command above."""
    parser = Parser(__doc__)
    parser.add_argument("results", nargs="+", help="output folders of trainings")
    parser.add_argument("--output", required=True, help="a PNG, PDF or SVG file")
    args = parser.parse_args(argv)
    output = Path(args.output)
    if output.suffix not in KINDS:
        raise InputError(f"--output must end in {', '.join(KINDS)}, got {output}")
    runs = {name: read_epochs(name) for name in dict.fromkeys(args.results)}
    write_training_curves(runs, output)
    for name, table in runs.items():
        best = table.loc[table["valid_loss"].idxmin()]
        show(
            f"{name}: {len(table)} epochs, the lowest validation loss is "
            f"{best['valid_loss']:.4g} in epoch {int(best['epoch'])}"
        )
    show(f"wrote {output}")


def read_epochs(folder):
    """Return the table of epochs of a training.

    Raises
    ------
    InputError
        If it is missing, unreadable or empty.
    """
    path = Path(folder) / "epochs.csv"
    if not path.is_file():
        raise InputError(
            f"{folder} has no training (missing {path.name}): give the output folder "
            "of a training"
        )
    try:
        table = read_csv(path)
        table[["epoch", "lr", "valid_loss"]].astype(float)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"unreadable table of epochs: {path}: {error}") from error
    if table.empty:
        raise InputError(f"empty table of epochs: {path}")
    return table


if __name__ == "__main__":
    main(plot_training)
