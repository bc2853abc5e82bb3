"""Remove and retrain (ROAR): accuracy without the cells that a method ranks highest.

    python roar.py hparams/toy_roar.yaml

It removes the cells that each of the YAML's `explainers` ranks highest from all clips,
and trains the YAML's `learner` on the rest, for each of the `shares`, `repeats` times.
It writes to `results/toy_roar/1234`: `roar.csv` (a row per retraining; the same command
resumes an interrupted run), `roar.md` and `roar.png`. The better a method's ranking,
the lower its accuracies; the random baseline shows the cost of the share alone. It runs
on the CPU. Finished rows are matched by the name of the method: remove `roar.csv` when
an explainer's own settings change. Scroll to the bottom first.
"""

from pathlib import Path

from torch.utils.data import DataLoader

from speechbrain_lmac.config.loading import load_experiment, require_keys
from speechbrain_lmac.evaluation.roar import (
    SPLITS,
    WHOLE,
    Learning,
    remove_and_retrain,
    settings_of,
)
from speechbrain_lmac.metrics.curves import check_shares
from speechbrain_lmac.plots.charts import write_roar
from speechbrain_lmac.reporting.markdown import provenance
from speechbrain_lmac.reporting.roar_page import roar_page
from speechbrain_lmac.training.experiment import loader_options, start_experiment
from speechbrain_lmac.training.schedules import Annealing
from speechbrain_lmac.utils.command import main
from speechbrain_lmac.utils.console import show
from speechbrain_lmac.utils.errors import InputError, check_counts

KEYS = "dataset domain classifier learner explainers shares repeats".split()
KEYS += (
    "number_of_epochs batch_size lr opt_class lr_annealing dataloader_options".split()
)


def run_roar(argv):
    """Run the command above."""
    hparams, run_opts, source = load_experiment(argv, recipe="roar")
    require_keys(hparams, KEYS, source[0])
    check_counts(repeats=hparams["repeats"])
    check_shares(hparams["shares"])
    if WHOLE in hparams["explainers"]:
        raise InputError(f"explainers: the name '{WHOLE}' is reserved")
    learning = Learning(
        hparams["number_of_epochs"],
        hparams["batch_size"],
        hparams["opt_class"],
        Annealing(hparams["lr_annealing"]),
    )
    manifests = start_experiment(hparams, run_opts, source)
    dataset, options = hparams["dataset"], loader_options(hparams)
    labels = dataset.class_order(manifests, hparams["classifier"].labels)
    splits = {
        split: DataLoader(dataset.load(manifests, split, labels), **options)
        for split in SPLITS
    }
    folder = Path(hparams["output_folder"])
    learner = hparams["learner"]
    settings = settings_of(
        [hparams[key] for key in ("classifier", "interpreter") if key in hparams],
        hparams["seed"],
        dataset.n_samples,
        learning.number_of_epochs,
        learning.batch_size,
        hparams["lr"],
        str(learner),
        [(manifests / f"{split}.json").read_text("utf-8") for split in SPLITS],
    )
    rows = remove_and_retrain(
        hparams["explainers"],
        hparams["domain"],
        splits,
        learner,
        learning,
        hparams["shares"],
        hparams["repeats"],
        hparams["seed"],
        folder / "roar.csv",
        settings,
        progress=not run_opts.noprogressbar,
    )
    n_test = rows["n_test"].iloc[0]
    header = provenance(
        argv,
        f"data: {n_test} test clips of {Path(dataset.data_folder).name}",
        seed=hparams["seed"],
    )
    page = roar_page(rows, header, hparams["repeats"], "roar.png")
    page.write(folder / "roar.md")
    write_roar(rows, folder / "roar.png")
    show(page.text())


if __name__ == "__main__":
    main(run_roar)
