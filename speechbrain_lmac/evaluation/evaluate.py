"""Explainers in, scores out: a row per clip and method.

Nothing is skipped: empty masks, scores that are not finite and saturated clips are
told apart in the rows. Finished rows are kept, so that an interrupted evaluation
goes on where it stopped.
"""

import time
from itertools import product

import pandas as pd
import torch

from speechbrain_lmac.data.dataset import lens_on
from speechbrain_lmac.dsp.pad_crop import score_recordings
from speechbrain_lmac.evaluation.row_store import RowStore
from speechbrain_lmac.evidence import gather_evidence
from speechbrain_lmac.explainers import Remembered
from speechbrain_lmac.metrics import PAPER_METRICS
from speechbrain_lmac.metrics.curves import size_areas, size_curves
from speechbrain_lmac.metrics.faithfulness import saturated, target_probability
from speechbrain_lmac.metrics.separation import source_scores
from speechbrain_lmac.metrics.sparsity import empty
from speechbrain_lmac.utils.errors import InputError


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
        Waveforms (n, N) that SHAP compares with, see `background.TrainingClips`.
    """

    def __init__(
        self, domain, classifier, explainers: dict, baselines=None, background=None
    ):
        self.domain = domain
        self.classifier = classifier
        first = {}
        if baselines is not None:
            first = baselines.explainers(domain, classifier, background)
        self.explainers = {**first, **explainers}

    def to(self, device: str | torch.device) -> None:
        """Move domain, classifier and explainers to a device."""
        explainers = list(self.explainers.values())
        explainers += [e.explainer for e in explainers if isinstance(e, Remembered)]
        parts = [self.domain, self.classifier]
        parts += [part for explainer in explainers for part in vars(explainer).values()]
        for part in parts:
            if isinstance(part, torch.nn.Module):
                part.to(device)


def evaluate(
    explainers: dict,
    batches,
    domain,
    classifier,
    metrics: list | tuple = PAPER_METRICS,
    class_names: list[str] | None = None,
    stems=None,
    shares: tuple[float, ...] = (),
    device: str | torch.device = "cpu",
    store: RowStore | None = None,
    bar=None,
) -> pd.DataFrame:
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
        there are scores against the truth (`metrics.separation`). Without: none.
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
                store.add(table)
            if bar is not None:
                bar.update(len(batch.ids))
    if not explainers or not ids:
        raise InputError("nothing to evaluate: no explainer, or no clip in the data")
    store.gather()
    return store.rows(product(explainers, ids))


def score_clips(
    ids: list[str],
    label: torch.Tensor | None,
    evidence,
    metrics: tuple,
    class_names: list[str] | None = None,
) -> pd.DataFrame:
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

    def name_of(label: int) -> int | str:
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


def curve_column(name: str, share: float) -> str:
    """The column of a score at a share of kept cells.

    Example
    -------
    >>> curve_column("AI", 0.05)
    'AI@5%'
    """
    return f"{name}@{100 * share:g}%"


def _check_batch(batch) -> None:
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


def _timed(explain, wav: torch.Tensor, lens: torch.Tensor | None) -> tuple:
    """The explanation and the seconds it took."""
    start = time.perf_counter()
    explanation = explain(wav, lens=lens)
    if wav.is_cuda:  # returns before the work is done
        torch.cuda.synchronize(wav.device)
    return explanation, time.perf_counter() - start


def _add(table: pd.DataFrame, columns: dict[str, torch.Tensor]) -> None:
    """Add columns of scores, (B,) each."""
    for name, values in columns.items():
        table[name] = values.cpu().numpy()
