"""Explainers in, scores out: a row per clip and method, then a row per method.

Nothing is skipped: empty masks, scores that are not finite and saturated clips are
counted next to the means. Finished rows are kept, so that an interrupted evaluation
goes on where it stopped.
"""

import glob
import math
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from speechbrain_lmac.dataio import lens_on
from speechbrain_lmac.distributed import wait_for_all
from speechbrain_lmac.errors import InputError
from speechbrain_lmac.evidence import gather_evidence
from speechbrain_lmac.files import write_csv
from speechbrain_lmac.masks import score_recordings
from speechbrain_lmac.metrics import PAPER_METRICS
from speechbrain_lmac.metrics.curves import CURVES, size_areas, size_curves
from speechbrain_lmac.metrics.faithfulness import saturated, target_probability
from speechbrain_lmac.metrics.masks import empty
from speechbrain_lmac.metrics.truth import source_scores

SAVE_EVERY_S = 10.0
TEXT = ("id", "method", "label", "predicted", "fingerprint")
TRUTH_VALUES = ("correct", "empty_mask", "saturated")


class Block:
    """Explainers that share a domain: one part of a table.

    Arguments
    ---------
    domain : MaskDomain
        Where all their masks live.
    classifier : Classifier
        Frozen.
    explainers : dict
        Name of the method to Explainer.
    baselines : explainers.Baselines, optional
        Methods that come before these.
    background : callable, optional
        Waveforms (n, N) that SHAP compares with, see `dataio.TrainingClips`.
    """

    def __init__(self, domain, classifier, explainers, baselines=None, background=None):
        self.domain = domain
        first = {}
        if baselines is not None:
            first = baselines.explainers(domain, classifier, background)
        self.explainers = {**first, **explainers}


def evaluate(
    explainers,
    batches,
    domain,
    classifier,
    metrics=PAPER_METRICS,
    class_names=None,
    stems=None,
    shares=(),
    device="cpu",
    store=None,
    bar=None,
):
    """Explain every clip with every explainer, and score the explanations.

    Arguments
    ---------
    explainers : dict
        Name of the method to Explainer. All of them in this domain. Put a reference
        of random masks into `explainers.controls.Remembered`.
    batches : iterable
        Of ClipBatch.
    domain : MaskDomain
    classifier : Classifier
    metrics : sequence
        Of Metric.
    class_names : list
        Name of each class, for the table. Without: the index.
    stems : callable
        Ids (B) to the foreground and the background of these clips, (B, N) each: then
        there are scores against the truth (`metrics.truth`). Without: none.
    shares : sequence
        Of float: shares of kept cells at which the faithfulness is taken, and the
        areas under these curves (`metrics.curves`). Columns: `curve_column`.
    device : str
        Where the clips are explained; models are there already.
    store : RowStore
        What it knows already is not computed again; what is new is kept there. Of
        several processes each does its share of the batches, every so-manieth.
    bar : tqdm
        Moved on by one for each row.

    Returns
    -------
    per_clip : pandas.DataFrame
        One row per clip and method with the columns `id method label predicted
        correct p p_in p_out`, each metric, `empty_mask saturated seconds`. The p are
        the probabilities of the explained class. `label` and `correct` are missing
        for clips without a label, `predicted` and `correct` for NaN logits.
    """
    store = RowStore() if store is None else store
    ids = []
    for number, batch in enumerate(batches):
        _check_batch(batch)
        ids += batch.ids
        if number % store.n_ranks != store.rank:
            continue
        wav, lens = batch.wav.to(device), lens_on(batch, device)
        parts = None  # the stems: rendered once for all methods, and only if one asks
        for method, explainer in explainers.items():
            if not store.has(method, batch.ids):
                explanation, seconds = _timed(explainer.explain, wav, lens)
                try:
                    evidence = gather_evidence(domain, classifier, explanation)
                except ValueError as error:
                    raise ValueError(f"explainer {method!r}: {error}") from error
                table = score_clips(
                    batch.ids, batch.label, evidence, metrics, class_names
                )
                table.insert(1, "method", method)
                if stems is not None:
                    if parts is None:
                        parts = [stem.to(device) for stem in stems(batch.ids)]
                    scores = source_scores(domain, explanation, *parts)
                    _add(table, scores)
                if shares:
                    curves = size_curves(domain, classifier, explanation, shares)
                    for name, values in curves.items():
                        columns = [curve_column(name, share) for share in shares]
                        _add(table, dict(zip(columns, values.T, strict=True)))
                    _add(table, size_areas(curves, shares))
                table["seconds"] = seconds / len(batch.ids)
                store.add(method, table)
            if bar is not None:
                bar.update(len(batch.ids))
    if not explainers or not ids:
        raise InputError("nothing to evaluate: no explainer, or no clip in the data")
    store.gather()
    return store.rows(explainers, ids)


def score_clips(ids, label, evidence, metrics, class_names=None):
    """What a classifier says of some clips and of their explanations, and the scores.

    Arguments
    ---------
    ids : list
        Of str, (B).
    label : torch.Tensor or None
        Class indices (B), if known.
    evidence : Evidence
    metrics : sequence
        Of Metric.
    class_names : list
        As in `evaluate`.

    Returns
    -------
    table : pandas.DataFrame
        A row for each clip, the columns as in `evaluate` but for `method` and
        `seconds`.
    """

    def name_of(label):
        return label if class_names is None else class_names[label]

    heard = ~evidence.logits.isnan().any(1).cpu().numpy()
    predicted = evidence.logits.argmax(1).tolist()
    labels = [None] * len(ids) if label is None else label.tolist()
    columns = {
        "id": list(ids),
        "label": [None if label is None else name_of(label) for label in labels],
        "predicted": [
            name_of(label) if known else None
            for label, known in zip(predicted, heard, strict=True)
        ],
        "correct": [
            label == guess if known and label is not None else None
            for label, guess, known in zip(labels, predicted, heard, strict=True)
        ],
    }
    columns["p"] = target_probability(evidence.logits, evidence.target)
    columns["p_in"] = target_probability(evidence.logits_in, evidence.target)
    columns["p_out"] = target_probability(evidence.logits_out, evidence.target)
    for metric in metrics:
        columns[metric.name] = metric(evidence)
    columns["empty_mask"] = score_recordings(empty, evidence.frames, evidence.mask)
    columns["saturated"] = saturated(evidence.logits, evidence.target)
    return pd.DataFrame(
        {
            name: column.cpu().numpy() if torch.is_tensor(column) else column
            for name, column in columns.items()
        }
    ).astype({"label": object, "predicted": object, "correct": "boolean"})


def curve_column(name, share):
    """The column of a score at a share of kept cells.

    Example
    -------
    >>> curve_column("AI", 0.05)
    'AI@5%'
    """
    return f"{name}@{100 * share:g}%"


class RowStore:
    """The finished rows of an evaluation, in a csv file if there is one.

    Arguments
    ---------
    path : str or Path, optional
        The file: read here, written every few seconds and by `save`. Without: memory
        only.
    fingerprints : dict, optional
        Method to what its rows depend on. Rows of the file with another fingerprint,
        or of another method, are not taken.
    share : tuple
        This process's number and how many there are. Where there are more than one,
        each writes a file of its own beside the first, `NAME.RANK.csv`, which the next
        run finds, however many it has, and which `gather` puts together.
    """

    def __init__(self, path=None, fingerprints=None, share=(0, 1)):
        self.path = None if path is None else Path(path)
        self.fingerprints = fingerprints or {}
        self.rank, self.n_ranks = share
        self._rows = {}  # (method, id) -> column -> value
        self._saved = time.monotonic()
        self._changed = False
        for file in self._files():
            self._read(file)

    def _files(self):
        """The file, and those that processes have left beside it."""
        if self.path is None:
            return []
        pattern = f"{glob.escape(self.path.stem)}.*{self.path.suffix}"
        others = sorted(self.path.parent.glob(pattern))
        return [*([self.path] if self.path.is_file() else []), *others]

    def _read(self, file):
        rows = pd.read_csv(file, dtype=dict.fromkeys(TEXT, str))
        wanted = rows["method"].map(self.fingerprints)
        rows = _typed(rows[rows["fingerprint"] == wanted])
        for method, table in rows.groupby("method", sort=False):
            self._keep(method, table.drop(columns="fingerprint"))

    def has(self, method, ids):
        """Whether there is a row of this method for each of the clips."""
        return all((method, clip) in self._rows for clip in ids)

    def add(self, method, table):
        """Keep the rows of a batch, and write the file if it was not just written."""
        self._keep(method, table)
        self._changed = True
        if time.monotonic() - self._saved > SAVE_EVERY_S:
            self.save()

    def _keep(self, method, table):
        for clip, row in zip(table["id"], table.to_dict("records"), strict=True):
            self._rows[method, clip] = row

    def rows(self, methods, ids):
        """The rows of these methods and clips, method after method."""
        rows = [self._rows[method, clip] for method in methods for clip in ids]
        return _typed(pd.DataFrame(rows))

    def save(self):
        """Write this process's file, atomically."""
        if self.path is None or not self._changed:
            return
        path = self.path
        if self.n_ranks > 1:
            path = path.with_name(f"{path.stem}.{self.rank}{path.suffix}")
        self._write(path)
        self._saved, self._changed = time.monotonic(), False

    def _write(self, path):
        rows = pd.DataFrame(list(self._rows.values()))
        rows["fingerprint"] = rows["method"].map(self.fingerprints)
        write_csv(rows, path)

    def gather(self):
        """Save, wait for the other processes, and take their rows; one file remains."""
        self.save()
        wait_for_all()
        files = self._files()
        if self.n_ranks > 1:
            for file in files:
                self._read(file)
        wait_for_all()  # all have read
        if self.rank == 0 and files and files != [self.path]:
            self._write(self.path)
            for file in files:
                if file != self.path:
                    file.unlink()


def _typed(rows):
    """Columns of text and of truth values with what is missing as None and <NA>."""
    rows = rows.copy()
    for name in ("label", "predicted"):
        column = rows[name].astype(object)
        rows[name] = column.where(column.notna(), None)
    return rows.astype(dict.fromkeys(TRUTH_VALUES, "boolean"))


def summarise(per_clip, scores=PAPER_METRICS, n_boot=2000, seed=1234):
    """Mean and interval of each score, per method.

    Arguments
    ---------
    per_clip : pandas.DataFrame
        From `evaluate`.
    scores : sequence
        Of Metric or Score, each a column of `per_clip`.
    n_boot : int
        Resamples of the bootstrap.
    seed : int
        Of the bootstrap.

    Returns
    -------
    summary : pandas.DataFrame
        One row per method, in the order of `per_clip`. `n` clips, of which `empty`
        have an empty mask, `non_finite` have a score that is not finite (an empty
        mask has no SPS and no COMP), and `saturated` have nothing to gain. For each
        score its mean over the clips with a finite value, the limits of the 95 %
        interval `NAME_low` and `NAME_high` (NaN without such a clip), and the number
        of such clips `NAME_n`. `seconds_per_clip` is the time to explain, not to score.
    """
    names = [score.name for score in scores]
    rows = []
    for method, clips in per_clip.groupby("method", sort=False):
        values = clips[names].to_numpy(dtype=float)
        row = {
            "method": method,
            "n": len(clips),
            "empty": int(clips["empty_mask"].sum()),
            "non_finite": int((~np.isfinite(values)).any(axis=1).sum()),
            "saturated": int(clips["saturated"].sum()),
        }
        for name, column in zip(names, values.T, strict=True):
            # Sorted, so that neither mean nor interval depends on the clips' order.
            finite = np.sort(column[np.isfinite(column)])
            low, high = bootstrap_interval(finite, n_boot, seed)
            row[name] = finite.mean() if len(finite) else math.nan
            row[f"{name}_low"] = low
            row[f"{name}_high"] = high
            row[f"{name}_n"] = len(finite)
        row["seconds_per_clip"] = clips["seconds"].mean()
        rows.append(row)
    return pd.DataFrame(rows)


def curves_of(per_clip, shares):
    """The curves in rows of `evaluate`, one row per clip, method and share.

    Arguments
    ---------
    per_clip : pandas.DataFrame
        From `evaluate` with these shares.
    shares : sequence
        Of float.

    Returns
    -------
    curves : pandas.DataFrame
        With the columns `id method share` and each of `metrics.curves.CURVES`.
    """
    return pd.concat(
        [
            per_clip[["id", "method"]].assign(
                share=share,
                **{c.name: per_clip[curve_column(c.name, share)] for c in CURVES},
            )
            for share in shares
        ],
        ignore_index=True,
    )


def bootstrap_interval(values, n_boot=2000, seed=1234, level=0.95):
    """Percentile-bootstrap interval of the mean.

    Arguments
    ---------
    values : numpy.ndarray
        Shape (n,). With n = 0 both limits are NaN.
    n_boot : int
        Resamples of n values each.
    seed : int
    level : float
        Share of the resampled means in the interval.

    Returns
    -------
    low, high : float

    Example
    -------
    >>> bootstrap_interval(np.array([0.25, 0.25, 0.25]))
    (0.25, 0.25)
    """
    n = len(values)
    if n == 0:
        return math.nan, math.nan
    generator = np.random.default_rng(seed)
    means = values[generator.integers(n, size=(n_boot, n))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _check_batch(batch):
    n = len(batch.ids)
    if batch.wav.ndim != 2 or len(batch.wav) != n:
        raise ValueError(
            f"wav must have the shape ({n}, samples) for {n} ids, "
            f"got {tuple(batch.wav.shape)}"
        )
    if batch.label is not None and len(batch.label) != n:
        raise ValueError(f"label must have {n} classes, got {len(batch.label)}")
    if batch.lens is not None and len(batch.lens) != n:
        raise ValueError(f"lens must have {n} shares, got {len(batch.lens)}")


def _timed(explain, wav, lens):
    """The explanation and the seconds it took."""
    start = time.perf_counter()
    explanation = explain(wav, lens=lens)
    if wav.is_cuda:  # returns before the work is done
        torch.cuda.synchronize(wav.device)
    return explanation, time.perf_counter() - start


def _add(table, columns):
    """Add columns of scores, (B,) each."""
    for name, values in columns.items():
        table[name] = values.cpu().numpy()
