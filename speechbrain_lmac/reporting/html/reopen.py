"""Reopening of finished evaluations: models, blocks and clips."""

from pathlib import Path

from speechbrain_lmac.config.loading import load_experiment
from speechbrain_lmac.evaluation.benchmark import Benchmark
from speechbrain_lmac.evaluation.blocks import open_benchmark
from speechbrain_lmac.metrics import metrics_by_name


def open_results(results: Path | str, overrides: list[str]) -> Benchmark:
    """Open the benchmark of an evaluation, with all its clips.

    Arguments
    ---------
    results : str or Path
        The output folder of evaluate.py.
    overrides : list of str
        Options of the command line.

    Returns
    -------
    benchmark : Benchmark
        Without curves.

    Raises
    ------
    InputError
        If a model or the dataset is missing.
    """
    path, manifests = Path(results) / "hyperparams.yaml", Path(results) / "manifest"
    hparams, run_opts, _ = load_experiment([str(path), *overrides])
    hparams["dataset"].prepare_manifests(manifests)
    hparams |= {"n_clips": None, "curves": None}
    metrics = metrics_by_name(hparams["metrics"])
    return open_benchmark(hparams, run_opts, manifests, metrics)
