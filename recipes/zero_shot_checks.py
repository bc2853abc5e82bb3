"""Check that explanations depend on the prompt and on the zero-shot classifier.

    python zero_shot_checks.py hparams/esc10_zs_checks.yaml --data_folder ESC50_FOLDER

It explains each clip for each prompt, and a few clips of a CLAP whose audio encoder is
randomised layer by layer, and writes to `results/esc10_zs_checks/1234`: `summary.md`
with plots (mask mean against similarity; masks of absent classes; masks of two prompts
against their texts; randomisation), `summary.csv`, `comparison.csv`, and the data of
these: `per_clip.csv`, `prompts.csv`, `swaps.csv`, `sanity.csv`. Every score is defined
in `speechbrain_lmac.evaluation.prompt_checks`. Scroll to the bottom first.
"""

from pathlib import Path

import pandas as pd

from speechbrain_lmac.classifiers.clap.classifier import ClapClassifier
from speechbrain_lmac.config.loading import load_experiment, require_keys
from speechbrain_lmac.evaluation.blocks import open_benchmark, open_blocks
from speechbrain_lmac.evaluation.prompt_checks import SCORES, explain_prompts
from speechbrain_lmac.reporting.markdown import placed, provenance
from speechbrain_lmac.reporting.prompt_page import write_checks
from speechbrain_lmac.reporting.scope import data_lines
from speechbrain_lmac.training.experiment import start_experiment
from speechbrain_lmac.utils.command import main
from speechbrain_lmac.utils.console import progress_bar, show
from speechbrain_lmac.utils.errors import InputError, check_counts

NEEDED = "dataset classifier blocks conditions sanity split batch_size".split()


def run_checks(argv):
    """Run the command above."""
    hparams, run_opts, source = load_experiment(argv, recipe="zero_shot_checks")
    require_keys(hparams, NEEDED, source[0])
    check_counts(batch_size=hparams["batch_size"])
    classifier = hparams["classifier"]
    if not isinstance(classifier, ClapClassifier):
        raise InputError(
            f"{source[0]}: classifier must be a ClapClassifier, got "
            f"{type(classifier).__name__} (two_sources.py takes any classifier)"
        )
    hparams["blocks"] = open_blocks(hparams)
    manifests = start_experiment(hparams, run_opts, source)
    dataset, split, seed = hparams["dataset"], hparams["split"], hparams["seed"]
    benchmark = open_benchmark(hparams, run_opts, manifests, SCORES)
    benchmark.check_condition(hparams["sanity"].condition, "the checks of sanity")
    folder, progress = Path(hparams["output_folder"]), not run_opts.noprogressbar
    prompts, swaps = explain_all(benchmark, progress)
    sanity = hparams["sanity"]
    sanity = benchmark.check_sanity(sanity, folder / "rows", seed, progress)
    header = provenance(
        argv,
        *data_lines(dataset.data_folder, manifests, split, prompts["clip"]),
        f"prompts: {', '.join(classifier.prompts)}",
        seed=seed,
    )
    write_checks(folder, prompts, swaps, sanity, header, seed, hparams.get("reference"))
    show((folder / "summary.md").read_text(encoding="utf-8"))


def explain_all(benchmark, progress):
    """Return `explain_prompts` of all conditions, blocks and methods: two tables."""
    tables = []
    for condition in benchmark.conditions:
        for name, block in benchmark.blocks.items():
            for method, explainer in block.explainers.items():
                with progress_bar(
                    total=len(benchmark.clips(condition)),
                    desc=f"{condition}, {name}, {method}",
                    unit="clip",
                    disable=not progress,
                ) as bar:
                    results = explain_prompts(
                        explainer,
                        benchmark.batches(condition),
                        block.domain,
                        benchmark.classifier,
                        benchmark.device,
                        bar,
                    )
                columns = {"condition": condition, "block": name, "method": method}
                results = [benchmark.with_clips(condition, t) for t in results]
                tables.append([placed(table, **columns) for table in results])
    return [pd.concat(parts, ignore_index=True) for parts in zip(*tables, strict=True)]


if __name__ == "__main__":
    main(run_checks)
