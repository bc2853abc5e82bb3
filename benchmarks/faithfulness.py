"""Decoders that were trained alike, judged alike: is the cheap one as faithful?

The experiments stand in `benchmarks/hparams`: CNN14 on generated sounds of 1 s, the
same clips, objective and number of steps; each decoder has the optimizer and the
learning rate that it was made with.
"""

import json
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from speechbrain_lmac.dataio import collate_clips
from speechbrain_lmac.evaluation import evaluate, summarise
from speechbrain_lmac.experiment import load_experiment, open_explainer
from speechbrain_lmac.explainers.controls import Remembered, with_mean
from speechbrain_lmac.metrics import metrics_by_name
from speechbrain_lmac.types import Explanation

HPARAMS = Path(__file__).resolve().parent / "hparams"
PAIRS = {
    "L-MAC": ("lmac_conv", "lmac_published"),
    "LMAC-TD": ("td_conv", "td_published"),
}
METRICS = ("AI", "AD", "AG", "FF", "Fid-In", "MM")


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
    """The scores of two decoders, as they are and at each other's size."""
    hparams, own, own_record = opened(ours)
    _, other, other_record = opened(published)
    dataset = hparams["dataset"]
    manifests = Path(hparams["output_folder"]) / "manifest"
    labels = dataset.class_order(manifests, hparams["classifier"].labels)
    batches = DataLoader(
        dataset.load(manifests, "test", labels), 16, collate_fn=collate_clips
    )
    per_clip = evaluate(
        {
            "ours": own,
            "published": other,
            "ours, size of published": OfEqualSize(own, other),
            "published, size of ours": OfEqualSize(other, own),
        },
        batches,
        hparams["domain"],
        hparams["classifier"],
        metrics_by_name(METRICS),
    )
    table = summarise(per_clip, metrics_by_name(METRICS))
    return {
        "scores": table.set_index("method")[["n", *METRICS]].to_dict("index"),
        "accuracy": float(
            (per_clip["label"].astype(int) == per_clip["predicted"].astype(int)).mean()
        ),
        "records": {"ours": own_record, "published": other_record},
    }


def measure(settings):
    """The comparisons whose trainings are there.

    Returns
    -------
    answer : dict
        "L-MAC", "LMAC-TD": see `compare`.
    """
    answer = {}
    for method, (ours, published) in PAIRS.items():
        done = [
            Path(f"results/bench/{name}/1234/training.json").is_file()
            for name in (ours, published)
        ]
        if all(done):
            answer[method] = compare(ours, published)
    return answer
