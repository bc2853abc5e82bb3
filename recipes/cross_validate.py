"""Run a recipe on each fold of a dataset, and collect the mean and the deviation.

    python cross_validate.py train_lmac.py hparams/us8k_lmac.yaml \
        --data_folder /path/to/UrbanSound8K
    python cross_validate.py evaluate.py hparams/us8k_table.yaml --folds 1 2 3 \
        --data_folder /path/to/UrbanSound8K

runs `train_lmac.py hparams/us8k_lmac.yaml ... --fold=K` for each fold K (without
`--folds`: 1 to 10), one after the other; all other options go to the recipe. A fold
that fails stops it with the fold's message; the same command goes on, since each recipe
does. Then `results/us8k_lmac/1234/folds.csv` and `folds.md` have each score of the test
(of `training.json`, or of `summary.csv`): its mean and standard deviation over the
folds, how many these are, and the value of each. Any YAML with a key `fold`, on which
its `output_folder` depends, will do. Scroll to the bottom first.
"""

from pathlib import Path

from speechbrain_lmac.reporting.cross_validation import (
    fold_runs,
    over_folds,
    read_scores,
    run_folds,
    write_folds,
)
from speechbrain_lmac.reporting.markdown import provenance
from speechbrain_lmac.utils.arguments import Parser
from speechbrain_lmac.utils.command import main
from speechbrain_lmac.utils.console import show
from speechbrain_lmac.utils.errors import InputError


def cross_validate(argv):
    """Everything that the command above does."""
    parser = Parser(__doc__)
    parser.add_argument("recipe", help="a script in recipes/: train_lmac.py")
    parser.add_argument("hparams", help="a YAML with a key `fold`")
    parser.add_argument("--folds", nargs="+", type=int, default=list(range(1, 11)))
    args, options = parser.parse_known_args(argv)
    script = Path(__file__).resolve().with_name(Path(args.recipe).name)
    if not script.is_file():
        raise InputError(f"no such recipe: {args.recipe} (looked in {script.parent})")
    folders, seed = fold_runs(args.hparams, options, args.folds)
    run_folds(script, args.hparams, options, args.folds)
    table = over_folds({fold: read_scores(path) for fold, path in folders.items()})
    header = provenance(
        argv,
        f"folds: {', '.join(map(str, args.folds))}, each the test once",
        seed=seed,
    )
    folder = folders[args.folds[0]].parent
    write_folds(folder, table, header)
    show((folder / "folds.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(cross_validate)
