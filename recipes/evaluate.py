"""Judge explainers side by side by the papers' metrics, with controls.

    python evaluate.py hparams/esc10_evaluate.yaml --data_folder /path/to/ESC-50

explains the clips of the YAML's `split` with each of its `explainers`, and writes
`per_clip.csv`, `summary.csv` and `summary.md` (means with bootstrap intervals, counts
of empty masks and of scores that are not finite) to `results/esc10_evaluate/1234`.
Every metric is defined in `speechbrain_lmac.metrics`. Scroll to the bottom first.
"""

import sys
from pathlib import Path

from torch.utils.data import DataLoader

from speechbrain_lmac.dataio import collate_clips
from speechbrain_lmac.errors import InputError
from speechbrain_lmac.evaluation import evaluate, summarise, write_tables
from speechbrain_lmac.experiment import (
    check_counts,
    load_experiment,
    main,
    pick_device,
    require_keys,
    start_experiment,
)
from speechbrain_lmac.machine import command_line, versions

SPLITS = ("train", "valid", "test")


def run_evaluation(argv):
    """Everything that the command above does."""
    hparams, run_opts, source = load_experiment(argv)
    require_keys(
        hparams,
        ["dataset", "domain", "classifier", "explainers", "metrics", "split"],
        source[0],
    )
    check_counts(batch_size=hparams["batch_size"])
    if hparams["split"] not in SPLITS:
        raise InputError(
            f"split must be one of {', '.join(SPLITS)}, got {hparams['split']!r}"
        )
    manifests = start_experiment(hparams, run_opts, source)
    dataset, classifier = hparams["dataset"], hparams["classifier"]
    labels = dataset.class_order(manifests, classifier.labels)
    clips = dataset.load(manifests, hparams["split"], labels)
    device = pick_device(run_opts)
    for module in (hparams["domain"], classifier, hparams["interpreter"]):
        module.to(device)
    per_clip = evaluate(
        hparams["explainers"],
        DataLoader(clips, hparams["batch_size"], collate_fn=collate_clips),
        hparams["domain"],
        classifier,
        hparams["metrics"],
        class_names=labels,
        truth=hparams.get("truth"),
        device=device,
        progress=not run_opts.noprogressbar,
    )
    first = per_clip[per_clip["method"] == per_clip["method"].iloc[0]]
    header = [
        f"command: `{command_line(argv)}`",
        f"data: {len(first)} clips, split {hparams['split']} of "
        f"{Path(hparams['dataset'].data_folder).name}; the classifier is right on "
        f"{100 * first['correct'].mean():.1f} % of them",
        f"seed: {hparams['seed']}",
        f"versions: {versions()}",
    ]
    scores = [*hparams["metrics"], *getattr(hparams.get("truth"), "scores", ())]
    summary = summarise(per_clip, scores, seed=hparams["seed"])
    write_tables(per_clip, summary, hparams["output_folder"], header, scores)
    page = Path(hparams["output_folder"]) / "summary.md"
    sys.stdout.write(page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(run_evaluation)
