"""Scores for the model card."""

import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from speechbrain_lmac.data.conditions import CleanCondition
from speechbrain_lmac.data.dataset import ClipDataset
from speechbrain_lmac.dsp.audio import read_mono
from speechbrain_lmac.evaluation.benchmark import Benchmark
from speechbrain_lmac.evaluation.evaluate import Block
from speechbrain_lmac.evaluation.statistics import bootstrap_interval, summarise
from speechbrain_lmac.explainers import AllOnesExplainer
from speechbrain_lmac.hub.registry import shipped_models
from speechbrain_lmac.inference import AudioClassifier, AudioExplainer
from speechbrain_lmac.metrics import metrics_by_name
from speechbrain_lmac.metrics.checks.imprint import Imprint
from speechbrain_lmac.types import Explainer

ACCURACY = "accuracy"
ENDINGS = ("_low", "_high", "_n")  # suffixes of the other columns of a metric
Scores = dict[str, dict[str, float]]  # name to mean, low, high and n
DECIMALS = 4  # decimals of the scores on the card
# Maximum difference of a mean between repeated measurements, in the unit of the metric
# (percent for AI, AD and AG). A different processor or number of threads changes the
# last bits, and occasionally the class of a clip at the decision boundary.
# `DEFAULT_TOLERANCE` is for all other metrics.
TOLERANCE = {"AI": 2.0, "AD": 0.5, "AG": 0.5, "imprint white": 2.0}
DEFAULT_TOLERANCE = 0.02
# Checks of explainers on the card, and their score for masks of ones, the chance level.
CHECKS = (Imprint(noises=("white",)),)
CHANCE = "{}, mask of ones"


def measure(
    model: AudioExplainer | AudioClassifier,
    dataset: ClipDataset,
    names: Sequence[str],
    batch_size: int = 8,
    progress: bool = True,
    manifest_folder: Path | str | None = None,
) -> Scores:
    """Score a model on the clean test clips of a dataset.

    Arguments
    ---------
    model : AudioExplainer or AudioClassifier
    dataset : ClipDataset
    names : sequence of str
        Names of metrics, used for explainers (`metrics.metrics_by_name`).
    batch_size : int
        Clips per batch.
    progress : bool
        Show a progress bar.
    manifest_folder : str or Path, optional
        Where the manifests are written; for several models, the clips are checked once.

    Returns
    -------
    measured : dict
        Name to `{"mean", "low", "high", "n"}`: the mean over n clips with a finite
        score and its 95 % bootstrap interval. Starts with `accuracy`, in percent, if
        the clips are labelled. Of explainers also `CHECKS`, each followed by its
        `CHANCE`.
    """
    explains = isinstance(model, AudioExplainer)
    ones = AllOnesExplainer(model.mods.domain, model.classifier)
    explainers: dict[str, Explainer] = {"ones": ones}
    if isinstance(model, AudioExplainer):
        explainers = {"model": model.explainer, "ones": ones}
    metrics = metrics_by_name(names if explains else [])
    with TemporaryDirectory() as folder:
        manifests = manifest_folder or f"{folder}/manifest"
        dataset.prepare_manifests(manifests)
        labels = dataset.class_order(manifests, model.labels)
        clean = CleanCondition().open(dataset, manifests, "test", labels)
        benchmark = Benchmark(
            {"model": Block(model.mods.domain, model.classifier, explainers)},
            {"clean": clean},
            model.classifier,
            metrics,
            labels,
            batch_size=batch_size,
            checks=CHECKS if explains else (),
            device=next(model.mods.parameters()).device,
        )
        per_clip = benchmark.score(f"{folder}/rows", progress)
    measured = {}
    if per_clip["label"].notna().all():
        once = per_clip["method"] == "ones"
        correct = 100.0 * per_clip.loc[once, "correct"].to_numpy(dtype=float)
        low, high = bootstrap_interval(correct, 2000, 1234)
        measured[ACCURACY] = _rounded(correct.mean(), low, high, len(correct))
    if not explains:
        return measured
    checks = [score for check in CHECKS for score in check.scores()]
    own, chance = summarise(per_clip, [*metrics, *checks]).to_dict("records")
    columns = [(own, metric.name, "{}") for metric in metrics]
    for check in checks:
        columns += [(own, check.name, "{}"), (chance, check.name, CHANCE)]
    for row, name, shown in columns:
        mean, low, high, n = (row[f"{name}{end}"] for end in ("", *ENDINGS))
        measured[shown.format(name)] = _rounded(mean, low, high, n)
    return measured


def time_model(name: str, repeats: int = 20, batch_size: int = 16) -> dict[str, float]:
    """Time the explanation of a clip of 5 s by a shipped model.

    Arguments
    ---------
    name : str
        Name of a shipped explainer.
    repeats : int
        Number of timed warm explanations; their median is returned.
    batch_size : int
        Clips per batch.

    Returns
    -------
    times : dict
        `cold`, s: a new process imports the package, loads the model and explains its
        example. `warm`, s: explanation of a file by a loaded model. `clips_per_second`:
        explanation of batches.
    """
    example = shipped_models()[name] / "example.wav"
    script = (
        "from speechbrain_lmac.inference import AudioExplainer\n"
        f"AudioExplainer.from_hparams({name!r}).explain_file({str(example)!r})"
    )
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    cold = time.perf_counter() - start
    model = AudioExplainer.from_hparams(name)
    warm = _median_time(lambda: model.explain_file(example), repeats)
    wavs = read_mono(example, model.sample_rate).repeat(batch_size, 1)
    batch = _median_time(lambda: model.explain_batch(wavs), max(1, repeats // 4))
    return {"cold": cold, "warm": warm, "clips_per_second": batch_size / batch}


def _median_time(run: Callable[[], object], repeats: int) -> float:
    """Return the median time of a call in seconds, after one warm-up call."""
    run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def differences(
    before: Mapping[str, Mapping[str, float]], now: Mapping[str, Mapping[str, float]]
) -> list[str]:
    """Return the scores of a model that are not reproduced, one line each.

    Arguments
    ---------
    before, now : dict
        From `measure`.

    Returns
    -------
    lines : list of str
        One for each mean that differs by more than `TOLERANCE` of the metric, or by
        more than `DEFAULT_TOLERANCE` if that has no entry.

    Example
    -------
    >>> differences({"AI": {"mean": 60.0}}, {"AI": {"mean": 64.0}})
    ['AI was 60.0 and is 64.0']
    """
    lines = []
    for name, value in before.items():
        tolerance = TOLERANCE.get(name, DEFAULT_TOLERANCE)
        found = now.get(name, {"mean": math.nan})["mean"]
        if not abs(found - value["mean"]) <= tolerance:
            lines.append(f"{name} was {value['mean']} and is {found}")
    return lines


def _rounded(mean: float, low: float, high: float, n: int) -> dict[str, float]:
    values = {"mean": mean, "low": low, "high": high}
    return {k: round(float(v), DECIMALS) for k, v in values.items()} | {"n": int(n)}
