"""Explainers in, tables out: a row per clip and method, then a row per method.

Nothing is skipped: empty masks, scores that are not finite and saturated clips are
counted next to the means.
"""

import math
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from speechbrain_lmac.errors import InputError
from speechbrain_lmac.evidence import gather_evidence
from speechbrain_lmac.files import write_csv, write_text
from speechbrain_lmac.metrics import ALL_METRICS, PAPER_METRICS
from speechbrain_lmac.metrics.faithfulness import saturated, target_probability
from speechbrain_lmac.metrics.masks import empty


def evaluate(
    explainers,
    batches,
    domain,
    classifier,
    metrics=PAPER_METRICS,
    class_names=None,
    truth=None,
    device="cpu",
    progress=True,
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
    truth : StemTruth
        Scores against what is known of the clips, see `metrics.truth`. Without: none.
    device : str
        Where the clips are explained; models are there already.
    progress : bool
        Show a bar.

    Returns
    -------
    per_clip : pandas.DataFrame
        One row per clip and method with the columns `id method label predicted
        correct p p_in p_out`, each metric, `empty_mask saturated seconds`. The p are
        the probabilities of the explained class. `label` and `correct` are missing
        for clips without a label, `predicted` and `correct` for NaN logits.
    """
    tables = []
    for batch in tqdm(batches, desc="evaluate", unit="batch", disable=not progress):
        _check_batch(batch)
        wav = batch.wav.to(device)
        for method, explainer in explainers.items():
            explanation, seconds = _timed(explainer.explain, wav)
            evidence = gather_evidence(domain, classifier, explanation)
            table = _score(batch, evidence, metrics, class_names)
            table.insert(1, "method", method)
            if truth is not None:
                scores = truth(batch.ids, domain, explanation)
                table = table.assign(**{n: s.cpu().numpy() for n, s in scores.items()})
            table["seconds"] = seconds / len(batch.ids)
            tables.append(table)
    if not tables:
        raise InputError("nothing to evaluate: no explainer, or no clip in the data")
    return pd.concat(tables, ignore_index=True)


def summarise(per_clip, metrics=PAPER_METRICS, n_boot=2000, seed=1234):
    """Mean and interval of each metric, per method.

    Arguments
    ---------
    per_clip : pandas.DataFrame
        From `evaluate`.
    metrics : sequence
        Of Metric.
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
        metric its mean over the clips with a finite value, the limits of the 95 %
        interval `NAME_low` and `NAME_high` (NaN without such a clip), and the number
        of such clips `NAME_n`. `seconds_per_clip` is the time to explain, not to score.
    """
    names = [metric.name for metric in metrics]
    rows = []
    for method, clips in per_clip.groupby("method", sort=False):
        scores = clips[names].to_numpy(dtype=float)
        row = {
            "method": method,
            "n": len(clips),
            "empty": int(clips["empty_mask"].sum()),
            "non_finite": int((~np.isfinite(scores)).any(axis=1).sum()),
            "saturated": int(clips["saturated"].sum()),
        }
        for name, values in zip(names, scores.T, strict=True):
            # Sorted, so that neither mean nor interval depends on the clips' order.
            finite = np.sort(values[np.isfinite(values)])
            low, high = bootstrap_interval(finite, n_boot, seed)
            row[name] = finite.mean() if len(finite) else math.nan
            row[f"{name}_low"] = low
            row[f"{name}_high"] = high
            row[f"{name}_n"] = len(finite)
        row["seconds_per_clip"] = clips["seconds"].mean()
        rows.append(row)
    return pd.DataFrame(rows)


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
    means = [values[generator.integers(n, size=n)].mean() for _ in range(n_boot)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def write_tables(per_clip, summary, folder, header, metrics=ALL_METRICS):
    """Write per_clip.csv, summary.csv and summary.md.

    Each file is replaced in one step, so that none is ever half written. The numbers
    in the csv files are exact (`pandas.read_csv(..., float_precision="round_trip")`
    gives them back).

    Arguments
    ---------
    per_clip : pandas.DataFrame
        From `evaluate`.
    summary : pandas.DataFrame
        From `summarise`.
    folder : str or Path
        Made when missing.
    header : list
        Of str: the command, the data, the seed, the versions, for summary.md.
    metrics : sequence
        Of Metric: summary.md shows those of them that the summary has.
    """
    folder = Path(folder)
    write_csv(per_clip, folder / "per_clip.csv")
    write_csv(summary, folder / "summary.csv")
    write_text(summary_page(summary, header, metrics), folder / "summary.md")


def summary_page(summary, header, metrics=ALL_METRICS):
    """The text of summary.md: the header, the table, and what its columns are."""
    shown = [metric for metric in metrics if metric.name in summary]
    titles = ["method", *(_title(metric) for metric in shown)]
    titles += ["clips", "empty", "non-finite", "saturated", "s/clip"]
    lines = ["# Evaluation", "", *(f"- {line}" for line in header), ""]
    lines += [_row(titles), _row(["---"] * len(titles))]
    for _, row in summary.iterrows():
        cells = [row["method"], *(_interval(row, metric) for metric in shown)]
        cells += [row[count] for count in ("n", "empty", "non_finite", "saturated")]
        lines.append(_row([*cells, f"{row['seconds_per_clip']:.3g}"]))
    lines += [
        "",
        "Mean [95 % interval, percentile bootstrap over clips] of the clips with a "
        "finite score; ↑ higher is better, ↓ lower is better. Empty: masks that are 0 "
        "everywhere. Non-finite: clips without one of the scores. Saturated: clips "
        "with nothing to gain. p, p_in, p_out: probability of the explained class for "
        "the whole clip, the explanation alone, and the rest.",
        "",
        *(f"- **{metric.name}**: {metric.description}." for metric in shown),
    ]
    return "\n".join(lines) + "\n"


def _check_batch(batch):
    n = len(batch.ids)
    if batch.wav.ndim != 2 or len(batch.wav) != n:
        raise ValueError(
            f"wav must have the shape ({n}, samples) for {n} ids, "
            f"got {tuple(batch.wav.shape)}"
        )
    if batch.label is not None and len(batch.label) != n:
        raise ValueError(f"label must have {n} classes, got {len(batch.label)}")


def _timed(explain, wav):
    """The explanation and the seconds it took."""
    start = time.perf_counter()
    explanation = explain(wav)
    if wav.is_cuda:  # returns before the work is done
        torch.cuda.synchronize(wav.device)
    return explanation, time.perf_counter() - start


def _score(batch, evidence, metrics, class_names):
    """One row per clip."""

    def name_of(label):
        return label if class_names is None else class_names[label]

    heard = ~evidence.logits.isnan().any(1).cpu().numpy()
    predicted = evidence.logits.argmax(1).tolist()
    labels = [None] * len(batch.ids) if batch.label is None else batch.label.tolist()
    columns = {
        "id": list(batch.ids),
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
    columns["empty_mask"] = empty(evidence.mask)
    columns["saturated"] = saturated(evidence.logits, evidence.target)
    return pd.DataFrame(
        {
            name: column.cpu().numpy() if torch.is_tensor(column) else column
            for name, column in columns.items()
        }
    ).astype({"label": object, "predicted": object, "correct": "boolean"})


def _title(metric):
    arrow = {True: " ↑", False: " ↓", None: ""}[metric.higher_is_better]
    return f"{metric.name}{arrow}"


def _interval(row, metric):
    digits = 2 if metric.unit == "%" else 3
    mean, low, high = (
        f"{row[column]:.{digits}f}"
        for column in (metric.name, f"{metric.name}_low", f"{metric.name}_high")
    )
    return f"{mean} [{low}, {high}]"


def _row(cells):
    """A row of a Markdown table."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
