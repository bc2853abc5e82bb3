"""A benchmark: conditions x blocks x explainers, resumable."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch.utils.data import DataLoader, Subset

from speechbrain_lmac.data.conditions import ConditionClips
from speechbrain_lmac.data.dataset import collate_clips
from speechbrain_lmac.data.mixtures import MixtureClips
from speechbrain_lmac.evaluation.evaluate import Block, evaluate, explainable
from speechbrain_lmac.evaluation.randomisation import randomisation_check
from speechbrain_lmac.evaluation.row_store import RowStore, finished_table
from speechbrain_lmac.evaluation.statistics import CLIP
from speechbrain_lmac.explainers.by_name import CONTROLS
from speechbrain_lmac.metrics import Score, identity_of, metrics_by_name
from speechbrain_lmac.metrics.checks import Check
from speechbrain_lmac.metrics.curves import AREAS, SHARES
from speechbrain_lmac.metrics.separation import scores_of
from speechbrain_lmac.types import Classifier
from speechbrain_lmac.utils.console import progress_bar
from speechbrain_lmac.utils.distributed import rank_and_size
from speechbrain_lmac.utils.errors import InputError, check_counts
from speechbrain_lmac.utils.hashing import fingerprint_of

if TYPE_CHECKING:
    from tqdm import tqdm

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Curves:
    """Settings of the faithfulness at equal mask sizes (`metrics.curves`).

    Arguments
    ---------
    conditions : list
        Names of the conditions with curves.
    shares : list
        Increasing shares of kept cells, above 0 and at most 1.
    """

    conditions: Sequence[str]
    shares: Sequence[float] = SHARES


@dataclass(frozen=True)
class Sanity:
    """Settings of the randomisation check (`evaluation.randomisation`).

    Arguments
    ---------
    condition : str
        Name of a condition.
    n_clips : int
        Number of its clips, evenly spaced in the dataset.
    leave_out : list
        Methods to skip. Default: the controls, which do not use the classifier.
    encoder : torch.nn.Module, optional
        The part of the classifier to randomise. Default: all of it. For zero-shot
        classifiers the audio tower, since prompts are embedded only once.
    """

    condition: str
    n_clips: int
    leave_out: Sequence[str] = CONTROLS
    encoder: torch.nn.Module | None = None


class Benchmark:
    """Conditions x blocks x explainers on one dataset.

    Arguments
    ---------
    blocks : dict
        Name to evaluation.Block.
    conditions : dict
        Name to conditions.ConditionClips, the opened conditions.
    classifier : Classifier
    metrics : sequence of EvidenceMetric
        Other Scores are allowed in recipes that compute them without `score`.
    labels : list
        Class names in the order of the logits.
    batch_size : int
        Clips per batch.
    n_clips : int, optional
        Number of clips per condition, evenly spaced in the dataset. Default: all.
    curves : Curves, optional
    checks : sequence
        `metrics.checks.Check` objects.
    device : str or torch.device
        Device of the models.

    Raises
    ------
    InputError
        For an invalid `n_clips`, and for two blocks whose rows would share a file.
    """

    def __init__(
        self,
        blocks: Mapping[str, Block],
        conditions: Mapping[str, ConditionClips],
        classifier: Classifier,
        metrics: Sequence[Score],
        labels: Sequence[str],
        batch_size: int = 8,
        n_clips: int | None = None,
        curves: Curves | None = None,
        checks: Sequence[Check] = (),
        device: str | torch.device = "cpu",
    ) -> None:
        if n_clips is not None:
            check_counts(n_clips=n_clips)
        for name in blocks:
            stem, _, number = str(name).rpartition(".")
            # Its file would be taken for that of process `number` of block `stem`.
            if number.isdecimal() and stem in blocks:
                raise InputError(
                    f"blocks {stem!r} and {name!r} would share files of rows; rename "
                    "one of them"
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
        self.checks = tuple(checks)
        self.device = device

    def check_condition(self, condition: str, where: str) -> None:
        """Raise InputError, starting with `where`, if a condition is unknown."""
        if condition not in self.conditions:
            raise InputError(
                f"{where}: unknown condition {condition!r}, expected one of "
                f"{', '.join(self.conditions)}"
            )

    def has_condition(self, condition: str, subject: str) -> bool:
        """Return whether a condition exists; if not, warn that `subject` is skipped."""
        exists = condition in self.conditions
        if not exists:
            logger.warning(
                "%s skipped: no condition %r among %s",
                subject,
                condition,
                ", ".join(self.conditions),
            )
        return exists

    def clips(
        self, condition: str, n_clips: int | None = None
    ) -> MixtureClips | Subset:
        """Return the scored clips of a condition: `n_clips`, evenly spaced, or all."""
        clips = self.conditions[condition].clips
        n_clips = self.n_clips if n_clips is None else n_clips
        size = len(clips)
        if n_clips is None or n_clips >= size:
            return clips
        return Subset(clips, [i * size // n_clips for i in range(n_clips)])

    def description(self, condition: str) -> str:
        """Return a line that describes the clips of a condition, and how many count."""
        opened = self.conditions[condition]
        size, n_scored = len(opened.clips), len(self.clips(condition))
        if n_scored == size:
            return opened.description
        subset = f"{n_scored} of these {size} are scored, evenly spaced"
        return f"{opened.description}; {subset}"

    def batches(self, condition: str, n_clips: int | None = None) -> DataLoader:
        """Return a loader of `clips` in batches (ClipBatch)."""
        clips = self.clips(condition, n_clips)
        return DataLoader(clips, self.batch_size, collate_fn=collate_clips)

    def shares(self, condition: str) -> tuple[float, ...]:
        """Return the shares of kept cells scored in a condition."""
        if self.curves is None or condition not in self.curves.conditions:
            return ()
        return tuple(self.curves.shares)

    def score(self, rows_folder: Path | str, progress: bool = True) -> pd.DataFrame:
        """Return the rows of all conditions and blocks.

        Arguments
        ---------
        rows_folder : str or Path
            Folder of finished rows, which are reused unless the explainer, its weights,
            the metrics or the clips have changed.
        progress : bool
            Show a progress bar with the remaining time.

        Returns
        -------
        per_clip : pandas.DataFrame
            The rows of `evaluate` with the columns `condition` and `block` in front,
            and `clip` at the end: the id of the clip in a mixture, else the row's own.
        """
        total = sum(
            len(self.clips(condition))
            * len(explainable(block.explainers, opened.truth.stems is not None))
            for condition, opened in self.conditions.items()
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
                    tables.append(self.with_clips(condition, table))
        return pd.concat(tables, ignore_index=True)

    def with_clips(self, condition: str, table: pd.DataFrame) -> pd.DataFrame:
        """Return rows of a condition with their clips in a last column, `clip`.

        The unit of intervals and tests (`statistics.clips_of`).
        """
        return table.assign(**{CLIP: self.conditions[condition].bases_of(table["id"])})

    def _score_block(
        self, condition: str, name: str, rows_folder: Path | str, bar: "tqdm"
    ) -> pd.DataFrame:
        """Return the rows of a block in a condition."""
        opened, block = self.conditions[condition], self.blocks[name]
        shares = self.shares(condition)
        metrics = metrics_by_name(self.metrics)
        identities = [identity_of(metric) for metric in metrics]
        truth = [score.name for score in self.scores(condition, name)["truth"]]
        setup: tuple = (block.domain, block.classifier, identities, truth, shares)
        if self.checks:  # rows without checks stay valid
            setup = (*setup, self.checks)
        about = fingerprint_of(opened.fingerprint, *setup)
        prints = {
            method: fingerprint_of(about, explainer)
            for method, explainer in block.explainers.items()
        }
        path = Path(rows_folder) / f"{condition} {name}.csv"
        store = RowStore(path, prints, rank_and_size())
        try:
            return evaluate(
                block.explainers,
                self.batches(condition),
                block.domain,
                block.classifier,
                metrics,
                class_names=self.labels,
                truth=opened.truth,
                shares=shares,
                checks=self.checks,
                device=self.device,
                store=store,
                bar=bar,
            )
        finally:  # save the finished rows, also after an error
            store.save()

    def scores(self, condition: str, block: str) -> dict[str, Sequence[Score]]:
        """Return the scores of a condition and block by their kind.

        Arguments
        ---------
        condition, block : str

        Returns
        -------
        scores : dict
            "metrics", "truth" (of known stems), "areas", and "check 1", "check 2", ...
            of each check.
        """
        truth, domain = self.conditions[condition].truth, self.blocks[block].domain
        checks = {
            f"check {number}": [
                replace(score, partial=True) for score in check.scores(domain, truth)
            ]
            for number, check in enumerate(self.checks, 1)
        }
        return {
            "metrics": self.metrics,
            "truth": scores_of(domain) if truth.stems is not None else (),
            "areas": AREAS if self.shares(condition) else (),
            **checks,
        }

    def check_sanity(
        self, sanity: Sanity, folder: Path | str, seed: int, progress: bool = True
    ) -> pd.DataFrame | None:
        """Compare explanations with those of a randomised classifier.

        Arguments
        ---------
        sanity : Sanity
        folder : str or Path
            Folder of finished tables, which are reused.
        seed : int
            Seed of the random weights.
        progress : bool
            Show a progress bar.

        Returns
        -------
        table : pandas.DataFrame or None
            The rows of `randomisation_check` with the columns `block` and `method` in
            front, and `clip` as in `score`. None where the condition is not among the
            chosen ones, and without a method to check.
        """
        if not self.has_condition(sanity.condition, "sanity checks"):
            return None
        check_counts(n_clips=sanity.n_clips)
        batches = list(self.batches(sanity.condition, sanity.n_clips))
        opened = self.conditions[sanity.condition]
        tables = []
        for name, block in self.blocks.items():
            encoder = sanity.encoder
            randomised = block.classifier if encoder is None else encoder
            if not isinstance(randomised, torch.nn.Module):
                raise InputError(
                    "sanity checks need a classifier that is a torch.nn.Module, got "
                    f"{type(randomised).__name__}"
                )
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
                tables.append(self.with_clips(sanity.condition, table))
        return pd.concat(tables, ignore_index=True) if tables else None
