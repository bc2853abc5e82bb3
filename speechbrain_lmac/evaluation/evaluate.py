"""Scores of explainers: one row per clip and method.

No clip is skipped: rows flag empty masks, non-finite scores and saturated clips. An
interrupted evaluation resumes from its finished rows.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import pandas as pd
import torch

from speechbrain_lmac.data.conditions import GroundTruth
from speechbrain_lmac.data.dataset import ClipBatch, lens_on
from speechbrain_lmac.dsp.pad_crop import score_recordings
from speechbrain_lmac.evaluation.row_store import RowStore
from speechbrain_lmac.evidence import gather_evidence
from speechbrain_lmac.explainers import Baselines, Remembered
from speechbrain_lmac.metrics import PAPER_METRICS
from speechbrain_lmac.metrics.checks import Check, ExplainedBatch, check_labels
from speechbrain_lmac.metrics.curves import size_areas, size_curves
from speechbrain_lmac.metrics.faithfulness import saturated, target_probability
from speechbrain_lmac.metrics.separation import source_scores
from speechbrain_lmac.metrics.sparsity import empty
from speechbrain_lmac.types import (
    Classifier,
    Evidence,
    Explainer,
    Explanation,
    MaskDomain,
    Metric,
    MixtureExplainer,
)
from speechbrain_lmac.utils.errors import InputError

if TYPE_CHECKING:
    from tqdm import tqdm

logger = logging.getLogger(__name__)


class Block:
    """Explainers that share a domain: one part of a table.

    Arguments
    ---------
    domain : MaskDomain
        Domain of all masks.
    classifier : Classifier
        The frozen classifier to explain.
    explainers : dict
        Name of the method to Explainer.
    baselines : explainers.Baselines, optional
        Attribution methods, listed before `explainers`.
    background : callable, optional
        Reference waveforms (n, N) of SHAP, see `background.TrainingClips`.
    """

    def __init__(
        self,
        domain: MaskDomain,
        classifier: Classifier,
        explainers: Mapping[str, Explainer],
        baselines: Baselines | None = None,
        background: Callable[[], torch.Tensor] | None = None,
    ) -> None:
        self.domain = domain
        self.classifier = classifier
        first: Mapping[str, Explainer] = {}
        if baselines is not None:
            first = baselines.explainers(domain, classifier, background)
        self.explainers: dict[str, Explainer] = {**first, **explainers}

    def to(self, device: str | torch.device) -> None:
        """Move domain, classifier and explainers to a device."""
        explainers = list(self.explainers.values())
        explainers += [e.explainer for e in explainers if isinstance(e, Remembered)]
        parts: list[object] = [self.domain, self.classifier]
        parts += [part for explainer in explainers for part in vars(explainer).values()]
        for part in parts:
            if isinstance(part, torch.nn.Module):
                part.to(device)


def evaluate(
    explainers: Mapping[str, Explainer],
    batches: Iterable[ClipBatch],
    domain: MaskDomain,
    classifier: Classifier,
    metrics: Sequence[Metric] = PAPER_METRICS,
    class_names: Sequence[str] | None = None,
    truth: GroundTruth | None = None,
    shares: Sequence[float] = (),
    checks: Sequence[Check] = (),
    device: str | torch.device = "cpu",
    store: RowStore | None = None,
    bar: "tqdm | None" = None,
) -> pd.DataFrame:
    """Explain every clip with every explainer, and score the explanations.

    Arguments
    ---------
    explainers : dict
        Name of the method to Explainer, all in this domain. Wrap the reference of
        random masks in `explainers.controls.Remembered`. A
        `MixtureExplainer` gets the stems, and is skipped without.
    batches : iterable of ClipBatch
    domain : MaskDomain
    classifier : Classifier
    metrics : sequence of Metric
    class_names : list
        Class names for the table. Default: class indices.
    truth : GroundTruth, optional
        The known facts about the clips. Known stems add the scores of
        `metrics.separation`.
    shares : sequence of float
        Shares of kept cells, above 0 and at most 1. Adds the scores at these mask sizes
        and the areas under their curves (`metrics.curves`), in columns `curve_column`.
    checks : sequence of Check
        Their scores are added.
    device : str
        Device that the models are on.
    store : RowStore
        Its rows are reused; new rows are added to it. Each of n processes scores every
        n-th batch.
    bar : tqdm
        Progress bar, advanced by one per row.

    Returns
    -------
    per_clip : pandas.DataFrame
        One row per clip and method with the columns `id method label predicted
        correct p p_in p_out`, each metric, `empty_mask saturated seconds`. p, p_in and
        p_out are probabilities of the explained class. `label` and `correct` are
        missing for unlabelled clips, `predicted` and `correct` for NaN logits.

    Raises
    ------
    InputError
        If there is no explainer or no clip, or a check does not know a class name.
    """
    check_labels(checks, class_names)
    store = RowStore() if store is None else store
    truth = GroundTruth() if truth is None else truth
    scored = explainable(explainers, truth.stems is not None)
    skipped = [name for name in explainers if name not in scored]
    if skipped and not scored:
        raise InputError(
            f"nothing to evaluate: {', '.join(skipped)} need stems, which these clips "
            "do not have; choose conditions of mixtures, or add another method"
        )
    if skipped:
        logger.warning("%s skipped: these clips have no stems", ", ".join(skipped))
    ids: list[str] = []
    for number, batch in enumerate(batches):
        _check_batch(batch)
        ids += batch.ids
        if number % store.n_ranks != store.rank:
            continue
        wav, lens = batch.wav.to(device), lens_on(batch, device)
        label = None if batch.label is None else batch.label.to(device)
        known: dict[str, tuple[torch.Tensor, torch.Tensor]] | None = None
        for method, explainer in scored.items():
            if not store.has(method, batch.ids):
                if known is None:  # rendered once for all methods, if needed
                    known = truth.of(batch.ids, device)
                stems = known.get("stems")
                explain: Callable[..., Explanation] = explainer.explain
                if isinstance(explainer, MixtureExplainer) and stems is not None:
                    explain = partial(
                        explainer.explain_mixture,
                        foreground=stems[0],
                        background=stems[1],
                        classes=known.get("classes"),
                    )
                explanation, seconds = _timed(explain, wav, lens)
                try:
                    evidence = gather_evidence(domain, classifier, explanation)
                except ValueError as error:
                    raise ValueError(f"explainer {method!r}: {error}") from error
                table = score_clips(
                    batch.ids, batch.label, evidence, metrics, class_names
                )
                table.insert(1, "method", method)
                if stems is not None:
                    scores = source_scores(domain, explanation, *stems)
                    _add(table, scores)
                if shares:
                    curves = size_curves(domain, classifier, explanation, shares)
                    for name, values in curves.items():
                        columns = [curve_column(name, share) for share in shares]
                        _add(table, dict(zip(columns, values.T, strict=True)))
                    _add(table, size_areas(curves, shares))
                explained = ExplainedBatch(
                    domain,
                    classifier,
                    explanation,
                    evidence,
                    class_names,
                    label,
                    method=method,
                    **known,
                )
                for check in checks:
                    _add(table, check(explained))
                table["seconds"] = seconds / len(batch.ids)
                store.add(table)
            if bar is not None:
                bar.update(len(batch.ids))
    if not explainers or not ids:
        raise InputError(
            f"nothing to evaluate: got {len(explainers)} explainers and {len(ids)} "
            "clips, expected at least one of each"
        )
    store.gather()
    return store.rows(product(scored, ids))


def explainable(
    explainers: Mapping[str, Explainer], with_stems: bool
) -> dict[str, Explainer]:
    """Return the explainers that clips allow: without stems, those that need none.

    Arguments
    ---------
    explainers : dict
        Name of the method to Explainer.
    with_stems : bool
        Whether the stems of the clips are known.

    Returns
    -------
    explainers : dict
    """
    return {
        name: explainer
        for name, explainer in explainers.items()
        if with_stems or not isinstance(explainer, MixtureExplainer)
    }


def score_clips(
    ids: Sequence[str],
    label: torch.Tensor | None,
    evidence: Evidence,
    metrics: Sequence[Metric],
    class_names: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the predictions of a batch and the scores of its explanations.

    Arguments
    ---------
    ids : list
        B ids.
    label : torch.Tensor or None
        Class indices (B,), if known.
    evidence : Evidence
        Evidence of the B clips.
    metrics : sequence of Metric
    class_names : list
        As in `evaluate`.

    Returns
    -------
    table : pandas.DataFrame
        A row for each clip with the columns of `evaluate`, without `method` and
        `seconds`.
    """

    def name_of(index: int) -> int | str:
        return index if class_names is None else class_names[index]

    valid = ~evidence.logits.isnan().any(1).cpu().numpy()
    predicted = evidence.logits.argmax(1).tolist()
    labels = [None] * len(ids) if label is None else label.tolist()
    columns: dict[str, list | torch.Tensor] = {
        "id": list(ids),
        "label": [None if index is None else name_of(index) for index in labels],
        "predicted": [
            name_of(index) if known else None
            for index, known in zip(predicted, valid, strict=True)
        ],
        "correct": [
            index == guess if known and index is not None else None
            for index, guess, known in zip(labels, predicted, valid, strict=True)
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
            name: column.cpu().numpy() if isinstance(column, torch.Tensor) else column
            for name, column in columns.items()
        }
    ).astype({"label": object, "predicted": object, "correct": "boolean"})


def curve_column(name: str, share: float) -> str:
    """Return the column of a score at a share of kept cells.

    Example
    -------
    >>> curve_column("AI", 0.05)
    'AI@5%'
    """
    return f"{name}@{100 * share:g}%"


def _check_batch(batch: ClipBatch) -> None:
    """Raise ValueError unless ids, wav, label and lens have the same length."""
    n = len(batch.ids)
    if batch.wav.ndim != 2 or len(batch.wav) != n:
        raise ValueError(
            f"wav must have shape ({n}, samples) for {n} ids, "
            f"got {tuple(batch.wav.shape)}"
        )
    if batch.label is not None and len(batch.label) != n:
        raise ValueError(f"label must have {n} classes, got {len(batch.label)}")
    if batch.lens is not None and len(batch.lens) != n:
        raise ValueError(f"lens must have {n} shares, got {len(batch.lens)}")


def _timed(
    explain: Callable[..., Explanation], wav: torch.Tensor, lens: torch.Tensor | None
) -> tuple[Explanation, float]:
    """Return the explanation of waveforms (B, N) and its time in seconds."""
    start = time.perf_counter()
    explanation = explain(wav, lens=lens)
    if wav.is_cuda:  # kernels run asynchronously
        torch.cuda.synchronize(wav.device)
    return explanation, time.perf_counter() - start


def _add(table: pd.DataFrame, columns: dict[str, torch.Tensor]) -> None:
    """Add columns of scores, (B,) each, to a table of B rows."""
    for name, values in columns.items():
        table[name] = values.cpu().numpy()
