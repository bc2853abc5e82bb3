"""How good a model is that is passed on: the numbers of its card, and their check."""

import math
import statistics
import subprocess
import sys
import time
from tempfile import TemporaryDirectory

from speechbrain_lmac.data.conditions import CleanCondition
from speechbrain_lmac.dsp.audio import read_mono
from speechbrain_lmac.evaluation.benchmark import Benchmark
from speechbrain_lmac.evaluation.evaluate import Block
from speechbrain_lmac.evaluation.statistics import bootstrap_interval, summarise
from speechbrain_lmac.explainers import AllOnesExplainer
from speechbrain_lmac.hub.registry import shipped_models
from speechbrain_lmac.inference import AudioExplainer
from speechbrain_lmac.metrics import metrics_by_name

ACCURACY = "accuracy"
DECIMALS = 4  # of what is written down
# How far a metric may be off when it is measured again: another processor, or another
# number of threads, changes the last bits, and with them now and then the class of a
# clip that lies on the border. In the metric's own unit; AI, AD and AG are percent.
TOLERANCE = {"AI": 2.0, "AD": 0.5, "AG": 0.5}
LEAST_TOLERANCE = 0.02


def measure(
    model, dataset, names: list[str], batch_size: int = 8, progress: bool = True
) -> dict:
    """Score a model on the clean test clips of a dataset.

    Arguments
    ---------
    model : AudioExplainer or AudioClassifier
        As it was loaded.
    dataset : ClipDataset
    names : sequence of str
        Of metrics, for an explainer (`metrics.metrics_by_name`).
    batch_size : int
    progress : bool
        Show a bar.

    Returns
    -------
    measured : dict
        Name to `{"mean", "low", "high", "n"}`: the mean over n clips with a finite
        score and its 95 % bootstrap interval. First `accuracy`, percent, where the
        clips have classes.
    """
    explains = isinstance(model, AudioExplainer)
    explainer = (
        model.explainer
        if explains
        else AllOnesExplainer(model.mods.domain, model.classifier)
    )
    metrics = metrics_by_name(names if explains else [])
    with TemporaryDirectory() as folder:
        manifests = f"{folder}/manifest"
        dataset.prepare_manifests(manifests)
        labels = dataset.class_order(manifests, model.labels)
        clean = CleanCondition().open(dataset, manifests, "test", labels)
        benchmark = Benchmark(
            {"model": Block(model.mods.domain, model.classifier, {"it": explainer})},
            {"clean": clean},
            model.classifier,
            metrics,
            labels,
            batch_size=batch_size,
            device=next(model.mods.parameters()).device,
        )
        per_clip = benchmark.score(f"{folder}/rows", progress)
    measured = {}
    if per_clip["label"].notna().all():
        right = 100.0 * per_clip["correct"].to_numpy(dtype=float)
        low, high = bootstrap_interval(right, 2000, 1234)
        measured[ACCURACY] = _rounded(right.mean(), low, high, len(right))
    (row,) = summarise(per_clip, metrics).to_dict("records")
    for name in (metric.name for metric in metrics):
        values = [row[key] for key in (name, f"{name}_low", f"{name}_high")]
        measured[name] = _rounded(*values, row[f"{name}_n"])
    return measured


def time_model(name: str, repeats: int = 20, batch_size: int = 16) -> dict[str, float]:
    """How long a model of the package takes to explain a clip of 5 s.

    Arguments
    ---------
    name : str
        Of a shipped explainer.
    repeats : int
        Of the warm explanation; the median is taken.
    batch_size : int
        Clips that are explained at once.

    Returns
    -------
    times : dict
        `cold`, s: a new process imports, loads and explains its example. `warm`, s: the
        same of a loaded model, file to waveform. `clips_per_second` in batches.
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


def _median_time(run, repeats: int) -> float:
    """Seconds that a call takes, the median of some; the first does not count."""
    run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def differences(before: dict, now: dict) -> list[str]:
    """What of the numbers of a model does not come out again.

    Arguments
    ---------
    before, now : dict
        From `measure`.

    Returns
    -------
    lines : list of str
        One for each number that is off by more than `TOLERANCE`.

    Example
    -------
    >>> differences({"AI": {"mean": 60.0}}, {"AI": {"mean": 64.0}})
    ['AI was 60.0 and is 64.0']
    """
    lines = []
    for name, value in before.items():
        tolerance = TOLERANCE.get(name, LEAST_TOLERANCE)
        found = now.get(name, {"mean": math.nan})["mean"]
        if not abs(found - value["mean"]) <= tolerance:
            lines.append(f"{name} was {value['mean']} and is {found}")
    return lines


def _rounded(mean, low: float, high: float, n: int) -> dict[str, float]:
    values = {"mean": mean, "low": low, "high": high}
    return {k: round(float(v), DECIMALS) for k, v in values.items()} | {"n": int(n)}
