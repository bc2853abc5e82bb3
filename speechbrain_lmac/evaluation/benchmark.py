"""A whole evaluation: conditions x blocks x explainers, resumed, written down."""

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch.utils.data import DataLoader, Subset

from speechbrain_lmac.data.dataset import collate_clips
from speechbrain_lmac.evaluation.blocks import open_blocks
from speechbrain_lmac.evaluation.evaluate import evaluate
from speechbrain_lmac.evaluation.randomisation import randomisation_check
from speechbrain_lmac.evaluation.row_store import RowStore, finished_table
from speechbrain_lmac.explainers.by_name import CONTROLS
from speechbrain_lmac.metrics import identity_of
from speechbrain_lmac.metrics.curves import AREAS, SHARES
from speechbrain_lmac.metrics.separation import scores_of
from speechbrain_lmac.utils.console import progress_bar
from speechbrain_lmac.utils.devices import check_device
from speechbrain_lmac.utils.distributed import own_share
from speechbrain_lmac.utils.errors import InputError, check_counts
from speechbrain_lmac.utils.hashing import fingerprint_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Curves:
    """Where the faithfulness is also taken at equal sizes of the mask.

    Arguments
    ---------
    conditions : list
        Of names of conditions.
    shares : list
        Of kept cells, 0 to 1.
    """

    conditions: list
    shares: list = SHARES


@dataclass(frozen=True)
class Sanity:
    """Where maps are compared with those of a randomised classifier.

    Arguments
    ---------
    condition : str
        Name of a condition.
    n_clips : int
        Of its clips, evenly spread.
    leave_out : list
        Methods for which it says nothing: those that do not look at the classifier,
        the controls.
    encoder : torch.nn.Module, optional
        The part of the classifier whose layers are randomised: of a zero-shot
        classifier the audio tower, as its prompts are embedded once. Without: all.
    """

    condition: str
    n_clips: int
    leave_out: list = CONTROLS
    encoder: object = None


class Benchmark:
    """Conditions x blocks x explainers on one dataset.

    Arguments
    ---------
    blocks : dict
        Name to evaluation.Block.
    conditions : dict
        Name to conditions.ConditionClips, the opened conditions.
    classifier : Classifier
    metrics : sequence
        Of Metric.
    labels : list
        Class names in the order of the logits.
    batch_size : int
    n_clips : int, optional
        Of each condition, evenly spread; without: all.
    curves : Curves, optional
    device : str or torch.device
    """

    def __init__(
        self,
        blocks: dict,
        conditions: dict,
        classifier,
        metrics: list | tuple,
        labels: list[str],
        batch_size: int = 8,
        n_clips: int | str | None = None,
        curves: Curves | None = None,
        device: str | torch.device = "cpu",
    ):
        if n_clips is not None:
            check_counts(n_clips=n_clips)
        for name in blocks:
            stem, _, number = str(name).rpartition(".")
            if number.isdecimal() and stem in blocks:  # as the files of processes
                raise InputError(
                    f"blocks {stem!r} and {name!r}: their rows would share files; name "
                    "one of them differently"
                )
        self.blocks = blocks
        self.conditions = conditions
        for condition in () if curves is None else curves.conditions:
            self.has_condition(condition, "curves")
        self.classifier = classifier
        self.metrics = metrics
        self.labels = labels
        self.batch_size = batch_size
        self.n_clips = n_clips
        self.curves = curves
        self.device = device

    def check_condition(self, condition: str, where: str) -> None:
        """Refuse a condition that there is not."""
        if condition not in self.conditions:
            raise InputError(
                f"{where} ask for the condition {condition!r}; there are "
                f"{', '.join(self.conditions)}"
            )

    def has_condition(self, condition: str, what: str) -> bool:
        """Whether there is a condition; where there is none, say what is left out."""
        there = condition in self.conditions
        if not there:
            logger.warning(
                "%s of the condition %r are left out: there are %s",
                what,
                condition,
                ", ".join(self.conditions),
            )
        return there

    def clips(self, condition: str, n_clips: int | None = None):
        """Some or all clips of a condition."""
        clips = self.conditions[condition].clips
        n_clips = self.n_clips if n_clips is None else n_clips
        if n_clips is None or n_clips >= len(clips):
            return clips
        return Subset(clips, [i * len(clips) // n_clips for i in range(n_clips)])

    def description(self, condition: str) -> str:
        """A line on the clips of a condition, and on how many of them are scored."""
        opened, n_scored = self.conditions[condition], len(self.clips(condition))
        if n_scored == len(opened.clips):
            return opened.description
        return (
            f"{opened.description}; scored are {n_scored} of these "
            f"{len(opened.clips)}, evenly spread"
        )

    def batches(self, condition: str, n_clips: int | None = None):
        """Their batches."""
        clips = self.clips(condition, n_clips)
        return DataLoader(clips, self.batch_size, collate_fn=collate_clips)

    def shares(self, condition: str) -> tuple[float, ...]:
        """Shares of kept cells that are looked at in a condition."""
        wanted = self.curves is not None and condition in self.curves.conditions
        return tuple(self.curves.shares) if wanted else ()

    def score(self, rows_folder: Path | str, progress: bool = True) -> pd.DataFrame:
        """The rows of all conditions and blocks.

        Arguments
        ---------
        rows_folder : str or Path
            Where finished rows are kept: what is there already is not computed
            again, unless the explainer, its weights, the metrics or the clips are
            others.
        progress : bool
            Show a bar with the time left.

        Returns
        -------
        per_clip : pandas.DataFrame
            As of `evaluate`, with the columns `condition` and `block` before.
        """
        total = sum(
            len(self.clips(condition)) * len(block.explainers)
            for condition in self.conditions
            for block in self.blocks.values()
        )
        tables = []
        with progress_bar(total=total, unit="row", disable=not progress) as bar:
            for condition in self.conditions:
                for name in self.blocks:
                    bar.set_description(f"{condition}, {name}")
                    table = self._score_block(condition, name, rows_folder, bar)
                    table.insert(0, "condition", condition)
                    table.insert(1, "block", name)
                    tables.append(table)
        return pd.concat(tables, ignore_index=True)

    def _score_block(
        self, condition: str, name: str, rows_folder: Path | str, bar
    ) -> pd.DataFrame:
        opened, block = self.conditions[condition], self.blocks[name]
        shares = self.shares(condition)
        metrics = [identity_of(metric) for metric in self.metrics]
        truth = [score.name for score in self.scores(condition, name)["truth"]]
        about = fingerprint_of(
            opened.fingerprint, block.domain, block.classifier, metrics, truth, shares
        )
        prints = {
            method: fingerprint_of(about, explainer)
            for method, explainer in block.explainers.items()
        }
        path = Path(rows_folder) / f"{condition} {name}.csv"
        store = RowStore(path, prints, own_share())
        try:
            return evaluate(
                block.explainers,
                self.batches(condition),
                block.domain,
                block.classifier,
                self.metrics,
                class_names=self.labels,
                stems=opened.stems,
                shares=shares,
                device=self.device,
                store=store,
                bar=bar,
            )
        finally:  # what is finished stays finished, whatever stopped the rest
            store.save()

    def scores(self, condition: str, block: str) -> dict:
        """The scores of a condition in a block: of the metrics, truth, curves."""
        known = self.conditions[condition].stems is not None
        return {
            "metrics": self.metrics,
            "truth": scores_of(self.blocks[block].domain) if known else (),
            "areas": AREAS if self.shares(condition) else (),
        }

    def check_sanity(
        self, sanity: Sanity, folder: Path, seed: int, progress: bool = True
    ) -> pd.DataFrame | None:
        """The comparison with a randomised classifier, per block and method.

        None where there is no such condition among those that were chosen.
        """
        if not self.has_condition(sanity.condition, "the checks of sanity"):
            return None
        check_counts(n_clips=sanity.n_clips)
        batches = list(self.batches(sanity.condition, sanity.n_clips))
        opened = self.conditions[sanity.condition]
        tables = []
        for name, block in self.blocks.items():
            encoder = sanity.encoder
            randomised = block.classifier if encoder is None else encoder
            for method, explainer in block.explainers.items():
                if method in sanity.leave_out:
                    continue
                about = fingerprint_of(
                    opened.fingerprint, sanity.n_clips, seed, randomised, explainer
                )
                path = Path(folder) / f"sanity {name} {method} {about}.csv"
                check = partial(
                    randomisation_check,
                    explainer,
                    randomised,
                    batches,
                    seed,
                    self.device,
                    progress,
                )
                table = finished_table(path, check)
                table.insert(0, "block", name)
                table.insert(1, "method", method)
                tables.append(table)
        return pd.concat(tables, ignore_index=True) if tables else None


def open_benchmark(
    hparams: dict[str, int | str], run_opts, manifests: Path, metrics: tuple
) -> Benchmark:
    """An experiment's blocks and conditions, its models on their device.

    Arguments
    ---------
    hparams : dict
        With `dataset`, `classifier`, `conditions`, `split`, `batch_size`, `blocks` and
        what `open_blocks` reads, and if wanted `n_clips` and `curves`.
    run_opts : RunOptions
    manifests : Path
        From `start_experiment`.
    metrics : sequence
        Of Metric (`metrics_by_name`), or of other scores that the recipe computes.

    Returns
    -------
    benchmark : Benchmark
    """
    dataset, classifier = hparams["dataset"], hparams["classifier"]
    labels = dataset.class_order(manifests, classifier.labels)
    device = check_device(run_opts.device)
    for part in hparams.values():
        if isinstance(part, torch.nn.Module):
            part.to(device)
    blocks = open_blocks(hparams)
    for block in blocks.values():
        block.to(device)
    conditions = {
        name: condition.open(dataset, manifests, hparams["split"], labels)
        for name, condition in hparams["conditions"].items()
    }
    return Benchmark(
        blocks,
        conditions,
        classifier,
        tuple(metrics),
        labels,
        batch_size=hparams["batch_size"],
        n_clips=hparams.get("n_clips"),
        curves=hparams.get("curves"),
        device=device,
    )
