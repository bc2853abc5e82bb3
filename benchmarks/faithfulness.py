"""Decoders that were trained alike, judged alike: is the cheap one as faithful?

The experiments stand in `benchmarks/hparams`: CNN14 on generated sounds of 1 s, the
same clips, objective and number of steps. The published decoders have the published
optimizer and learning rate; those of the compact ones were chosen on the validation
fold. On the clean clips CNN14 is so sure that little can be gained: they are mixed with
white noise besides.
"""

import json
from pathlib import Path

import pandas as pd
import torch
from torch.utils.data import DataLoader

from benchmarks.settings import part
from speechbrain_lmac import comparison
from speechbrain_lmac.dataio import collate_clips
from speechbrain_lmac.errors import InputError
from speechbrain_lmac.evaluation import evaluate
from speechbrain_lmac.experiment import load_experiment, open_explainer
from speechbrain_lmac.explainers.controls import Remembered, with_mean
from speechbrain_lmac.metrics import metrics_by_name
from speechbrain_lmac.summary import summarise
from speechbrain_lmac.types import Explanation

HPARAMS = Path(__file__).resolve().parent / "hparams"
TRAININGS = Path("results/bench")
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
    """An explainer's masks, each raised to the power that gives it another's mean."""

    def __init__(self, explainer, size_of):
        self.explainer = explainer
        self.size_of = size_of

    @torch.no_grad()
    def explain(self, wav, target=None, lens=None):
        """The explanation of wav (B, N) with the mask of that size."""
        own = self.explainer.explain(wav, target, lens)
        other = self.size_of.explain(wav, target, lens).mask
        means = other.double().mean(dim=(1, 2))
        mask = with_mean(own.mask.double(), means).to(own.mask)
        return Explanation(mask, own.target, own.encoded, own.logits)


class OfOneValue:
    """Masks that show nothing: of each mask of an explainer the mean alone."""

    def __init__(self, size_of):
        self.size_of = size_of

    @torch.no_grad()
    def explain(self, wav, target=None, lens=None):
        """The explanation of wav (B, N) by that value in every cell."""
        own = self.size_of.explain(wav, target, lens)
        mean = own.mask.double().mean(dim=(1, 2), keepdim=True)
        mask = mean.to(own.mask).expand_as(own.mask)
        return Explanation(mask, own.target, own.encoded, own.logits)


def opened(name):
    """A training's parts with its trained interpreter, and its record."""
    argv = [str(HPARAMS / f"{name}.yaml"), "--device=cpu"]
    hparams, run_opts, (path, _) = load_experiment(argv)
    explainer, _ = open_explainer(hparams, run_opts, path)
    folder = Path(hparams["output_folder"])
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    saved = [path.stat().st_size for path in folder.glob("save/CKPT*/*")]
    record["checkpoint_bytes"] = sum(saved) / len(list(folder.glob("save/CKPT*")))
    record["interpreter_bytes"] = (folder / "interpreter.ckpt").stat().st_size
    return hparams, Remembered(explainer), record


def compare(ours, published):
    """The scores of two decoders, as they are and at each other's size, and flat."""
    hparams, own, own_record = opened(ours)
    _, other, other_record = opened(published)
    explainers = {
        OURS: own,
        PUBLISHED: other,
        OURS_RESIZED: OfEqualSize(own, other),
        PUBLISHED_RESIZED: OfEqualSize(other, own),
        FLAT_OURS: OfOneValue(own),
        FLAT_PUBLISHED: OfOneValue(other),
    }
    return {
        "conditions": {
            name: scores_in(condition, hparams, explainers)
            for name, condition in (
                ("clean", part("condition/clean")),
                ("white noise", part("condition/white_noise", per_clip=1)),
            )
        },
        "records": {OURS: own_record, PUBLISHED: other_record},
    }


def scores_in(condition, hparams, explainers):
    """The scores of explainers on the test fold in a condition."""
    manifests = Path(hparams["output_folder"]) / "manifest"
    labels = hparams["classifier"].labels
    clips = condition.open(hparams["dataset"], manifests, "test", labels).clips
    metrics = metrics_by_name(METRICS)
    per_clip = evaluate(
        explainers,
        DataLoader(clips, 16, collate_fn=collate_clips),
        hparams["domain"],
        hparams["classifier"],
        metrics,
    )
    right = per_clip["label"].astype(int) == per_clip["predicted"].astype(int)
    scores = summarise(per_clip, metrics).set_index("method")[list(METRICS)]
    return {
        "n": len(clips),
        "accuracy": float(right.mean()),
        "scores": scores.to_dict("index"),
        "differences": at_equal_size(per_clip).to_dict("records"),
    }


def at_equal_size(per_clip):
    """Ours less the published, each clip's scores the mean over both sizes.

    Arguments
    ---------
    per_clip : pandas.DataFrame
        A row for each clip and each of them.

    Returns
    -------
    differences : pandas.DataFrame
        A row for each score: see `comparison.compare`.
    """
    means = []
    for name, methods in (
        (OURS, (OURS, OURS_RESIZED)),
        (PUBLISHED, (PUBLISHED, PUBLISHED_RESIZED)),
    ):
        rows = per_clip[per_clip["method"].isin(methods)]
        mean = rows.groupby("id", as_index=False)[list(COMPARED)].mean()
        means.append(mean.assign(method=name))
    table = comparison.compare(pd.concat(means), OURS, metrics_by_name(COMPARED))
    return table[["metric", "difference", "low", "high", "reference_better"]]


def measure(settings):
    """The comparisons, of the trainings that `make bench-training` made.

    Returns
    -------
    answer : dict
        "L-MAC", "LMAC-TD": see `compare`.

    Raises
    ------
    InputError
        When a training is not there.
    """
    missing = [
        name
        for names in PAIRS.values()
        for name in names
        if not (TRAININGS / name / "1234" / "training.json").is_file()
    ]
    if missing:
        raise InputError(
            f"these trainings are not in {TRAININGS}: {', '.join(missing)}; "
            "`make bench-training` makes them"
        )
    return {method: compare(*names) for method, names in PAIRS.items()}
