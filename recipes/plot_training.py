"""The curves of one or more trainings in one picture.

    python plot_training.py results/esc10_lmac/1234 results/esc10_lmac_finetune/1234 \
        --output curves.png

draws what `epochs.csv` in each result folder has: every term of the loss, every metric
and the learning rate, training dotted and validation solid, a colour for each run. The
output is a PNG, or a PDF for a paper. An interrupted or a running training is drawn as
far as it is.
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
    """Everything that the command above does."""
    parser = Parser(__doc__)
    parser.add_argument("results", nargs="+", help="output folders of trainings")
    parser.add_argument("--output", required=True, help="a png, pdf or svg")
    args = parser.parse_args(argv)
    output = Path(args.output)
    if output.suffix not in KINDS:
        raise InputError(f"--output {output}: it has to end in {', '.join(KINDS)}")
    runs = {name: read_epochs(name) for name in dict.fromkeys(args.results)}
    write_training_curves(runs, output)
    for name, table in runs.items():
        best = table.loc[table["valid_loss"].idxmin()]
        show(
            f"{name}: {len(table)} epochs, the lowest validation loss is "
            f"{best['valid_loss']:.4g} in epoch {int(best['epoch'])}"
        )
    show(f"look at {output}")


def read_epochs(folder):
    """The table of epochs of a training.

    Raises
    ------
    InputError
        When it has none, or none that can be read.
    """
    path = Path(folder) / "epochs.csv"
    try:
        table = read_csv(path)
        table[["epoch", "lr", "valid_loss"]].astype(float)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} has no epochs of a training: {error}") from error
    if table.empty:
        raise InputError(f"{path} has no epoch yet")
    return table


if __name__ == "__main__":
    main(plot_training)
