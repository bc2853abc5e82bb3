"""Faithfulness of compact and published decoders after the same training.

The experiments are in `benchmarks/hparams`: CNN14 on generated sounds of 1 s, the
same clips, objective and number of steps; two trainings of each L-MAC decoder, since
the seed may matter as much as the decoder. The published decoders have the published
optimizer and learning rate; those of the compact ones were chosen on the validation
fold. CNN14 is nearly certain on clean clips, which leaves little to gain; a second
condition adds white noise, louder than published, with which CNN14 makes errors.
"""

import json
from pathlib import Path

import pandas as pd
import torch
from torch.utils.data import DataLoader

from benchmarks.settings import part
from speechbrain_lmac.config.loading import load_experiment
from speechbrain_lmac.data.dataset import collate_clips
from speechbrain_lmac.evaluation import paired_tests
from speechbrain_lmac.evaluation.evaluate import evaluate
from speechbrain_lmac.evaluation.statistics import summarise
from speechbrain_lmac.explainers.controls import Remembered, with_mean
from speechbrain_lmac.inference.loading import open_explainer
from speechbrain_lmac.metrics import metrics_by_name
from speechbrain_lmac.types import Explanation
from speechbrain_lmac.utils.errors import InputError

HPARAMS = Path(__file__).resolve().parent / "hparams"
TRAININGS = Path("results/bench")
SEEDS = {"L-MAC": (1234, 1235), "LMAC-TD": (1234,)}  # as the Makefile's
PAIRS = {
    "L-MAC": ("lmac_conv", "lmac_published"),
    "LMAC-TD": ("td_conv", "td_published"),
}
METRICS = ("AI", "AD", "AG", "FF", "Fid-In", "MM")
COMPARED = METRICS[:-1]
OURS, PUBLISHED = "ours", "published"
OURS_RESIZED = "ours, size of published"
PUBLISHED_RESIZED = "published, size of ours"
FLAT_OURS = "one value, size of ours"
FLAT_PUBLISHED = "one value, size of published"


class OfEqualSize:
    """Masks raised to a power each, so that their means are those of other masks."""

    def __init__(self, explainer, size_of):
        self.explainer = explainer
        self.size_of = size_of

    @torch.no_grad()
    def explain(self, wav, target=None, lens=None):
        """Return the explanation of wav (B, N) with a mask of that mean."""
        own = self.explainer.explain(wav, target, lens)
        other = self.size_of.explain(wav, target, lens).mask
        means = other.double().mean(dim=(1, 2))
        mask = with_mean(own.mask.double(), means).to(own.mask)
        return Explanation(mask, own.target, own.encoded, own.logits)


class OfOneValue:
    """Constant masks with the means of an explainer's masks."""

    def __init__(self, size_of):
        self.size_of = size_of

    @torch.no_grad()
    def explain(self, wav, target=None, lens=None):
        """Return the explanation of wav (B, N) by a constant mask."""
        own = self.size_of.explain(wav, target, lens)
        mean = own.mask.double().mean(dim=(1, 2), keepdim=True)
        mask = mean.to(own.mask).expand_as(own.mask)
        return Explanation(mask, own.target, own.encoded, own.logits)


def opened(name, seed):
    """Return a training's hparams, its trained explainer, and its record."""
    argv = [str(HPARAMS / f"{name}.yaml"), f"--seed={seed}", "--device=cpu"]
    hparams, run_opts, (path, _) = load_experiment(argv)
    explainer, _ = open_explainer(hparams, run_opts, path)
    folder = Path(hparams["output_folder"])
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    saved = [path.stat().st_size for path in folder.glob("save/CKPT*/*")]
    record["checkpoint_bytes"] = sum(saved) / len(list(folder.glob("save/CKPT*")))
    record["interpreter_bytes"] = (folder / "interpreter.ckpt").stat().st_size
    return hparams, Remembered(explainer), record


def compare(ours, published, seeds):
    """Return the scores of two decoders: original, at equal size, and constant.

    Means over the trainings with these seeds.
    """
    conditions = {
        "clean": part("condition/clean"),
        "white noise at -5 dB": part("condition/white_noise", per_clip=1, snr_db=-5),
    }
    rows = {name: [] for name in conditions}
    for seed in seeds:
        hparams, own, own_record = opened(ours, seed)
        _, other, other_record = opened(published, seed)
        explainers = {
            OURS: own,
            PUBLISHED: other,
            OURS_RESIZED: OfEqualSize(own, other),
            PUBLISHED_RESIZED: OfEqualSize(other, own),
            FLAT_OURS: OfOneValue(own),
            FLAT_PUBLISHED: OfOneValue(other),
        }
        for name, condition in conditions.items():
            per_clip = rows_in(condition, hparams, explainers)
            rows[name].append(per_clip.assign(seed=seed))
    return {
        "conditions": {name: scores_of(pd.concat(r)) for name, r in rows.items()},
        "records": {OURS: own_record, PUBLISHED: other_record},
    }


def rows_in(condition, hparams, explainers):
    """Return a row for each explainer and clip of the test fold in a condition."""
    manifests = Path(hparams["output_folder"]) / "manifest"
    labels = hparams["classifier"].labels
    clips = condition.open(hparams["dataset"], manifests, "test", labels).clips
    return evaluate(
        explainers,
        DataLoader(clips, 16, collate_fn=collate_clips),
        hparams["domain"],
        hparams["classifier"],
        metrics_by_name(METRICS),
    )


def scores_of(rows):
    """Return the scores of all trainings in one condition, for the page."""
    scores = summarise(rows, metrics_by_name(METRICS)).set_index("method")
    differences = at_equal_size(rows)
    each = [at_equal_size(one)["difference"] for _, one in rows.groupby("seed")]
    differences["each"] = pd.concat(each, axis=1).to_numpy().tolist()
    return {
        "n": rows["id"].nunique(),
        "trainings": rows["seed"].nunique(),
        "accuracy": float(rows["correct"].mean()),
        "scores": scores[list(METRICS)].to_dict("index"),
        "differences": differences.to_dict("records"),
    }


def at_equal_size(rows):
    """Return ours less the published, with the mean of all rows of each clip.

    Arguments
    ---------
    rows : pandas.DataFrame
        A row for each training, clip and explainer.

    Returns
    -------
    differences : pandas.DataFrame
        A row for each score: see `paired_tests.compare`.
    """
    means = []
    for name, methods in (
        (OURS, (OURS, OURS_RESIZED)),
        (PUBLISHED, (PUBLISHED, PUBLISHED_RESIZED)),
    ):
        of_size = rows[rows["method"].isin(methods)]
        mean = of_size.groupby("id", as_index=False)[list(COMPARED)].mean()
        means.append(mean.assign(method=name))
    table = paired_tests.compare(pd.concat(means), OURS, metrics_by_name(COMPARED))
    return table[["metric", "difference", "low", "high", "reference_better"]]


def measure(settings):
    """Return the comparisons of the trainings of `make bench-training`.

    Returns
    -------
    result : dict
        "L-MAC", "LMAC-TD": see `compare`.

    Raises
    ------
    InputError
        When a training is missing.
    """
    missing = [
        f"{name}/{seed}"
        for method, names in PAIRS.items()
        for name in names
        for seed in SEEDS[method]
        if not (TRAININGS / name / str(seed) / "training.json").is_file()
    ]
    if missing:
        raise InputError(
            f"missing trainings in {TRAININGS}: {', '.join(missing)}; "
            "`make bench-training` runs them"
        )
    return {method: compare(*names, SEEDS[method]) for method, names in PAIRS.items()}
