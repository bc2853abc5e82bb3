"""Cross-validate a recipe: run each fold, write means and standard deviations.

    python cross_validate.py train_lmac.py hparams/us8k_lmac.yaml \
        --data_folder /path/to/UrbanSound8K
    python cross_validate.py evaluate.py hparams/us8k_table.yaml --folds 1 2 3 \
        --data_folder /path/to/UrbanSound8K

It runs `train_lmac.py hparams/us8k_lmac.yaml ... --fold=K` for each fold K (without
`--folds`: 1 to 10), one after the other; all other options are passed to the recipe. If
a fold fails, the command ends with its message, and the same command resumes. Then
`results/us8k_lmac/1234/folds.csv` and `folds.md` have each test score (of
`training.json`, or of `summary.csv`): mean and standard deviation over the folds, the
number of folds, and the value of each. Any YAML works with a key `fold`, on which its
`output_folder` depends. Scroll to the bottom first.
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
    """Run the command above."""
    parser = Parser(__doc__)
    parser.add_argument("recipe", help="a script in recipes/, such as train_lmac.py")
    parser.add_argument("hparams", help="a YAML file with a key `fold`")
    parser.add_argument(
        "--folds",
        nargs="+",
        type=int,
        default=list(range(1, 11)),
        help="default: 1 to 10",
    )
    args, options = parser.parse_known_args(argv)
    script = Path(__file__).resolve().with_name(Path(args.recipe).name)
    if not script.is_file():
        raise InputError(f"missing recipe: {args.recipe} (searched {script.parent})")
    folders, seed = fold_runs(args.hparams, options, args.folds)
    run_folds(script, args.hparams, options, args.folds)
    table = over_folds({fold: read_scores(path) for fold, path in folders.items()})
    header = provenance(
        argv,
        f"folds: {', '.join(map(str, args.folds))}, each tested once",
        seed=seed,
    )
    folder = folders[args.folds[0]].parent
    write_folds(folder, table, header)
    show((folder / "folds.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(cross_validate)
