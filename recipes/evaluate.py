r"""Evaluate explainers: datasets, conditions, domains, methods, baselines.

    python evaluate.py hparams/esc10_table.yaml --data_folder /path/to/ESC-50 \
        --conditions clean,noise --blocks STFT,Mel

It explains the clips of the chosen `conditions` of the YAML with each explainer of the
chosen `blocks` (or only those of `--methods`), and writes to
`results/esc10_table/1234`: `per_clip.csv`, `summary.csv`, `summary.md` and
`summary.tex` (means with bootstrap intervals, counts of empty masks and of scores that
are not finite), `comparison.csv` (each method against the YAML's `reference`, clip by
clip), and with the keys `curves` and `sanity` of the YAML `curves.csv` (faithfulness at
equal sizes of the mask) and `sanity.csv` (maps of a randomised classifier), with plots.
The same command resumes an interrupted run; finished rows are in `rows/`. With torchrun
the batches are distributed over the processes, with the same result. Every score is
defined in `speechbrain_lmac.metrics`. Scroll to the bottom first.
"""

from pathlib import Path

from speechbrain.utils.distributed import if_main_process

from speechbrain_lmac.config.loading import load_experiment, require_keys
from speechbrain_lmac.evaluation.blocks import open_benchmark, open_blocks
from speechbrain_lmac.metrics import metrics_by_name
from speechbrain_lmac.reporting.evaluation_page import write_results
from speechbrain_lmac.reporting.markdown import provenance
from speechbrain_lmac.reporting.scope import data_lines
from speechbrain_lmac.training.experiment import start_experiment
from speechbrain_lmac.utils.command import main
from speechbrain_lmac.utils.console import show
from speechbrain_lmac.utils.errors import InputError, check_counts, some_of

NEEDED = ["dataset", "classifier", "blocks", "conditions", "metrics", "split"]
SPLITS = ("train", "valid", "test")


def run_evaluation(argv):
    """Run the command above."""
    hparams, run_opts, source = load_experiment(argv, recipe="evaluate")
    require_keys(hparams, NEEDED, source[0])
    check_counts(batch_size=hparams["batch_size"])
    if hparams["split"] not in SPLITS:
        raise InputError(
            f"split must be one of {', '.join(SPLITS)}, got {hparams['split']!r}"
        )
    hparams["blocks"] = open_blocks(hparams)
    metrics = metrics_by_name(hparams["metrics"])
    manifests = start_experiment(hparams, run_opts, source)
    dataset = hparams["dataset"]
    benchmark = open_benchmark(hparams, run_opts, manifests, metrics)
    folder, progress = Path(hparams["output_folder"]), not run_opts.noprogressbar
    per_clip = benchmark.score(folder / "rows", progress)
    if not if_main_process():
        return  # only one process reads all rows
    sanity = hparams.get("sanity")
    if sanity is not None:
        rows = folder / "rows"
        sanity = benchmark.check_sanity(sanity, rows, hparams["seed"], progress)
    header = provenance(
        argv,
        *data_lines(dataset.data_folder, manifests, hparams["split"], per_clip["clip"]),
        *accuracies(per_clip, benchmark.labels),
        seed=hparams["seed"],
    )
    write_results(
        folder,
        benchmark,
        per_clip,
        header,
        hparams["seed"],
        reference=hparams.get("reference"),
        published=hparams.get("published"),
        sanity=sanity,
        together=hparams.get("together", ()),
    )
    show((folder / "summary.md").read_text(encoding="utf-8"))


def accuracies(per_clip, labels):
    """Yield a line on each condition: the accuracy, and the absent classes."""
    for condition, rows in per_clip.groupby("condition", sort=False):
        clips = rows.drop_duplicates("id")
        line = (
            f"{condition}: {len(clips)} clips, the classifier is right on "
            f"{100 * clips['correct'].mean():.1f} % of them"
        )
        absent = [label for label in labels if label not in set(clips["label"])]
        if absent:
            line += f"; no clip of {some_of(absent)}"
        yield line


if __name__ == "__main__":
    main(run_evaluation)
