"""Evaluate explanations of mixtures for the class of either source.

    python two_sources.py hparams/esc10_two_sources.yaml --data_folder /path/to/ESC-50

It mixes clips of different classes at equal energy (frozen in a manifest), explains
each mixture for the class of either source and for an absent one, and writes to
`results/esc10_two_sources/1234`: `per_clip.csv`, `summary.csv`, `comparison.csv` and
`summary.md` (how much closer an explanation is to its own source than to the other, in
dB, with bootstrap intervals). The same command resumes an interrupted run; finished
rows are in `rows/`. Every score is defined in
`speechbrain_lmac.evaluation.two_sources`. Scroll to the bottom first.
"""

from pathlib import Path

import pandas as pd

from speechbrain_lmac.config.loading import load_experiment, require_keys
from speechbrain_lmac.evaluation.blocks import open_benchmark, open_blocks
from speechbrain_lmac.evaluation.row_store import RowStore
from speechbrain_lmac.evaluation.two_sources import SCORES, classes_of, two_source_rows
from speechbrain_lmac.reporting.markdown import provenance
from speechbrain_lmac.reporting.scope import data_lines
from speechbrain_lmac.reporting.two_sources_page import write_two_sources
from speechbrain_lmac.training.experiment import start_experiment
from speechbrain_lmac.utils.command import main
from speechbrain_lmac.utils.console import progress_bar, show
from speechbrain_lmac.utils.errors import InputError, check_counts
from speechbrain_lmac.utils.hashing import fingerprint_of

NEEDED = ["dataset", "classifier", "blocks", "conditions", "split", "batch_size"]


def run_two_sources(argv):
    """Run the command above."""
    hparams, run_opts, source = load_experiment(argv, recipe="two_sources")
    require_keys(hparams, NEEDED, source[0])
    check_counts(batch_size=hparams["batch_size"])
    hparams["blocks"] = open_blocks(hparams)
    for name, block in hparams["blocks"].items():
        if not block.domain.listenable:
            raise InputError(
                f"{source[0]}: the domain of the block {name} is not listenable: use "
                "an STFTDomain"
            )
    manifests = start_experiment(hparams, run_opts, source)
    dataset, classifier = hparams["dataset"], hparams["classifier"]
    split, seed = hparams["split"], hparams["seed"]
    benchmark = open_benchmark(hparams, run_opts, manifests, SCORES)
    labels = benchmark.labels
    folder, tables, about = Path(hparams["output_folder"]), [], []
    for condition, opened in benchmark.conditions.items():
        classes = classes_of(opened)
        about.append(f"{condition}: {opened.description}")
        for name, block in benchmark.blocks.items():
            n_clips = len(benchmark.clips(condition))
            common = (opened.fingerprint, block.domain, classifier, seed)
            fingerprints = {
                method: fingerprint_of("two sources", *common, explainer)
                for method, explainer in block.explainers.items()
            }
            store = RowStore(folder / "rows" / f"{condition} {name}.csv", fingerprints)
            with progress_bar(
                total=n_clips * len(block.explainers),
                desc=f"{condition}, {name}",
                unit="row",
                disable=run_opts.noprogressbar,
            ) as bar:
                try:
                    rows = two_source_rows(
                        block,
                        classifier,
                        opened,
                        benchmark.batches(condition),
                        classes,
                        labels,
                        seed,
                        benchmark.device,
                        store,
                        bar,
                    )
                finally:  # keep finished rows
                    store.save()
            rows.insert(0, "condition", condition)
            rows.insert(1, "block", name)
            tables.append(benchmark.with_clips(condition, rows))
    rows = pd.concat(tables, ignore_index=True)
    header = provenance(
        argv,
        *data_lines(dataset.data_folder, manifests, split, rows["clip"]),
        *about,
        seed=seed,
    )
    write_two_sources(folder, rows, header, seed, hparams.get("reference"))
    show((folder / "summary.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(run_two_sources)
